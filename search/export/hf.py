"""HF export: a merge as a checkpoint folder, for whoever wants the weights and not the GGUF.

Streams the same merged rows as the build does, in IT's own sharding, types and names, beside
IT's configuration and tokenizer; quantises nothing.
Source: the hub's layout of checkpoints; DESIGN, Export.
"""

import json
import shutil
from functools import partial
from pathlib import Path

from search.disk import check_room, sibling
from search.errors import BuildError
from search.export.render import CopyJob, MergedTensor
from search.ingredients import Ingredients
from search.merging.merge import TensorMerge
from search.numbers import Numbers
from search.tensors.checkpoint import Checkpoint, inside
from search.tensors.names import canonical, layouts
from search.tensors.stream import Clock, Job, stream
from search.tensors.tensorfile import TensorFile

COPIED = ("*.json", "*.model", "*.jinja", "*.txt")
"""What is taken over from IT's folder beside the weights."""

CARD = """---
base_model: {base}
base_model_relation: merge
tags: [merge, weighin]
---
# {name}

A merge of {base} with {adapters}, built by weighin.

Numbers: {numbers}
"""


def export_hf(
    ingredients: Ingredients,
    numbers: Numbers,
    out: Path,
    *,
    n_threads: int | None = None,
) -> Path:
    """Write a merged checkpoint.

    Args:
        ingredients: Open ingredients.
        numbers: Complete numbers.
        out: Folder to make; it must not exist, or be empty.
        n_threads: None means all cores; the outcome does not depend on it.

    Returns:
        The folder.

    Raises:
        BuildError: the folder is in use or the disk too full. Nothing half-written is left.
    """
    it = ingredients.it
    require_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    check_room(out.parent, sum(file.size_bytes for file in it.files.values()))
    beside = sibling(out, "part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        for name, file in it.files.items():
            _write_shard(ingredients, numbers, file, beside / name, n_threads)
        _copy_rest(it, beside)
        (beside / "README.md").write_text(_card(ingredients, numbers, out.name), encoding="utf-8")
        if out.exists():
            out.rmdir()
        beside.rename(out)
    except OSError as error:
        raise BuildError(f"cannot write {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def require_free(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        BuildError: It does, or is a file.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BuildError(f"{out} exists and is not an empty folder; name another")


class _SaveJob(MergedTensor):
    """A merged tensor in its own type."""

    def render(self, block: tuple[int, int]) -> bytes | memoryview:
        """Merged rows' bytes."""
        import torch

        rows = self.merged(block).to(self._merge.kind).contiguous()
        return rows.reshape(-1).view(torch.uint8).numpy().data


def _write_shard(
    ingredients: Ingredients,
    numbers: Numbers,
    file: TensorFile,
    path: Path,
    n_threads: int | None,
) -> None:
    clock = Clock()  # nobody asks how long an export takes
    it = ingredients.it
    placed = layouts(it.config, it.names, str(it.folder))
    tensors = sorted(file.tensors.values(), key=lambda stored: stored.offset)
    jobs: list[Job] = []
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for stored in tensors:
        end = offset + stored.size_bytes
        entries[stored.name] = {
            "dtype": stored.dtype,
            "shape": list(stored.shape),
            "data_offsets": [offset, end],
        }
        offset = end
        name = canonical(stored.name)
        merge = TensorMerge(ingredients, numbers, name) if name is not None else None
        if name is not None and merge is not None and merge.touched:
            jobs.append(_SaveJob(merge, placed[name].head_rows, clock))
        else:
            read = partial(file.raw_bytes, stored.name)
            jobs.append(CopyJob(stored.size_bytes, read, clock))
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for _, chunk in stream(jobs, n_threads):
            out.write(chunk)


def _copy_rest(it: Checkpoint, folder: Path) -> None:
    for pattern in COPIED:
        for path in sorted(it.folder.glob(pattern)):
            shutil.copyfile(inside(it.folder, path.name), folder / path.name)


def _card(ingredients: Ingredients, numbers: Numbers, name: str) -> str:
    recipe = ingredients.recipe
    said = {key: value for key, value in numbers.model_dump().items() if value is not None}
    return CARD.format(
        base=recipe.it if not recipe.it.startswith("/") else Path(recipe.it).name,
        name=name,
        adapters=", ".join(adapter.name for adapter in recipe.adapters),
        numbers=", ".join(f"{key} = {value}" for key, value in said.items()),
    )
