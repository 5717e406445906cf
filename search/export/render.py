"""Render: merged rows to a GGUF tensor's bytes.

One job per tensor of the template: copied as bytes, or merged, laid out and quantised.
Knows nothing of files' order or of threads.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from search.export.kernel import quantize_rows
from search.export.template import Place
from search.merging.blocks import blocks_of
from search.merging.merge import TensorMerge
from search.merging.slerp import Products
from search.tensors.stream import Clock

if TYPE_CHECKING:
    import torch

COPY_BYTES = 1 << 24
"""Bytes copied at a time."""


class CopyJob:
    """A tensor that no number touches: its bytes as they are."""

    blends = False

    def __init__(self, size_bytes: int, read: Callable[[int, int], bytes], clock: Clock) -> None:
        """Cut the tensor into what is copied at a time.

        Args:
            size_bytes: Of the tensor.
            read: Gives the bytes from a start, so many of them.
            clock: Where seconds are counted.
        """
        self._read = read
        self._clock = clock
        self.blocks: Sequence[tuple[int, int]] = [
            (start, min(size_bytes, start + COPY_BYTES))
            for start in range(0, size_bytes, COPY_BYTES)
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
        """The tensor's own bytes."""
        with self._clock.on("copy"):
            start, stop = block
            return self._read(start, stop - start)


class MergedTensor:
    """A tensor that the merge changes, in the same blocks wherever it is written to.

    The blocks are the tensor's own, since a product's last bit may depend on its shape.
    """

    def __init__(self, merge: TensorMerge, head_rows: int, clock: Clock) -> None:
        self._merge = merge
        self._clock = clock
        self.blends = merge.blends
        self._blocks = blocks_of(merge.stored.shape, head_rows)
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

    def merged(self, block: tuple[int, int]) -> "torch.Tensor":
        """The block's rows, rounded once to the checkpoint's type."""
        with self._clock.on("merge"):
            return self._merge.rows(block)


class MergeJob(MergedTensor):
    """A merged tensor in the GGUF's layout and type."""

    def __init__(self, merge: TensorMerge, place: Place, clock: Clock) -> None:
        super().__init__(merge, place.layout.head_rows, clock)
        self._place = place

    def render(self, block: tuple[int, int]) -> bytes | memoryview:
        """The block merged, in the GGUF's layout and type."""
        merged = self.merged(block)
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
