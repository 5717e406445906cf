"""Subspace build: every matrix's directions, one matrix at a time, into one file.

Each finished matrix is a part of its own beside the outcome, so that the same command goes on
where it was killed; the parts become the file at the end. Knows nothing of how directions are
found. Source: the file's layout is in docs/files.md.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from search.disk import check_room, sibling
from search.errors import BuildError, IngredientError
from search.fisher.file import FisherFile, read_header
from search.fisher.groups import free_memory
from search.subspace.file import METADATA_KEY, SubspaceHeader
from search.subspace.source import EMBEDDINGS, Source, delta_source, fisher_source
from search.subspace.subspace import EXACT_UP_TO, Directions, factorise, no_directions, peak_bytes
from search.tensors.checkpoint import Checkpoint
from search.tensors.tensorfile import TensorFile
from search.tensors.tensorwriter import PlannedTensor, write_tensors

SEED = 0
"""Of every matrix's random start, so that one matrix does not depend on the ones before it."""

METHOD = f"LAPACK up to {EXACT_UP_TO}, block Krylov or Gram matrix beyond, rounding left out"
"""How directions are found; parts of another method are not taken over."""

PART_KEY = "weighin.subspace.part"
COPY_BYTES = 1 << 24
Progress = Callable[[int, int, "MatrixResult"], None]
"""Told how many matrices are done, how many there are, and the last one."""


class MatrixResult(BaseModel):
    """What is known of one matrix's directions; in a part's metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rank: int
    """Directions kept."""
    captured: float | None
    """Share of the squared norm; None for a matrix of zeros."""
    error: float
    """`Directions.error`."""


class SubspaceResult(BaseModel):
    """A written subspace file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    size_bytes: int
    rank: int
    """As asked for."""
    n_weights: int
    n_zero: int
    """Weights of rank 0: not different, or by rounding only."""
    n_resumed: int
    """Weights taken over from an earlier, unfinished run."""
    captured_min: float
    """Smallest share of the squared norm in the directions, over the weights of rank 1 and up."""
    captured_max: float
    error_max: float
    """Largest error of a factorisation, as checked."""
    elapsed_s: float


def build_subspace(
    it: Checkpoint,
    out: Path,
    *,
    rank: int,
    pt: Checkpoint | None = None,
    fisher: FisherFile | None = None,
    embeddings: bool = False,
    progress: Progress | None = None,
) -> SubspaceResult:
    """Write the top singular directions of IT - PT, or of the Fisher, per matrix.

    Args:
        it: The instruct model.
        out: File to write; it must not exist.
        rank: Most directions per matrix, from 1 on.
        pt: The model that IT came from; this or `fisher`, not both.
        fisher: A Fisher of IT, whose own leading modes are taken.
        embeddings: Whether embeddings and the output layer are covered.
        progress: Told of every matrix.

    Raises:
        IngredientError: the inputs do not belong together, do not differ, or do not fit in memory.
        BuildError: the file exists, or the disk is too full. Nothing half-written is left.
    """
    began = time.monotonic()
    if rank < 1:
        raise IngredientError(f"rank is {rank}; expected 1 or more")
    if out.exists():
        raise BuildError(f"{out} exists; name another, or delete it first")
    if (pt is None) == (fisher is None):
        raise IngredientError(
            "a subspace is made of IT and PT, or of a Fisher; name one of the two"
        )
    if pt is not None:
        source: Source = delta_source(it, pt, embeddings=embeddings)
    else:
        assert fisher is not None
        source = fisher_source(it, fisher, embeddings=embeddings)
    check_room(out.parent, 0)
    _check_memory(it, source, rank)
    parts = _parts_folder(out, it, source, rank)
    try:
        results, n_resumed = _make_parts(it, source, parts, rank, progress)
        _assemble(it, source, parts, results, rank, out)
    except (IngredientError, BuildError):
        shutil.rmtree(parts, ignore_errors=True)
        raise
    shutil.rmtree(parts)
    shares = [result.captured for result in results if result.rank > 0]
    return SubspaceResult(
        path=out,
        size_bytes=out.stat().st_size,
        rank=rank,
        n_weights=len(results),
        n_zero=sum(result.rank == 0 for result in results),
        n_resumed=n_resumed,
        captured_min=min(share for share in shares if share is not None),
        captured_max=max(share for share in shares if share is not None),
        error_max=max(result.error for result in results),
        elapsed_s=time.monotonic() - began,
    )


def _make_parts(
    it: Checkpoint, source: Source, parts: Path, rank: int, progress: Progress | None
) -> tuple[list[MatrixResult], int]:
    """Find what is not there yet; returns all matrices' results and how many were there."""
    results: list[MatrixResult] = []
    n_resumed = 0
    for place, name in enumerate(source.names):
        path = _part(parts, place)
        if path.exists():
            known = read_header(TensorFile(path), PART_KEY, MatrixResult)
            assert known is not None and known.name == name
            results.append(known)
            n_resumed += 1
            continue
        found = _directions(it, source, name, rank)
        result = MatrixResult(
            name=name, rank=found.rank, captured=found.captured, error=found.error
        )
        _write_part(path, result, found)
        results.append(result)
        if progress is not None:
            progress(place + 1, len(source.names), result)
    return results, n_resumed


def _directions(it: Checkpoint, source: Source, name: str, rank: int) -> Directions:
    import torch

    shape = it.stored(name).shape
    if source.same(name):
        return no_directions(shape, None)
    try:
        matrix, floor = source.read(name)
        return factorise(matrix, rank, floor, rng=torch.Generator().manual_seed(SEED))
    except (MemoryError, RuntimeError) as error:
        # torch's allocator raises a plain RuntimeError
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise IngredientError(_too_large(name, shape, rank)) from None


def _write_part(path: Path, result: MatrixResult, found: Directions) -> None:
    from safetensors.torch import save_file

    beside = sibling(path, "part")
    tensors = {"U": found.left, "V": found.right, "S": found.values}
    try:
        save_file(tensors, beside, metadata={PART_KEY: result.model_dump_json()})
        beside.replace(path)
    except OSError as error:
        raise BuildError(f"cannot write {path.parent}: {error.strerror}") from None


def _assemble(
    it: Checkpoint,
    source: Source,
    parts: Path,
    results: list[MatrixResult],
    rank: int,
    out: Path,
) -> None:
    header = SubspaceHeader(
        it_sha256=it.sha256,
        pt_sha256=source.pt_sha256,
        rank=rank,
        method=f"{source.method}; {METHOD}",
        captured={result.name: result.captured for result in results},
        errors={result.name: result.error for result in results},
    )
    if all(result.rank == 0 for result in results):
        raise IngredientError(
            f"none of {len(results)} matrices has a direction above rounding ({source.method}), so "
            "every one would have rank 0; name the model that IT was trained from"
        )
    planned: list[PlannedTensor] = []
    for result in results:
        d_out, d_in = it.stored(result.name).shape
        for part, shape in (("U", (d_out,)), ("V", (d_in,)), ("S", ())):
            planned.append(PlannedTensor(f"{result.name}.{part}", "F32", (result.rank, *shape)))
    check_room(out.parent, sum(tensor.size_bytes for tensor in planned))
    beside = sibling(out, "part")
    try:
        write_tensors(
            beside, planned, _chunks(parts, len(results)), {METADATA_KEY: header.model_dump_json()}
        )
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)


def _chunks(parts: Path, n_parts: int) -> Iterator[bytes]:
    for place in range(n_parts):
        file = TensorFile(_part(parts, place))
        for part in ("U", "V", "S"):
            size = file.tensors[part].size_bytes
            for start in range(0, size, COPY_BYTES):
                yield file.raw_bytes(part, start, min(COPY_BYTES, size - start))


def _parts_folder(out: Path, it: Checkpoint, source: Source, rank: int) -> Path:
    """Where finished matrices wait; named by all that shapes them, so that only the same command
    goes on with them. What another command left for the same file is removed."""
    request = [it.sha256, source.pt_sha256, source.method, METHOD, rank, source.names]
    key = hashlib.sha256(json.dumps(request).encode()).hexdigest()[:12]
    parts = out.with_name(f".{out.name}.parts-{key}")
    for other in out.parent.iterdir():
        if other.name.startswith(f".{out.name}.parts-") and other != parts:
            shutil.rmtree(other, ignore_errors=True)
    parts.mkdir(exist_ok=True)
    return parts


def _part(parts: Path, place: int) -> Path:
    return parts / f"{place}.safetensors"


def _check_memory(it: Checkpoint, source: Source, rank: int) -> None:
    free = free_memory("cpu")
    for name in source.names:
        shape = it.stored(name).shape
        if peak_bytes(shape, rank) > free and not source.same(name):
            raise IngredientError(_too_large(name, shape, rank))


def _too_large(name: str, shape: tuple[int, ...], rank: int) -> str:
    table = any(part in name for part in EMBEDDINGS)
    return (
        f"not enough memory: {name}, {shape[0]} x {shape[1]}, takes about "
        f"{peak_bytes(shape, rank) / 1e9:.1f} GB; "
        + ("leave out --embeddings" if table else "lower --rank, or free some memory")
    )
