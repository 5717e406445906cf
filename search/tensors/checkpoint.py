"""Checkpoint: a Hugging Face folder of safetensors, read tensor by tensor, never whole.

Knows names, types and places of tensors and reads rows of them; knows nothing of merging.
Source: the hub's layout (config.json, model.safetensors or model.safetensors.index.json).
"""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search import cache
from search.errors import IngredientError
from search.tensors.names import canonical, text_config
from search.tensors.tensorfile import StoredTensor, TensorFile

if TYPE_CHECKING:
    import torch

HASH_BLOCK_BYTES = 1 << 24
WANTED = ("*.safetensors", "*.json", "*.model", "*.jinja", "*.txt", "*.md")
"""What is fetched of a hub repository; never code or pickled weights."""


class Checkpoint:
    """An open checkpoint; tensors go by their canonical (text-only) names."""

    def __init__(self, folder: Path) -> None:
        """Open a folder and read the headers.

        Raises:
            IngredientError: no config, no safetensors, a broken file or index.
        """
        self.folder = folder
        self.config = read_json(folder / "config.json")
        self.files = {path.name: TensorFile(path) for path in _weight_files(folder)}
        self._place: dict[str, tuple[TensorFile, str]] = {}
        left_out: list[str] = []
        for file in self.files.values():
            for name in file.tensors:
                known = canonical(name)
                if known is None:
                    left_out.append(name)
                elif known in self._place:
                    raise IngredientError(f"{folder}: {known} is stored twice; fetch it again")
                else:
                    self._place[known] = (file, name)
        self.left_out = tuple(left_out)
        """Vision and audio tensors, which a text GGUF has no room for."""
        if not self._place:
            raise IngredientError(f"{folder}: its safetensors hold no tensors")

    @property
    def names(self) -> list[str]:
        """Canonical names, in the files' order."""
        return list(self._place)

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def stored(self, name: str) -> StoredTensor:
        """Type, shape and place of a tensor."""
        file, own = self._place[name]
        return file.tensors[own]

    def rows(self, name: str, start: int = 0, stop: int | None = None) -> "torch.Tensor":
        """Rows of a tensor as float32, checked to be finite."""
        file, own = self._place[name]
        return file.rows(own, start, stop)

    @property
    def n_layers(self) -> int:
        """Layers of the text model."""
        return int(text_config(self.config)["num_hidden_layers"])

    @property
    def tied(self) -> bool:
        """Whether the output layer is the embedding."""
        default = self.config.get("tie_word_embeddings", False)
        return bool(text_config(self.config).get("tie_word_embeddings", default))

    @cached_property
    def tensor_hashes(self) -> dict[str, str]:
        """SHA-256 of each tensor's data by canonical name, remembered by the files' stamps."""
        stamps = "\n".join(cache.file_stamp(file.path) for file in self.files.values())
        known = cache.recall("tensors", stamps)
        if isinstance(known, dict) and set(known) == set(self._place):
            return known
        with ThreadPoolExecutor() as pool:
            found = dict(zip(self._place, pool.map(self._hash, self._place), strict=True))
        cache.remember("tensors", stamps, found)
        return found

    @cached_property
    def sha256(self) -> str:
        """Hash of names, types, shapes and data of the text model, however it is sharded."""
        digest = hashlib.sha256()
        for name in sorted(self._place):
            stored = self.stored(name)
            line = [name, stored.dtype, list(stored.shape), self.tensor_hashes[name]]
            digest.update(json.dumps(line).encode() + b"\n")
        return digest.hexdigest()

    def _hash(self, name: str) -> str:
        file, own = self._place[name]
        size = file.tensors[own].size_bytes
        digest = hashlib.sha256()
        for start in range(0, size, HASH_BLOCK_BYTES):
            digest.update(file.raw_bytes(own, start, min(HASH_BLOCK_BYTES, size - start)))
        return digest.hexdigest()


def find_source(source: str) -> Path:
    """A folder, or a hub id's snapshot, fetched if need be.

    Raises:
        IngredientError: no such folder, and nothing on the hub.
    """
    path = Path(source)
    if path.is_absolute() or path.exists():
        if not path.is_dir():
            problem = "is a file, expected a folder" if path.exists() else "does not exist"
            raise IngredientError(f"{path} {problem}; name a Hugging Face folder or hub id")
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=list(WANTED)))
    except Exception as error:
        # the hub client raises many kinds, from its own and from its transport's family
        reason = str(error).strip().splitlines()
        raise IngredientError(
            f"{source}: no such folder, and not to be had from the hub "
            f"({reason[0] if reason else type(error).__name__})"
        ) from None


def open_checkpoint(source: str) -> Checkpoint:
    """Open a folder or hub id."""
    return Checkpoint(find_source(source))


def inside(folder: Path, name: str) -> Path:
    """A file of a folder, refused where it lies elsewhere.

    The hub's own cache links snapshots to blobs beside them; those links are followed.

    Raises:
        IngredientError: a path that leaves the folder, or a link that does.
    """
    path = folder / name
    root = folder.resolve()
    allowed = [root, root.parent.parent] if root.parent.name == "snapshots" else [root]
    target = path.resolve()
    if Path(name).name != name or not any(target.is_relative_to(place) for place in allowed):
        raise IngredientError(f"{folder}: {name!r} points outside the folder; replace the link")
    return path


def _weight_files(folder: Path) -> Iterator[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise IngredientError(f"{index} has no weight_map; fetch it again")
        for name in sorted({str(shard) for shard in shards.values()}):
            path = inside(folder, name)
            if not path.exists():
                raise IngredientError(f"{folder}: shard {name} is missing; fetch it again")
            yield path
        return
    if (folder / "model.safetensors").exists():
        yield inside(folder, "model.safetensors")
        return
    pickled = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
    if pickled:
        raise IngredientError(
            f"{pickled[0]} is pickled, which can run code; save the model as safetensors"
        )
    raise IngredientError(f"{folder} holds no model.safetensors")


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise IngredientError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise IngredientError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise IngredientError(f"{path} is not a JSON object")
    return value
