"""Tensor file: one safetensors file, read by blocks of rows through plain file reads.

Never maps the file into memory, so reading a 15 GB file costs no more resident memory than the
block in hand. Knows nothing of models.
Source: the safetensors format, https://huggingface.co/docs/safetensors (header length, JSON
header, data).
"""

import json
import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import IngredientError

if TYPE_CHECKING:
    import torch

HEADER_LIMIT = 100_000_000
"""Largest header in bytes, as in the reference implementation."""

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "I8": 1}
"""Bytes per element of the types that are read here."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in its file."""

    name: str
    dtype: str
    """safetensors' name: F32, F16, BF16, ..."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the start of the file."""
    size_bytes: int

    @property
    def n_rows(self) -> int:
        """Length of the first dimension; 1 for a scalar."""
        return self.shape[0] if self.shape else 1

    @property
    def row_size(self) -> int:
        """Elements in one row; 1 for a vector."""
        size = 1
        for length in self.shape[1:]:
            size *= length
        return size


def all_finite(block: "torch.Tensor") -> bool:
    """Whether no value is NaN or infinite.

    One sum tells it, at a tenth of the cost of looking at each: a sum of finite values is finite,
    or else it has overflowed and each is looked at.
    """
    import math

    import torch

    return math.isfinite(float(block.sum())) or bool(torch.isfinite(block).all())


class TensorFile:
    """An open safetensors file; safe to read from several threads at once."""

    def __init__(self, path: Path) -> None:
        """Open a file and check its header.

        Raises:
            IngredientError: missing, not a regular file, cut short, or no safetensors.
        """
        self.path = path
        self.read_s = 0.0
        """Thread-seconds spent reading so far."""
        self._lock = threading.Lock()
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise IngredientError(f"cannot read {path}: {error.strerror}") from None
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise IngredientError(f"{path} is not a regular file")
            self.size_bytes = status.st_size
            self.tensors, self.metadata = self._read_header()
        except BaseException:
            os.close(self._descriptor)
            self._descriptor = -1
            raise

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> "torch.Tensor":
        """Rows of a tensor as float32.

        Args:
            name: A name in `tensors`.
            start: First row.
            stop: Row after the last; None means all.

        Returns:
            [stop - start, ...] float32, a fresh tensor.

        Raises:
            IngredientError: a type that holds no numbers, or a value that is not finite.
        """
        import torch

        block = self.raw_rows(name, start, stop).to(torch.float32)
        if not all_finite(block):
            raise IngredientError(
                f"{self.path}: {name} holds NaN or infinity; the file is damaged, make it anew"
            )
        return block

    def raw_rows(self, name: str, start: int = 0, stop: int | None = None) -> "torch.Tensor":
        """Rows of a tensor in its own type, values unchecked."""
        import torch

        stored = self.tensors[name]
        kinds = {
            "F64": torch.float64,
            "F32": torch.float32,
            "F16": torch.float16,
            "BF16": torch.bfloat16,
        }
        if stored.dtype not in kinds:
            raise IngredientError(
                f"{self.path}: {name} has type {stored.dtype}; expected BF16, F16 or F32 "
                "(quantised checkpoints cannot be merged, use the original)"
            )
        stop = stored.n_rows if stop is None else stop
        shape = (stop - start, *stored.shape[1:]) if stored.shape else ()
        block = torch.empty(shape, dtype=kinds[stored.dtype])
        if block.numel() == 0:
            return block
        width = stored.row_size * ITEM_BYTES[stored.dtype]
        view = block.view(-1).view(torch.uint8).numpy().data.cast("B")
        self._read_into(view, stored.offset + start * width)
        return block

    def raw_bytes(self, name: str, start: int, size: int) -> bytes:
        """Bytes of a tensor's data, from `start` within it."""
        buffer = bytearray(size)
        self._read_into(memoryview(buffer), self.tensors[name].offset + start)
        return bytes(buffer)

    def _read_into(self, view: memoryview, offset: int) -> None:
        began = time.perf_counter()
        done = 0
        while done < len(view):
            n_read = os.preadv(self._descriptor, [view[done : done + (1 << 30)]], offset + done)
            if n_read == 0:
                raise IngredientError(f"{self.path} is cut short; fetch it again")
            done += n_read
        with self._lock:
            self.read_s += time.perf_counter() - began

    def _read_header(self) -> tuple[dict[str, StoredTensor], dict[str, str]]:
        length = int.from_bytes(os.pread(self._descriptor, 8, 0), "little")
        start = 8 + length
        if self.size_bytes < 8 or length > HEADER_LIMIT or start > self.size_bytes:
            raise IngredientError(f"{self.path} is no safetensors file, or is cut short")
        try:
            header = json.loads(os.pread(self._descriptor, length, 8))
            metadata = header.pop("__metadata__", {})
            tensors = {name: self._entry(name, entry, start) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise IngredientError(f"{self.path} has a broken safetensors header") from None
        return tensors, metadata

    def _entry(self, name: str, entry: Any, start: int) -> StoredTensor:
        begin, end = (int(edge) for edge in entry["data_offsets"])
        shape = tuple(int(length) for length in entry["shape"])
        stored = StoredTensor(name, str(entry["dtype"]), shape, start + begin, end - begin)
        if begin < 0 or end < begin or any(length < 0 for length in shape):
            raise ValueError(name)
        if start + end > self.size_bytes:
            raise IngredientError(
                f"{self.path} is cut short: {name} ends at byte {start + end}, "
                f"the file at {self.size_bytes}; fetch it again"
            )
        item = ITEM_BYTES.get(stored.dtype)
        if item is not None and stored.n_rows * stored.row_size * item != stored.size_bytes:
            raise ValueError(name)
        return stored
