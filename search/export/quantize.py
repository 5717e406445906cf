"""Quantize: rows of float32 into a GGUF tensor type, by ggml itself.

Calls `ggml_quantize_chunk` of the library that llama-cpp-python installs, without loading
llama.cpp's backends; knows nothing of files.
Source: ggml.h, https://github.com/ggml-org/ggml.
"""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import BuildError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TYPES = {
    "F32": 0,
    "F16": 1,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q5_0": 6,
    "Q5_1": 7,
    "Q8_0": 8,
    "Q2_K": 10,
    "Q3_K": 11,
    "Q4_K": 12,
    "Q5_K": 13,
    "Q6_K": 14,
    "IQ2_XXS": 16,
    "IQ2_XS": 17,
    "IQ3_XXS": 18,
    "IQ1_S": 19,
    "IQ4_NL": 20,
    "IQ3_S": 21,
    "IQ2_S": 22,
    "IQ4_XS": 23,
    "IQ1_M": 29,
    "BF16": 30,
    "TQ1_0": 34,
    "TQ2_0": 35,
    "MXFP4": 39,
}
"""enum ggml_type: the types that `ggml_quantize_chunk` writes, by name."""

TYPE_NAMES = {number: name for name, number in TYPES.items()}


@cache
def library() -> ctypes.CDLL:
    """ggml's base library, loaded once.

    Raises:
        BuildError: llama-cpp-python is not installed, or lacks it.
    """
    found = importlib.util.find_spec("llama_cpp")
    places = list(found.submodule_search_locations or []) if found is not None else []
    for place in places:
        for pattern in ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll"):
            for path in sorted(Path(place, "lib").glob(pattern)):
                return _declare(ctypes.CDLL(str(path)))
    raise BuildError("ggml's library is missing; install llama-cpp-python again")


def row_bytes(kind: int, n_columns: int) -> int:
    """Bytes of one row in a tensor type.

    Raises:
        BuildError: the type's blocks do not divide the row.
    """
    block = int(library().ggml_blck_size(kind))
    if n_columns % block:
        raise BuildError(
            f"rows of {n_columns} do not fill blocks of {block} ({TYPE_NAMES.get(kind, kind)})"
        )
    return int(library().ggml_row_size(kind, n_columns))


def needs_imatrix(kind: int) -> bool:
    """Whether a type cannot be written without an importance matrix."""
    return bool(library().ggml_quantize_requires_imatrix(kind))


def quantize(
    rows: "NDArray[np.float32]", kind: int, importance: "NDArray[np.float32] | None" = None
) -> "NDArray[np.uint8]":
    """Rows in a tensor type.

    The interpreter's lock is released while ggml works, so threads run side by side.

    Args:
        rows: [n, columns] float32, contiguous.
        kind: ggml's number of the type, see TYPES.
        importance: [columns] float32, or None.

    Returns:
        [bytes] uint8.

    Raises:
        BuildError: a type that cannot be written, or only with an importance matrix.
    """
    import numpy as np

    if kind not in TYPE_NAMES:
        raise BuildError(f"tensor type {kind} cannot be written by ggml; choose another baseline")
    if importance is None and needs_imatrix(kind):
        raise BuildError(f"{TYPE_NAMES[kind]} needs an importance matrix; name one (imatrix)")
    assert rows.flags.c_contiguous
    assert rows.dtype == np.float32
    if kind == TYPES["F32"]:
        return rows.reshape(-1).view(np.uint8)
    n_rows, n_columns = rows.shape
    out = np.empty(n_rows * row_bytes(kind, n_columns), dtype=np.uint8)
    written = library().ggml_quantize_chunk(
        kind,
        rows.ctypes.data,
        out.ctypes.data,
        0,
        n_rows,
        n_columns,
        None if importance is None else importance.ctypes.data,
    )
    if written != out.nbytes:
        raise BuildError(f"ggml wrote {written} bytes of {TYPE_NAMES[kind]}, not {out.nbytes}")
    return out


def _declare(ggml: ctypes.CDLL) -> ctypes.CDLL:
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    ggml.ggml_row_size.restype = ctypes.c_size_t
    ggml.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_blck_size.argtypes = [ctypes.c_int]
    ggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    ggml.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
    return ggml
