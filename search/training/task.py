"""Training task: what is to be trained, opened and checked together before anything is spent.

Opens the base, the data's hashes, subspace and importance; loads no model and trains nothing.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from harness.machine import package_version
from harness.runs import file_sha256
from harness.settings import available_cores
from search import cache
from search.errors import TrainingError
from search.fisher.file import FisherFile, read_layer_importance
from search.recipe_ingredients import Mask
from search.subspace.file import SubspaceFile
from search.tensors.checkpoint import Checkpoint, open_checkpoint
from search.tensors.names import layer_of, text_config
from search.training.record import DataFile, Libraries, Machine, MaskPlan, TrainingPlan
from search.training.settings import TrainingSettings

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
CPU = "cpu"


@dataclass(frozen=True)
class TrainingTask:
    """What is to be trained."""

    base: str
    """Folder or hub id of the model to adapt."""
    data: tuple[Path, ...]
    settings: TrainingSettings
    mask: Mask | None = None
    subspace: Path | None = None
    rank: int | None = None
    """Directions of the subspace to protect; None means all, 0 none."""
    importance: Path | None = None
    """layer_importance.json, or a Fisher file, whose sums per layer are taken."""
    threads: int | None = None
    """Threads of a CPU; None means all cores."""
    base_name: str | None = None
    """What adapter_config.json calls the base; None means its hub id, or its folder's name."""

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The base, open."""
        return open_checkpoint(self.base)

    @cached_property
    def machine(self) -> Machine:
        """Where it would be trained: the first GPU, or else the CPU."""
        import torch

        if torch.cuda.is_available():
            return Machine(device=torch.cuda.get_device_name(0), threads=None)
        return Machine(device=CPU, threads=self.threads or available_cores())

    @property
    def on_cpu(self) -> bool:
        """Whether it would be trained without a GPU."""
        return self.machine.device == CPU

    @property
    def precision(self) -> Literal["float32", "bf16"]:
        """Arithmetic; the factors and sums are always float32."""
        if self.settings.precision == "auto":
            return "float32" if self.on_cpu else "bf16"
        return self.settings.precision

    @property
    def place_of_base(self) -> str:
        """The base's hub id, or its folder's name."""
        folder = Path(self.base)
        return folder.resolve().name if folder.exists() else self.base

    @property
    def name_of_base(self) -> str:
        """What the adapter calls its base."""
        return self.base_name or self.place_of_base

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row: what is asked for, or what the model can take."""
        window = text_config(self.checkpoint.config).get("max_position_embeddings")
        asked = self.settings.max_tokens
        return min(asked, window) if isinstance(window, int) else asked

    @cached_property
    def opened_subspace(self) -> SubspaceFile | None:
        """The subspace, where the mask uses one.

        Raises:
            TrainingError: there is none, or it was made for other weights.
        """
        if self.mask is None or self.rank == 0 or self.mask.strength == 0:
            return None
        if self.subspace is None:
            raise TrainingError("a mask needs a subspace; name its file (subspace)")
        found = SubspaceFile(self.subspace)
        found.check_rank(self.rank)
        known = (found.header.it_sha256, found.header.pt_sha256)
        if None not in known and self.checkpoint.sha256 not in known:
            raise TrainingError(
                f"{self.subspace} was made for other weights than {self.checkpoint.folder}, which "
                "is neither its IT nor its PT; make it for these"
            )
        return found

    @cached_property
    def layer_importance(self) -> dict[int, float] | None:
        """Importance by layer, 0 to 1, where mask or rates use it.

        Raises:
            TrainingError: it is needed and not given, or is for another number of layers.
        """
        scaled = self.opened_subspace is not None and self.mask is not None
        scaled = scaled and self.mask is not None and self.mask.mode == "scale_mask"
        if not scaled and self.settings.layer_lr == 0:
            return None
        if self.importance is None:
            what = "scale_mask" if scaled else "layer_lr"
            raise TrainingError(
                f"{what} takes its strength from the layers' importance; name a "
                "layer_importance.json or a Fisher file (importance)"
            )
        n_layers = self.checkpoint.n_layers
        if self.importance.suffix == ".json":
            return read_layer_importance(self.importance, n_layers)
        found = FisherFile(self.importance).layer_importance()
        if sorted(found) != list(range(n_layers)):
            raise TrainingError(
                f"{self.importance} covers {len(found)} layers, the model has {n_layers}; "
                "make it for this model"
            )
        return found

    def strength(self, layer: int | None) -> float:
        """c of the mask on a layer: its strength, times the layer's importance if scaled."""
        assert self.mask is not None
        if self.mask.mode == "project":
            return self.mask.strength
        importance = self.layer_importance or {}
        return self.mask.strength * (importance.get(layer, 0.0) if layer is not None else 0.0)

    @cached_property
    def plan(self) -> TrainingPlan:
        """Everything that could change the adapter, with hashes for files."""
        mask = None
        if self.opened_subspace is not None and self.mask is not None:
            mask = MaskPlan(
                mode=self.mask.mode,
                strength=self.mask.strength,
                rank=self.rank or self.opened_subspace.header.rank,
                subspace_sha256=cache.file_sha256(self.opened_subspace.path),
            )
        return TrainingPlan(
            base_sha256=self.checkpoint.sha256,
            tokenizer_sha256=_tokenizer_sha256(self.checkpoint.folder),
            data=tuple(DataFile(name=p.name, sha256=_data_sha256(p)) for p in self.data),
            settings=self.settings.model_copy(update={"precision": self.precision}),
            mask=mask,
            importance=self.layer_importance,
            libraries=Libraries(
                torch=package_version("torch"),
                transformers=package_version("transformers"),
                peft=package_version("peft"),
            ),
        )

    def check(self) -> None:
        """See that the adapter's weights are there and that the mask is on some of them.

        Raises:
            TrainingError: a layer or a target that the model does not have, or nothing in common
                with the mask.
        """
        settings, n_layers = self.settings, self.checkpoint.n_layers
        beyond = [layer for layer in settings.layers or () if layer >= n_layers]
        if beyond:
            raise TrainingError(
                f"layer {beyond[0]} is asked for, but {self.checkpoint.folder} has layers 0 to "
                f"{n_layers - 1}"
            )
        found = [name for name in self.checkpoint.names if self.adapts(name)]
        targets = {name.split(".")[-2] for name in found}
        missing = [target for target in settings.targets if target not in targets]
        if missing:
            names = [
                name.split(".") for name in self.checkpoint.names if layer_of(name) is not None
            ]
            linear = sorted({parts[-2] for parts in names if parts[-2].endswith("proj")})
            raise TrainingError(
                f"no layer of {self.checkpoint.folder} that is to be adapted has a {missing[0]!r}; "
                f"there are {', '.join(linear)}"
            )
        if self.opened_subspace is not None:
            _check_overlap(found, self.opened_subspace)
            if all(self.strength(layer_of(name)) == 0 for name in found):
                raise TrainingError(
                    f"the importance of every layer that is to be adapted is 0 in "
                    f"{self.importance}, so scale_mask would protect nothing; use project, or "
                    "adapt other layers"
                )

    @property
    def n_values(self) -> int:
        """Values of the adapter's factors."""
        adapted = [self.checkpoint.stored(n) for n in self.checkpoint.names if self.adapts(n)]
        return self.settings.r * sum(tensor.n_rows + tensor.row_size for tensor in adapted)

    def adapts(self, name: str) -> bool:
        """Whether the adapter changes a weight, by canonical name."""
        layer, parts = layer_of(name), name.split(".")
        chosen = self.settings.layers
        return (
            layer is not None
            and (chosen is None or layer in chosen)
            and parts[-1] == "weight"
            and parts[-2] in self.settings.targets
        )


def _check_overlap(adapted: list[str], subspace: SubspaceFile) -> None:
    if any(name in subspace for name in adapted):
        return
    raise TrainingError(
        f"{subspace.path} protects none of the weights that the adapter changes: the adapter is "
        f"on {_span(adapted)}, the subspace on {_span(subspace.names)}; choose other layers or "
        "targets, or make another subspace"
    )


def _span(names: list[str]) -> str:
    """Layers and kinds of weights, for a message."""
    layers = sorted({layer for name in names if (layer := layer_of(name)) is not None})
    kinds = ", ".join(sorted({name.split(".")[-2] for name in names if "." in name}))
    where = f"layers {layers[0]} to {layers[-1]}" if layers else "no layer"
    return f"{kinds} in {where}"


def _tokenizer_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in TOKENIZER_FILES:
        if (folder / name).exists():
            digest.update(f"{name} {file_sha256(folder / name)}\n".encode())
    return digest.hexdigest()


def _data_sha256(path: Path) -> str:
    try:
        return cache.file_sha256(path)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from None
