"""What a recipe asks of every build: its tasks, and how their prompts are answered.

A section of `search.recipe.Recipe`, frozen; reads no prompts and knows nothing of models.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from harness.settings import MOST_PARALLEL
from search.places import resolve


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Task(_Record):
    """One prompt set and how it is answered."""

    prompts: str | None = None
    """Built-in set by name, or a JSONL file; None takes the task's default."""

    limit: Annotated[int, Field(ge=1)] | None = None
    """Prompts to use, of each half where some are held back; None means all."""

    samples: Annotated[int, Field(ge=1)] = 1
    """Answers per prompt."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """New tokens per answer; None takes the task's default."""

    @field_validator("prompts", mode="before")
    @classmethod
    def _near_file(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str) and ("/" in value or value.endswith(".jsonl")):
            return resolve(value, info)
        return value


class Evaluate(_Record):
    """What every build is asked."""

    tasks: Annotated[dict[str, Task], Field(min_length=1)] = Field(
        default_factory=lambda: {"ifeval": Task(), "prose": Task()}
    )
    """Tasks by name: `ifeval`, `mini`, `prose`, or the name under which figures of the file that
    `prompts` names are shown."""

    parallel: Annotated[int, Field(ge=1, le=MOST_PARALLEL)] | None = None
    """Sequences in one batch; None lets the engine choose."""

    thinking: bool = False
    """Whether the chat template is asked for a thought first."""

    seed: int = 0
    """Seed of sampled answers, of limits, of halves and of the order of prompts."""

    confirm: bool = True
    """Whether half of each prompt set is held back from the search, to confirm its choice on."""
