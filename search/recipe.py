"""Recipe: what a YAML file says of a merge's ingredients and its searchable numbers.

Values in, one frozen record out, paths resolved against the file's folder; opens no ingredient and
knows nothing of files or tensors. The shape is this project's own; its terms follow mergekit's
merge files, https://github.com/arcee-ai/mergekit.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from search.places import Source
from search.recipe_evaluate import Evaluate
from search.recipe_ingredients import AdapterEntry, Baseline, Fisher, Heal, Mask

S_MAX = 2.0
"""Largest scale: beyond twice the adapters' own strength nothing sensible has been seen."""

Number = float | int | str
"""A chosen value: a number, or the name of a transform."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Merge(_Record):
    """The numbers of one build, and how adapters are combined."""

    method: Literal["average", "ties", "dare_ties"] = "average"
    """How the adapters' deltas become one."""

    s: Annotated[float, Field(ge=0, le=S_MAX)] = 1.0
    """Scale of the adapters' delta, 0 to 2."""

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Slerp position, 0 (the dampened merge) to 1 (the heal endpoint)."""

    rank: Annotated[int, Field(ge=0)] | None = None
    """Directions of the subspace that masks use; None means all stored."""

    density: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of each delta that ties and dare_ties keep."""

    seed: int = 0
    """Seed of dare_ties."""


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v if isinstance(v, list | tuple) else [v] for k, v in value.items()}
    return value


Condition = Annotated[dict[str, tuple[Number, ...]], BeforeValidator(_lists)]
"""Values that other numbers of the space must have: `{rank: [64, 128]}`, or one value alone."""


class Range(_Record):
    """An interval to search."""

    low: float
    high: float
    step: Annotated[float, Field(gt=0)] | None = None
    """None takes any number, to three decimals."""

    log: bool = False
    """Whether small numbers are tried as often as large ones; to three significant digits."""

    when: Condition = Field(default_factory=dict)
    """Search it only then; otherwise the recipe's own number holds."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0, and no step")
        return self


class Choices(_Record):
    """A list to choose from."""

    choices: Annotated[tuple[Number, ...], Field(min_length=1)]

    when: Condition = Field(default_factory=dict)
    """Search it only then; otherwise the recipe's own number holds."""


def _interval(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) != 2:
            raise ValueError("expected [low, high]")
        return {"low": value[0], "high": value[1]}
    return value


def _kind(value: Any) -> str:
    """Which of the two a value is meant as, so that an error is about that one alone."""
    given = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return KIND_TAGS[1] if "choices" in given else KIND_TAGS[0]


KIND_TAGS = ("<range>", "<choices>")
Dimension = Annotated[
    Annotated[Range, Tag(KIND_TAGS[0])] | Annotated[Choices, Tag(KIND_TAGS[1])],
    Discriminator(_kind),
    BeforeValidator(_interval),
]


class Screen(_Record):
    """A cheap look at a build before it generates anything."""

    kld: Annotated[float, Field(gt=0)]
    """Largest mean divergence from the baseline on the baseline's own completions, in nats."""

    limit: Annotated[int, Field(ge=1)] | None = 32
    """Completions to read, spread over the baseline's run; None means all."""


class Search(_Record):
    """The study around the merge."""

    space: dict[str, Dimension] = Field(default_factory=dict)
    """What each searched number may be."""

    trials: Annotated[int, Field(ge=1)] = 20
    """Trials in all."""

    maximize: str | tuple[str, ...] = "h_delta"
    """Metric, or metrics, to maximise."""

    subject_to: tuple[str, ...] | None = None
    """Limits such as `ifeval.prompt_level_strict_acc >= baseline - 0.01`, which is what None means
    where `ifeval` is evaluated."""

    error_rate: Annotated[float, Field(ge=0, lt=0.5)] = 0.2
    """Largest chance that a trial is stopped early that would have kept every limit and reached the
    leader, each by nothing at all; one that is better by more is stopped more rarely. 0 stops only
    where that is certain."""

    screen: Screen | None = None
    """Whether builds far from the baseline are turned away before they generate."""

    sampler: Literal["tpe", "gp", "cmaes", "nsga2", "random", "grid"] = "tpe"
    """Optuna sampler."""

    seed: int = 0
    """Seed of the sampler."""

    keep: Literal["best", "all"] | Annotated[int, Field(ge=1)] = "best"
    """Builds to keep on disk."""

    runners_up: Annotated[int, Field(ge=0)] = 3
    """Most builds beside the leader to run on the prompts that were held back."""


class Recipe(_Record):
    """A merge and the search around it, every path absolute."""

    it: Source
    """Instruct model: hub id or folder."""

    pt: Source | None = None
    """Pre-trained model that IT came from."""

    baseline: Baseline
    """IT's own GGUF."""

    adapters: Annotated[tuple[AdapterEntry, ...], Field(min_length=1)]
    """Adapters to combine in delta space."""

    fisher: Fisher | None = None
    """Importance, if the merge is dampened."""

    subspace: Source | None = None
    """Instruct subspace, if a mask is used."""

    heal: Heal | None = None
    """The slerp's other end, if there is one."""

    merge: Merge = Merge()
    """Method, and the numbers that are not searched."""

    search: Search = Search()
    """The study."""

    evaluate: Evaluate = Evaluate()
    """The evaluation of each build."""

    @field_validator("baseline", "fisher", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("adapters", mode="before")
    @classmethod
    def _paths_alone(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [{"path": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.heal is not None and self.heal.onto == "pt" and self.pt is None:
            raise ValueError("heal is onto pt, but pt is not given; name it, or say `onto: it`")
        if self.masks and self.subspace is None:
            raise ValueError("a mask with apply: merge needs `subspace`; name its file")
        if self.heal is not None and self.heal.trains_under_mask:
            if self.subspace is None:
                raise ValueError("heal is trained under a mask, which needs `subspace`; name it")
            assert self.heal.mask is not None
            if self.heal.mask.mode == "scale_mask" and self.fisher is None:
                raise ValueError("heal.mask scales by the layers' importance; give `fisher`")
        entries = (*self.adapters, *((self.heal,) if self.heal is not None else ()))
        if self.subspace is not None and all(entry.mask is None for entry in entries):
            raise ValueError(
                "subspace is given, but no mask uses it; add `mask: {mode: project}` to heal or "
                "to an adapter"
            )
        self._check_conditions()
        names = [adapter.name for adapter in self.adapters]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice and any(key.startswith("weight.") for key in self.search.space):
            raise ValueError(f"two adapters are called {twice[0]!r}; rename a folder")
        return self

    def _check_conditions(self) -> None:
        """What a number depends on must be a choice that is made before it."""
        made: dict[str, Range | Choices] = {}
        for name, dimension in self.search.space.items():
            for other, values in dimension.when.items():
                chosen = made.get(other)
                if not isinstance(chosen, Choices):
                    raise ValueError(
                        f"search.space.{name}: when {other}: expected choices that stand before it"
                    )
                unknown = [value for value in values if value not in chosen.choices]
                if unknown:
                    raise ValueError(f"search.space.{name}: {other} is never {unknown[0]}")
            made[name] = dimension

    @property
    def masks(self) -> tuple[Mask, ...]:
        """Masks that act when merging."""
        entries = [adapter.mask for adapter in self.adapters]
        entries.append(self.heal.mask if self.heal is not None else None)
        return tuple(mask for mask in entries if mask is not None and mask.apply == "merge")
