"""The ingredients that a recipe names: the baseline, adapters, the Fisher, the heal, their masks.

Sections of `search.recipe.Recipe`, frozen, every path absolute; opens no ingredient and knows
nothing of tensors.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.places import Source
from search.training.settings import Training


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Baseline(_Record):
    """The build to beat, and the template of every build."""

    path: Source
    """GGUF; made on first use where absent."""

    type: str = "Q6_K"
    """llama.cpp quantisation to make it with."""

    imatrix: Source | None = None
    """Importance matrix (GGUF) that it was, or is to be, quantised with."""


class Mask(_Record):
    """What a delta may not touch: the instruct subspace."""

    mode: Literal["project", "scale_mask"] = "project"
    """project removes the subspace, scale_mask as much of it as the layer is important."""

    apply: Literal["merge", "train"] = "merge"
    """merge masks the finished delta; train says that the adapter is trained under the mask."""

    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Factor on the mask's strength, a fraction."""


class AdapterEntry(_Record):
    """One adapter of the average."""

    path: Source
    """PEFT LoRA folder, or hub id."""

    weight: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Weight in the sum; None means 1 / number of adapters."""

    mask: Mask | None = None
    """Mask on this adapter's delta alone."""

    @property
    def name(self) -> str:
        """Last part of the path: how numbers call the adapter (`weight.NAME`)."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]


class Fisher(_Record):
    """Importance that dampens the deltas."""

    path: Source
    """Fisher file."""

    transform: Literal["minmax", "rank", "log"] = "minmax"
    """How a tensor's values become 0 to 1; minmax is the recipe's."""

    layers: Source | None = None
    """layer_importance.json; None takes the sums in the Fisher file."""

    allow_overlap: bool = False
    """Whether builds may be judged on prompts that the Fisher was made of."""


class Heal(_Record):
    """The endpoint of the slerp: an adapter that is there, or one that is trained for it."""

    adapter: Source | None = None
    """PEFT LoRA folder of the healed model, or hub id."""

    train: Training | None = None
    """How to train the adapter where none is given; under the mask, once per rank, where the
    mask's `apply` is train."""

    onto: Literal["it", "pt"] = "it"
    """The model that the heal adapter is merged onto."""

    mask: Mask | None = None
    """Mask on the heal adapter's delta."""

    @model_validator(mode="after")
    def _one_adapter(self) -> Self:
        if (self.adapter is None) == (self.train is None):
            raise ValueError("give `adapter`, or `train` to have one made")
        return self

    @property
    def trains_under_mask(self) -> bool:
        """Whether the adapter depends on the mask's rank and strength."""
        return self.train is not None and self.mask is not None and self.mask.apply == "train"
