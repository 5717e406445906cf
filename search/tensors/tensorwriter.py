"""Tensor writer: one safetensors file, written chunk by chunk, never whole in memory.

Shapes are known before, data comes as it is found. Knows nothing of models; `tensorfile.py` reads.
Source: the safetensors format, https://huggingface.co/docs/safetensors (header length, JSON
header, data).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.errors import BuildError
from search.tensors.tensorfile import ITEM_BYTES

ALIGNMENT = 8
"""Bytes; the header is filled up with spaces, as the reference implementation does."""


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor that will be written."""

    name: str
    dtype: str
    """safetensors' name: F32, F16, BF16, ..."""
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)


def write_tensors(
    path: Path,
    tensors: Sequence[PlannedTensor],
    chunks: Iterable[bytes | memoryview],
    metadata: Mapping[str, str],
) -> None:
    """Write a file.

    Args:
        path: File to write; name a sibling and rename it, so that it appears whole or not at all.
        tensors: In the order of their data.
        chunks: The data of all tensors one after the other, cut anywhere.
        metadata: Strings for the header.

    Raises:
        BuildError: the disk does not take it.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for tensor in tensors:
        end = offset + tensor.size_bytes
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % ALIGNMENT)
    written = 0
    try:
        with path.open("wb") as out:
            out.write(len(raw).to_bytes(8, "little") + raw)
            for chunk in chunks:
                out.write(chunk)
                written += len(chunk)
    except OSError as error:
        raise BuildError(f"cannot write {path}: {error.strerror}") from None
    assert written == offset, f"{written} bytes of {offset}"
