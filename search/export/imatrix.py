"""Importance matrix: mean squared activations per column, as llama.cpp keeps them.

GGUF in, one vector per tensor out; knows nothing of quantising.
Source: llama.cpp's `tools/imatrix` (tensors NAME.in_sum2 and NAME.counts in a GGUF of type
imatrix), https://github.com/ggml-org/llama.cpp.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import IngredientError
from search.export.gguf_file import read_gguf

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_imatrix(path: Path) -> "dict[str, NDArray[np.float32]]":
    """Importance by GGUF tensor name.

    Returns:
        [columns] float32 for a plain weight: sum of squares / count, or 1 where nothing was seen.

    Raises:
        IngredientError: not an importance matrix in GGUF, or a value that is not finite.
    """
    import numpy as np

    header = read_gguf(path)
    if header.value("general.type") != "imatrix":
        raise IngredientError(
            f"{path} is no importance matrix in GGUF; make one with llama.cpp's imatrix tool "
            "(output format gguf)"
        )
    entries: dict[str, NDArray[np.float32]] = {}
    with path.open("rb") as stream:

        def read(name: str) -> "NDArray[np.float32]":
            info = header.tensors[name]
            stream.seek(header.data_start + info.offset)
            return np.frombuffer(stream.read(info.size_bytes), dtype=np.float32)

        for name in header.tensors:
            if not name.endswith(".in_sum2"):
                continue
            weight = name.removesuffix(".in_sum2")
            if f"{weight}.counts" not in header.tensors:
                raise IngredientError(f"{path}: {weight} has sums but no counts; make it anew")
            counts = read(f"{weight}.counts")
            sums = read(name).reshape(len(counts), -1)
            seen = counts[:, None] > 0
            means = np.where(seen, sums / np.where(seen, counts[:, None], 1), 1)
            if not np.isfinite(means).all():
                raise IngredientError(f"{path}: {weight} holds NaN or infinity; make it anew")
            entries[weight] = np.ascontiguousarray(means.reshape(-1), dtype=np.float32)
    if not entries:
        raise IngredientError(f"{path} holds no importances; make it anew")
    return entries
