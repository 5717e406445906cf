"""Baseline: IT's own GGUF, the build to beat and the template of every build.

Checkpoint in, GGUF out, by llama.cpp's converter and quantiser alone; none of our own numerics.
Source: DESIGN, Export.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from search.cache import file_sha256
from search.disk import check_room, sibling
from search.errors import IngredientError
from search.export.converter import convert
from search.export.llama_child import check_loads, quantize_file
from search.tensors.checkpoint import Checkpoint, open_checkpoint

PLAIN = {"F32", "F16", "BF16"}
Outtype = Literal["f32", "f16", "bf16"]


class BaselineResult(BaseModel):
    """What was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str
    type: str
    """llama.cpp's name of the mixture."""
    size_bytes: int
    elapsed_s: float


def make_baseline(
    source: str,
    out: Path,
    *,
    type: str = "Q6_K",
    imatrix: Path | None = None,
    n_threads: int | None = None,
) -> BaselineResult:
    """Convert a checkpoint and quantise it.

    Args:
        source: Hugging Face folder or hub id.
        out: GGUF to write; an existing file is replaced when the new one is whole.
        type: Q6_K, Q8_0, Q4_K_M, ..., or F32, F16, BF16.
        imatrix: Importance matrix (GGUF) for the quantiser.
        n_threads: None means all cores.

    Raises:
        WeighinError: a broken checkpoint, no converter, an unknown type, too little disk.
    """
    began = time.monotonic()
    checkpoint = open_checkpoint(source)
    kind = type.upper()
    # unquantised weights stand beside the outcome for a while
    size = sum(checkpoint.stored(name).size_bytes for name in checkpoint.names)
    check_room(out.parent, 2 * size)
    plain, quantised = sibling(out, "plain"), sibling(out, "quantised")
    try:
        outtype = _outtype(kind) if kind in PLAIN else stored_type(checkpoint)
        convert(checkpoint.folder, plain, outtype)
        if kind in PLAIN:
            plain.rename(quantised)
        else:
            quantize_file(plain, quantised, kind, imatrix=imatrix, n_threads=n_threads)
        check_loads(quantised)
        digest = file_sha256(quantised)
        quantised.replace(out)
    finally:
        plain.unlink(missing_ok=True)
        quantised.unlink(missing_ok=True)
    return BaselineResult(
        path=out,
        sha256=digest,
        type=kind,
        size_bytes=out.stat().st_size,
        elapsed_s=time.monotonic() - began,
    )


def stored_type(checkpoint: Checkpoint) -> Outtype:
    """The type that most of a checkpoint's weights have, as the converter calls it.

    Raises:
        IngredientError: weights that are already quantised.
    """
    sizes: Counter[str] = Counter()
    for name in checkpoint.names:
        stored = checkpoint.stored(name)
        if len(stored.shape) > 1:
            sizes[stored.dtype] += stored.size_bytes
    common = sizes.most_common(1)[0][0] if sizes else "F32"
    if common not in PLAIN:
        raise IngredientError(
            f"{checkpoint.folder} holds {common} weights; expected BF16, F16 or F32"
        )
    return _outtype(common)


def _outtype(kind: str) -> Outtype:
    kinds: dict[str, Outtype] = {"F32": "f32", "F16": "f16", "BF16": "bf16"}
    return kinds[kind]
