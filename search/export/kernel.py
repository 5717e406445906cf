"""Kernel: Q6_K at several times ggml's speed with ggml's bits, or ggml itself.

Compiles q6k.c once with the machine's C compiler, compares it with ggml on values of every sort
before it is used, and does without it where there is no compiler or one bit differs. Knows
nothing of merging.
Source: search/q6k.c.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from search.cache import cache_folder
from search.export.quantize import TYPES, library, quantize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("q6k.c")
BLOCK = 256
BLOCK_BYTES = 210
COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    "-std=c11",
    "-O3",
    "-march=native",
    # a * b + c must stay two roundings, and sums in order, or the bits differ from ggml's
    "-ffp-contract=off",
    # neither changes a value; without them comparisons are not vectorised
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)
COMPILE_TIMEOUT_S = 120


def quantize_rows(
    rows: "NDArray[np.float32]", kind: int, importance: "NDArray[np.float32] | None" = None
) -> "NDArray[np.uint8]":
    """Rows in a tensor type, as `quantize` has it, by the quicker of two ways to the same bits."""
    if kind == TYPES["Q6_K"] and importance is None and rows.shape[1] % BLOCK == 0:
        kernel = proved_kernel()
        if kernel is not None:
            return _run(kernel, rows)
    return quantize(rows, kind, importance)


@cache
def proved_kernel() -> ctypes.CDLL | None:
    """The compiled kernel, once its bits were found to be ggml's; else None."""
    path = _compiled()
    if path is None:
        return None
    try:
        kernel = ctypes.CDLL(str(path))
    except OSError:
        return None
    function = kernel.weighin_quantize_q6_k
    function.restype = None
    function.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return kernel if _same_bits(kernel) else None


def _run(kernel: ctypes.CDLL, rows: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    import numpy as np

    assert rows.flags.c_contiguous
    assert rows.dtype == np.float32
    n_blocks = rows.size // BLOCK
    out = np.empty(n_blocks * BLOCK_BYTES, dtype=np.uint8)
    ggml = library()
    kernel.weighin_quantize_q6_k(
        rows.ctypes.data,
        out.ctypes.data,
        n_blocks,
        ctypes.cast(ggml.ggml_fp32_to_fp16, ctypes.c_void_p),
        ctypes.cast(ggml.ggml_fp16_to_fp32, ctypes.c_void_p),
    )
    return out


def _same_bits(kernel: ctypes.CDLL) -> bool:
    return all(
        bool((_run(kernel, rows) == quantize(rows, TYPES["Q6_K"])).all()) for rows in trial_rows()
    )


def trial_rows() -> "list[NDArray[np.float32]]":
    """Values of every sort that a kernel must agree on: plain, heavy-tailed, tied, empty, tiny,
    large, and sub-blocks of very different sizes."""
    import numpy as np

    rng = np.random.default_rng(0)
    plain = rng.standard_normal((48, 8 * BLOCK), dtype=np.float32) * np.float32(0.02)
    tied = (plain.view(np.uint32) & 0xFFFF0000).view(np.float32)
    sizes = (10.0 ** rng.integers(-18, 3, size=(plain.size // 16, 1))).astype(np.float32)
    return [
        plain,
        tied,
        np.round(plain * 100),
        plain * np.exp(3 * rng.standard_normal(plain.shape)).astype(np.float32),
        plain * (rng.random(plain.shape) < 0.1),
        np.zeros_like(plain),
        plain * np.float32(1e-9),
        plain * np.float32(5e-13),
        plain * np.float32(1e8),
        (plain.reshape(-1, 16) * sizes).reshape(plain.shape),
    ]


def _compiled() -> Path | None:
    """The kernel's shared library, compiled for this very processor."""
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None or shutil.which(compiler.split()[0]) is None:
        return None
    source = SOURCE.read_bytes()
    key = hashlib.sha256(
        b"|".join([source, compiler.encode(), " ".join(FLAGS).encode(), _processor().encode()])
    ).hexdigest()
    target = cache_folder() / "kernel" / f"q6k-{key[:32]}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            built = Path(scratch, "q6k.so")
            command = [*compiler.split(), *FLAGS, "-o", str(built), str(SOURCE)]
            done = subprocess.run(
                command, capture_output=True, timeout=COMPILE_TIMEOUT_S, check=False
            )
            if done.returncode != 0:
                return None
            built.rename(target)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return target


def _processor() -> str:
    """What a library compiled for this processor may not be shared beyond."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    return platform.machine() + next((line for line in lines if line.startswith("flags")), "")
