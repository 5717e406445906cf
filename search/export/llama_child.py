"""llama.cpp in a child process: quantise a file, or load it to see that it loads.

llama.cpp ends its whole process on a failed assertion, so it never runs in ours.
Source: llama.h, https://github.com/ggml-org/llama.cpp.
"""

import os
import subprocess
import sys
from pathlib import Path

from search.errors import BuildError
from search.export.converter import last_words

PROJECT = Path(__file__).resolve().parent.parent.parent


def quantize_file(
    source: Path, out: Path, kind: str, *, imatrix: Path | None = None, n_threads: int | None = None
) -> None:
    """Quantise a GGUF with `llama_model_quantize`.

    Args:
        source: Unquantised GGUF.
        out: File to write.
        kind: llama.cpp's name of the mixture: Q6_K, Q4_K_M, Q8_0, IQ4_XS, ...
        imatrix: Importance matrix as GGUF.
        n_threads: None means all cores.

    Raises:
        BuildError: an unknown kind, or llama.cpp failed; its last words are in the message.
    """
    arguments = ["quantize", str(source), str(out), kind, str(imatrix or ""), str(n_threads or 0)]
    failure = _run(arguments)
    if failure is not None:
        raise BuildError(f"llama.cpp cannot quantise to {kind}: {failure}")


def check_loads(path: Path) -> None:
    """Load a GGUF, every tensor's bytes validated.

    Raises:
        BuildError: llama.cpp does not take it; its last words are in the message.
    """
    failure = _run(["load", str(path)])
    if failure is not None:
        raise BuildError(f"llama.cpp cannot load the build: {failure}")


def file_types() -> dict[str, int]:
    """llama.cpp's mixtures by name (enum llama_ftype)."""
    import llama_cpp

    prefixes = ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_")
    return {
        name.removeprefix(prefix): int(getattr(llama_cpp, name))
        for name in dir(llama_cpp)
        for prefix in prefixes
        if name.startswith(prefix)
    }


def _run(arguments: list[str]) -> str | None:
    """Last words of a failed child; None where it succeeded."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "search.export.llama_child", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"stopped by signal {-done.returncode}: {last_words(done.stderr)}"
    return last_words(done.stderr)


def _quantize(source: str, out: str, kind: str, imatrix: str, n_threads: str) -> int:
    import ctypes

    import llama_cpp

    kinds = file_types()
    if kind not in kinds:
        print(f"unknown type {kind!r}; known: {', '.join(sorted(kinds))}", file=sys.stderr)
        return 1
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = kinds[kind]
    params.nthread = int(n_threads)
    rows = _imatrix_array(Path(imatrix)) if imatrix else None
    if rows is not None:
        params.imatrix = rows
    return int(llama_cpp.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params)))


def _imatrix_array(path: Path) -> "object":
    import ctypes

    import llama_cpp

    from search.export.imatrix import read_imatrix

    entries = read_imatrix(path)
    # the list ends with an entry without a name
    array = (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))()
    for place, (name, values) in zip(array, entries.items(), strict=False):
        place.name = name.encode()
        place.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        place.size = values.size
    array._kept_alive = entries
    return array


def _load(path: str) -> int:
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    params.check_tensors = True
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        return 1
    llama_cpp.llama_model_free(model)
    return 0


def _main(arguments: list[str]) -> int:
    if arguments[0] == "quantize":
        return _quantize(*arguments[1:])
    return _load(arguments[1])


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
