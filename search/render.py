"""Render: merged rows to a GGUF tensor's bytes.

One job per tensor of the template: copied as bytes, or merged, laid out and quantised.
Knows nothing of files' order or of threads.
"""

from collections.abc import Sequence

from search.blocks import blocks_of
from search.gguf_file import TensorInfo
from search.kernel import quantize_rows
from search.merge import TensorMerge
from search.slerp import Products
from search.stream import Clock
from search.template import Place, Template

COPY_BYTES = 1 << 24
"""Bytes copied at a time."""


class CopyJob:
    """A tensor that no number touches: the template's own bytes."""

    blends = False

    def __init__(self, template: Template, info: TensorInfo, clock: Clock) -> None:
        self._template = template
        self._info = info
        self._clock = clock
        size = info.size_bytes
        self.blocks: Sequence[tuple[int, int]] = [
            (start, min(size, start + COPY_BYTES)) for start in range(0, size, COPY_BYTES)
        ]

    def prepare(self) -> None:
        """Nothing to read ahead."""

    def release(self) -> None:
        """Nothing was read ahead."""

    def measure(self, block: tuple[int, int]) -> Products:
        """Never asked for."""
        raise NotImplementedError

    def set_products(self, over: Products) -> None:
        """Never asked for."""
        raise NotImplementedError

    def render(self, block: tuple[int, int]) -> bytes | memoryview:
        """The template's bytes."""
        with self._clock.on("copy"):
            start, stop = block
            return self._template.tensor_bytes(self._info, start, stop - start)


class MergeJob:
    """A tensor that the merge changes."""

    def __init__(self, merge: TensorMerge, place: Place, clock: Clock) -> None:
        self._merge = merge
        self._place = place
        self._clock = clock
        self.blends = merge.blends
        self._blocks = blocks_of(merge.stored.shape, place.layout.head_rows)
        self.blocks: Sequence[tuple[int, int]] = self._blocks

    def prepare(self) -> None:
        """Read factors and thresholds."""
        with self._clock.on("merge"):
            self._merge.prepare(self._blocks)

    def release(self) -> None:
        """Let go of the factors."""
        self._merge.release()

    def measure(self, block: tuple[int, int]) -> Products:
        """Inner products of the slerp's endpoints."""
        with self._clock.on("merge"):
            return self._merge.measure(block)

    def set_products(self, over: Products) -> None:
        """Fix the slerp's coefficients."""
        self._merge.set_products(over)

    def render(self, block: tuple[int, int]) -> bytes | memoryview:
        """The block merged, in the GGUF's layout and type."""
        with self._clock.on("merge"):
            merged = self._merge.rows(block)
        with self._clock.on("quantise"):
            columns = self._place.info.dimensions[0]
            if len(self._place.info.dimensions) > 1:
                # rows beyond the tokenizer's last token are merged, but not written
                merged = merged[: max(0, self._place.info.dimensions[1] - block[0])]
            laid_out = self._place.layout.apply(merged).contiguous()
            if len(self._place.info.dimensions) == 1:
                # a vector's blocks are parts of one row; its type is F32, F16 or BF16
                columns = laid_out.numel()
            if laid_out.numel() == 0:
                return b""
            rows = laid_out.reshape(-1, columns).numpy()
            return quantize_rows(rows, self._place.info.kind, self._place.importance).data
