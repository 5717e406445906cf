"""Build: recipe and numbers in, the GGUF that ships out, in one pass.

Streams every tensor through merge and quantiser into the template's mould, hashes while it
writes, renames when whole; scores nothing.
Source: DESIGN, The way of one trial; Export.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from search.disk import check_room, sibling
from search.errors import BuildError
from search.export.gguf_file import header_bytes, padding, string_value
from search.export.hf import export_hf
from search.export.llama_child import check_loads
from search.export.render import CopyJob, MergeJob
from search.ingredients import build_key
from search.merging.merge import TensorMerge
from search.numbers import Numbers, numbers_for
from search.places import without_paths
from search.prepare import Prepared, prepare
from search.recipe import Number, Recipe
from search.tensors.stream import Clock, Job, stream

KEY_PREFIX = "weighin."
AROUND = {"search", "evaluate"}
"""Sections of a recipe that shape no build."""
Progress = Callable[[int, int], None]
"""Told the bytes written and the bytes in all."""


class BuildResult(BaseModel):
    """One build and where it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str
    """Of the whole file."""
    build_hash: str
    """Shared by builds that are equal."""
    numbers: Numbers
    ingredients: dict[str, Any]
    """SHA-256 of what the build was made of, template included."""
    size_bytes: int
    n_changed: int
    """Tensors that the numbers touched."""
    n_copied: int
    """Tensors copied from the template as bytes."""
    elapsed_s: float
    seconds: dict[str, float]
    """Thread-seconds by kind of work: read, merge, quantise, copy, write, load."""


def build_hash(recipe: Recipe | Prepared, numbers: Mapping[str, Number]) -> str:
    """A hash that two builds share when their files are equal.

    Args:
        recipe: A recipe, or what `prepare` made of it (quicker when asked often).
        numbers: Chosen numbers, as for `build`.
    """
    ready = recipe if isinstance(recipe, Prepared) else prepare(recipe)
    full = numbers_for(ready.recipe, numbers)
    hashes = ready.ingredients.hashes(full)
    return build_key(hashes, full, ready.recipe, ready.template_sha256)


def build(
    recipe: Recipe | Prepared,
    numbers: Mapping[str, Number],
    out: Path,
    *,
    hf: Path | None = None,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build one GGUF.

    Args:
        recipe: A recipe, or what `prepare` made of it.
        numbers: Chosen numbers by name (`s`, `alpha`, `rank`, ...); the recipe's own for the rest.
        out: File to write; an existing one is replaced when the new one is whole.
        hf: Folder to write the merged checkpoint to as well.
        n_threads: None means all cores; the outcome does not depend on it.
        progress: Told how far it is.

    Raises:
        WeighinError: an input is not in order, the disk is too full, or llama.cpp does not load
            the outcome. Nothing half-written is left.
    """
    began = time.monotonic()
    ready = recipe if isinstance(recipe, Prepared) else prepare(recipe, n_threads=n_threads)
    full = numbers_for(ready.recipe, numbers)
    if ready.ingredients.subspace is not None:
        ready.ingredients.subspace.check_rank(full.rank)
    if out.exists() and out.samefile(ready.template.file.path):
        raise BuildError(f"{out} is the template itself; write the build elsewhere")
    merged_from = ready.ingredients.hashes(full)
    key = build_key(merged_from, full, ready.recipe, ready.template_sha256)
    hashes = {**merged_from, "template": ready.template_sha256}
    trained = ready.ingredients.heal_at(full) if ready.ingredients.trained is not None else None
    if trained is not None:
        hashes["heal"] = trained.sha256
    clock = Clock()
    read_before_s = ready.ingredients.read_s
    jobs, n_changed = _jobs(ready, full, clock)
    keys = _metadata(ready, full, hashes, key)
    beside = sibling(out, "part")
    try:
        size, digest = _write(ready, jobs, keys, beside, n_threads, clock, progress)
        with clock.on("load"):
            check_loads(beside)
        seconds = _seconds(clock, ready.ingredients.read_s - read_before_s)
        if hf is not None:
            export_hf(ready.ingredients, full, hf, n_threads=n_threads)
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
    return BuildResult(
        path=out,
        sha256=digest,
        build_hash=key,
        numbers=full,
        ingredients=hashes,
        size_bytes=size,
        n_changed=n_changed,
        n_copied=len(jobs) - n_changed,
        elapsed_s=time.monotonic() - began,
        seconds=seconds,
    )


def _seconds(clock: Clock, read_s: float) -> dict[str, float]:
    """Thread-seconds by kind of work; reading happens within merging and is taken out of it."""
    found = dict(clock.seconds)
    found["read"] = read_s
    found["merge"] = max(0.0, found.get("merge", 0.0) - read_s)
    return {what: round(spent, 3) for what, spent in sorted(found.items())}


def _jobs(ready: Prepared, numbers: Numbers, clock: Clock) -> tuple[list[Job], int]:
    jobs: list[Job] = []
    n_changed = 0
    for info in ready.template.file.tensors.values():
        place = ready.template.places.get(info.name)
        merge = TensorMerge(ready.ingredients, numbers, place.source) if place is not None else None
        if place is not None and merge is not None and merge.touched:
            jobs.append(MergeJob(merge, place, clock))
            n_changed += 1
        else:
            read = partial(ready.template.tensor_bytes, info)
            jobs.append(CopyJob(info.size_bytes, read, clock))
    return jobs, n_changed


def _metadata(
    ready: Prepared, numbers: Numbers, hashes: dict[str, Any], key: str
) -> dict[str, bytes]:
    kept = {
        name: raw
        for name, raw in ready.template.file.keys.items()
        if not name.startswith(KEY_PREFIX)
    }
    values = {
        "recipe": without_paths(ready.recipe.model_dump(mode="json", exclude=AROUND)),
        "numbers": numbers.model_dump(),
        "ingredients": hashes,
        "build_hash": key,
    }
    fisher = ready.ingredients.fisher
    if fisher is not None and fisher.header is not None and fisher.header.prompt_texts_sha256:
        # so that whoever runs the build can tell which prompts it has seen
        values["fisher_prompts"] = list(fisher.header.prompt_texts_sha256)
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        kept[KEY_PREFIX + name] = string_value(text)
    return kept


def _write(
    ready: Prepared,
    jobs: list[Job],
    keys: dict[str, bytes],
    path: Path,
    n_threads: int | None,
    clock: Clock,
    progress: Progress | None,
) -> tuple[int, str]:
    infos = list(ready.template.file.tensors.values())
    alignment = ready.template.file.alignment
    header, placed = header_bytes(keys, infos, alignment)
    total = len(header) + placed[-1].offset + placed[-1].size_bytes
    check_room(path.parent, total)
    digest = hashlib.sha256()
    written = 0
    try:
        with path.open("wb") as out:
            for chunk in _chunks(header, jobs, alignment, n_threads):
                with clock.on("write"):
                    digest.update(chunk)
                    out.write(chunk)
                written += len(chunk)
                if progress is not None:
                    progress(written, total)
    except OSError as error:
        raise BuildError(f"cannot write {path.parent}: {error.strerror}") from None
    return written, digest.hexdigest()


def _chunks(
    header: bytes, jobs: list[Job], alignment: int, n_threads: int | None
) -> Iterator[bytes | memoryview]:
    yield header
    current: Job | None = None
    size = 0
    for job, chunk in stream(jobs, n_threads):
        if current is not None and job is not current:
            yield padding(size, alignment)
            size = 0
        current = job
        size += len(chunk)
        yield chunk
    yield padding(size, alignment)
