"""The GPUs that llama.cpp computes on: what they are called, and what memory they have.

Asks ggml, the library under llama.cpp, since llama-cpp-python has no words for it. Knows nothing of
models or contexts. Source: ggml/include/ggml-backend.h.
"""

import ctypes
from dataclasses import dataclass
from functools import cache

GPU_TYPES = (1, 2)
"""`ggml_backend_dev_type`: with memory of its own, or sharing the machine's."""


@dataclass(frozen=True)
class Gpu:
    """One of them."""

    name: str
    """As its driver calls it."""
    total_bytes: int
    """Its memory, whoever has it now."""


def find_gpus() -> list[Gpu]:
    """The GPUs that the installed llama.cpp sees; none where it was built without."""
    ggml = _ggml()
    devices = [ggml.ggml_backend_dev_get(i) for i in range(ggml.ggml_backend_dev_count())]
    return [_gpu(ggml, d) for d in devices if ggml.ggml_backend_dev_type(d) in GPU_TYPES]


def _gpu(ggml: ctypes.CDLL, device: int) -> Gpu:
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    name: bytes = ggml.ggml_backend_dev_description(device)
    return Gpu(name.decode("utf-8", "replace"), total.value)


@cache
def _ggml() -> ctypes.CDLL:
    """ggml with the types of what is asked of it."""
    from llama_cpp import _ggml

    libggml: ctypes.CDLL = _ggml.libggml
    device, size = ctypes.c_void_p, ctypes.c_size_t
    libggml.ggml_backend_dev_count.restype = size
    libggml.ggml_backend_dev_get.argtypes = [size]
    libggml.ggml_backend_dev_get.restype = device
    libggml.ggml_backend_dev_type.argtypes = [device]
    libggml.ggml_backend_dev_description.argtypes = [device]
    libggml.ggml_backend_dev_description.restype = ctypes.c_char_p
    libggml.ggml_backend_dev_memory.argtypes = [
        device,
        ctypes.POINTER(size),
        ctypes.POINTER(size),
    ]
    libggml.ggml_backend_dev_memory.restype = None
    return libggml
