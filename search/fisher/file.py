"""Fisher file: how much each weight matters to the instruct model, read by blocks of rows.

Reads this project's safetensors and public `fisher.pt` files, and turns values into gates in
[0, 1]; knows nothing of how they were estimated.
Source: diagonal Fisher E_x[(dL/dp)^2]; the file's layout is in docs/files.md.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from search.errors import IngredientError
from search.merging.dampen import minmax
from search.tensors.names import canonical, layer_of
from search.tensors.tensorfile import TensorFile, all_finite

if TYPE_CHECKING:
    import torch

METADATA_KEY = "weighin.fisher"
LOG_FLOOR = 1e-12
"""Smallest value, relative to the tensor's largest, that the log transform tells from 0."""

PICKLED = (".pt", ".pth", ".bin")
"""Suffixes of public mask files: a mapping of name to tensor, saved by torch."""

BLOCK_ELEMENTS = 1 << 22
Transform = Literal["minmax", "rank", "log"]
Header = TypeVar("Header", bound=BaseModel)
Gate = Callable[[int, int], "torch.Tensor"]
"""F in [0, 1] of the rows from start to stop, float32."""


class FisherHeader(BaseModel):
    """What a Fisher file says of itself, in its safetensors metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1

    weights_sha256: str
    """`Checkpoint.sha256` of the model it was made for."""

    loss: Literal["prompt", "response", "sampled"]
    """Tokens that the loss was taken on: the prompt's, a given response's, or the model's own."""

    prompt_ids: tuple[str, ...]
    """Prompts, in order."""

    prompts_sha256: str
    """Hash of the prompt set."""

    max_tokens: int
    """Longest prompt, in tokens; longer ones were cut."""

    n_tokens: int
    """Tokens that the loss was taken on, in all."""

    prompt_texts_sha256: tuple[str, ...] = ()
    """Hash of each prompt's text, so that it is known again under another id."""

    n_cut: int = 0
    """Prompts that were longer than `max_tokens` and lost their end."""

    n_dropped: int = 0
    """Prompts that were left out: too long, or without a token for the loss."""

    chat_template_sha256: str | None = None
    """Hash of the chat template; None where it is not known."""

    seed: int | None = None
    """Of drawn tokens; None unless the loss is on them."""

    precision: Literal["float32", "bf16"] | None = None
    """Arithmetic of the gradients; None where it is not known. The sums are float32."""

    extremes: dict[str, tuple[float, float]]
    """Smallest and largest value per tensor."""

    sums: dict[str, float]
    """Sum of the values per tensor."""


class FisherFile:
    """An open Fisher file; tensors go by canonical names."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            IngredientError: missing, broken, or neither safetensors nor a file of tensors.
        """
        self.path = path
        self.header: FisherHeader | None = None
        self._tensors: Mapping[str, Any]
        if path.suffix in PICKLED:
            self.file: TensorFile | None = None
            self._tensors = _load_tensors(path)
        else:
            self.file = TensorFile(path)
            self._tensors = self.file.tensors
            self.header = read_header(self.file, METADATA_KEY, FisherHeader)
        self._own = {canonical(name) or name: name for name in self._tensors}

    @property
    def names(self) -> list[str]:
        """Canonical names."""
        return list(self._own)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor's values."""
        return tuple(self._tensors[self._own[name]].shape)

    def __contains__(self, name: str) -> bool:
        return name in self._own

    def rows(self, name: str, start: int, stop: int) -> "torch.Tensor":
        """Values as stored, float32.

        Raises:
            IngredientError: a value that is not finite, or is negative.
        """
        import torch

        own = self._own[name]
        if self.file is not None:
            block = self.file.rows(own, start, stop)
        else:
            block = self._tensors[own][start:stop].to(torch.float32)
            if not all_finite(block):
                raise IngredientError(f"{self.path}: {name} holds NaN or infinity; make it anew")
        if block.numel() and float(block.min()) < 0:
            raise IngredientError(f"{self.path}: {name} holds negative values; make it anew")
        return block

    def gate(self, name: str, transform: Transform) -> Gate:
        """A tensor's values in [0, 1].

        Args:
            name: Canonical name.
            transform: minmax: by the tensor's extremes. rank: share of the tensor's elements that
                are smaller, ties taken at their middle, told apart at bfloat16's precision.
                log: minmax of the logarithm, from LOG_FLOOR of the largest.
        """
        low, high = self.extremes_of(name)
        if transform == "minmax":
            return lambda start, stop: minmax(self.rows(name, start, stop), low, high)
        if transform == "log":
            import math

            floor = max(low, LOG_FLOOR * high) if high > 0 else 1.0
            ends = (math.log(floor), math.log(high) if high > 0 else 0.0)
            return lambda start, stop: minmax(
                self.rows(name, start, stop).clamp_(min=floor).log_(), *ends
            )
        table = self._rank_table(name)
        return lambda start, stop: table[_bucket(self.rows(name, start, stop))]

    def sum_of(self, name: str) -> float:
        """Sum of a tensor's values."""
        if self.header is not None and name in self.header.sums:
            return self.header.sums[name]
        return sum(float(block.double().sum()) for block in self._blocks(name))

    def layer_importance(self) -> dict[int, float]:
        """Sums per layer, min-max normalised over the layers."""
        sums: dict[int, float] = {}
        for name in self._own:
            layer = layer_of(name)
            if layer is not None:
                sums[layer] = sums.get(layer, 0.0) + self.sum_of(name)
        return normalised(sums)

    def extremes_of(self, name: str) -> tuple[float, float]:
        """Smallest and largest value of a tensor."""
        if self.header is not None and name in self.header.extremes:
            return self.header.extremes[name]
        ends = [(float(block.min()), float(block.max())) for block in self._blocks(name)]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _rank_table(self, name: str) -> "torch.Tensor":
        import torch

        counts = torch.zeros(1 << 15, dtype=torch.int64)
        for block in self._blocks(name):
            counts += torch.bincount(_bucket(block).reshape(-1), minlength=1 << 15)
        below = counts.cumsum(0) - counts
        return ((below + (counts - 1).clamp(min=0) / 2) / max(1, int(counts.sum()) - 1)).float()

    def _blocks(self, name: str) -> "Iterator[torch.Tensor]":
        shape = self.shape(name)
        step = max(1, BLOCK_ELEMENTS // max(1, shape[-1]))
        for start in range(0, shape[0], step):
            yield self.rows(name, start, min(shape[0], start + step))


def read_layer_importance(path: Path, n_layers: int) -> dict[int, float]:
    """Importance per layer from layer_importance.json, min-max normalised over the layers.

    Args:
        path: A list with one number per layer, or an object of layer (number, `layer_3`,
            `model.layers.3`) to number, alone or under `layers` or `layer_importance`.
        n_layers: Layers of the model.

    Raises:
        IngredientError: not such a file, or for another number of layers.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IngredientError(f"cannot read {path}: {error}") from None
    for key in ("layers", "layer_importance"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    if isinstance(value, list):
        value = dict(enumerate(value))
    found: dict[int, float] = {}
    for key, number in value.items() if isinstance(value, dict) else ():
        digits = str(key).rstrip(".").replace("_", ".").split(".")[-1]
        if not digits.isdecimal() or not isinstance(number, int | float) or number != number:
            raise IngredientError(f"{path}: {key!r}: {number!r} is no layer with its importance")
        found[int(digits)] = float(number)
    if sorted(found) != list(range(n_layers)):
        raise IngredientError(
            f"{path} has {len(found)} layers, the model {n_layers}; make it for this model"
        )
    return normalised(found)


def normalised(values: Mapping[int, float]) -> dict[int, float]:
    """Values moved to [0, 1] by their extremes; all 0 where they are equal."""
    if not values:
        return {}
    low, high = min(values.values()), max(values.values())
    return {
        key: (value - low) / (high - low) if high > low else 0.0 for key, value in values.items()
    }


def read_header(file: TensorFile, key: str, kind: type[Header]) -> Header | None:
    """The record in a safetensors file's metadata; None where the file has none.

    Raises:
        IngredientError: a record of another shape.
    """
    text = file.metadata.get(key)
    if text is None:
        return None
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise IngredientError(f"{file.path}: metadata {key}: {where}: {first['msg']}") from None


def _bucket(block: "torch.Tensor") -> "torch.Tensor":
    """Index of each value's bfloat16, which sorts as the values do; they are never negative."""
    import torch

    return block.to(torch.bfloat16).view(torch.int16).to(torch.int64)


def _load_tensors(path: Path) -> dict[str, Any]:
    import pickle

    import torch

    try:
        value = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()
        raise IngredientError(
            f"{path} is not a plain file of tensors ({reason[0] if reason else 'unreadable'}); "
            "save it as name -> tensor"
        ) from None
    if not isinstance(value, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in value.values()
    ):
        raise IngredientError(f"{path} is not a mapping of name to tensor")
    return value
