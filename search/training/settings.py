"""Training settings: how an adapter is trained, as a recipe or the command line says it.

Values and their defaults; opens nothing. The defaults are the recipe's (r 16, alpha 32,
attention and MLP, learning rate 7e-6, one epoch, 6144 tokens); the rest are transformers' own.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from search.places import Source

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
SAVE_EVERY = 50
"""Optimiser steps between checkpoints, where nobody says."""


class TrainingSettings(BaseModel):
    """How one adapter is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: Annotated[int, Field(ge=1)] = 16
    """Rank of the factors."""

    alpha: Annotated[float, Field(gt=0)] = 32.0
    """LoRA's alpha: the delta is alpha / r times the product of the factors."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the factors' inputs that is dropped while training."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ATTENTION + MLP
    """Linear layers by the last part of their names."""

    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Numbers of the layers to adapt; None means all."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 7e-6
    """Peak learning rate of AdamW."""

    scheduler: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"
    ] = "linear"
    """Course of the learning rate, by transformers' names."""

    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the steps in which the learning rate rises from 0."""

    layer_lr: Annotated[float, Field(ge=0, le=1)] = 0.0
    """k: layer l learns at (1 - k * importance of l) times the learning rate."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's decoupled weight decay."""

    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients are scaled down to this norm; 0 leaves them."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the data."""

    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps in all, over `epochs`; None means as many as the epochs have."""

    batch_size: Annotated[int, Field(ge=1)] = 1
    """Rows computed at once."""

    gradient_accumulation: Annotated[int, Field(ge=1)] = 8
    """Batches per optimiser step."""

    max_tokens: Annotated[int, Field(ge=2)] = 6144
    """Longest row, in tokens."""

    too_long: Literal["cut", "drop"] = "cut"
    """What becomes of a longer row."""

    learn_end: bool = True
    """Whether the end of an answer, or of a text, is learnt; not for passages that were cut."""

    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic; auto is bf16 on a GPU and float32 on a CPU. The factors are always float32."""

    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""

    save_dtype: Literal["float32", "bf16"] = "float32"
    """Type of the saved factors; rounding to bf16 undoes a projection beyond the third digit."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Of the factors' initial values, the order of the rows and dropout."""

    @field_validator("targets", "layers", mode="before")
    @classmethod
    def _one_alone(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | int) else value


class Training(TrainingSettings):
    """`heal.train` of a recipe: an adapter that is trained when it is needed."""

    data: Annotated[tuple[Source, ...], Field(min_length=1)]
    """Files to learn: JSON Lines of `messages` or `text`, or plain text (.txt)."""

    folder: Annotated[Source, Field(validate_default=True)] = "trained"
    """Where adapters are kept once trained, each in a folder named by its key."""

    @field_validator("data", mode="before")
    @classmethod
    def _one_file(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def settings(self) -> TrainingSettings:
        """What says how, without the places."""
        return TrainingSettings.model_validate(self.model_dump(exclude={"data", "folder"}))
