"""Objective and constraints: what a study wants, read from a comparison with the baseline.

Text such as `h_delta` and `ifeval.prompt_level_strict_acc >= baseline - 0.01` in, numbers for
Optuna out. Knows nothing of models, builds or Optuna itself.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from harness.comparison.records import H_DELTA, Comparison, Difference
from search.errors import RecipeError
from search.recipe import Recipe

DEFAULT_CONSTRAINT = "ifeval.prompt_level_strict_acc >= baseline - 0.01"
"""What a search keeps to where its recipe does not say."""

ROUNDING_DIGITS = 9
"""Decimals to which a violation is told: less is rounding."""

CONSTRAINT = re.compile(
    r"^\s*(?P<metric>[A-Za-z0-9_.-]+)\s*(?P<side>>=|<=)\s*"
    r"(?:(?P<baseline>baseline)\s*(?:(?P<sign>[+-])\s*(?P<margin>[0-9.]+))?|(?P<bound>[+-]?[0-9.]+))\s*$"
)


@dataclass(frozen=True)
class Objective:
    """One figure to be made as large, or as small, as possible."""

    metric: str
    """`task.metric`, `task.h_delta`, or `h_delta` where one task is prose."""
    direction: Literal["maximize", "minimize"] = "maximize"

    @property
    def relative(self) -> bool:
        """Whether it is a difference to the baseline, not the candidate's own figure."""
        return self.metric.endswith(H_DELTA)

    def value(self, comparison: Comparison) -> float:
        """The figure: the candidate's own value, or for `h_delta` the difference.

        Raises:
            RecipeError: The comparison has no such figure.
        """
        row = find(comparison, self.metric)
        estimate = row.difference if self.relative else row.candidate
        if estimate.value is None:
            raise RecipeError(f"objective {self.metric}: undefined for these texts")
        return estimate.value


@dataclass(frozen=True)
class Constraint:
    """A bound that a candidate must keep to."""

    text: str
    """As the recipe says it."""
    metric: str
    side: Literal[">=", "<="]
    bound: float
    """Of the value, or of the difference to the baseline."""
    relative: bool
    """Whether the bound is on the difference to the baseline."""

    def violation(self, comparison: Comparison) -> float:
        """How far the candidate is beyond the bound; 0 or less keeps it, as in Optuna.

        Raises:
            RecipeError: The comparison has no such figure.
        """
        row = find(comparison, self.metric)
        estimate = row.difference if self.relative else row.candidate
        return self.beyond(estimate.value)

    def beyond(self, value: float | None) -> float:
        """How far a value, or a difference to the baseline, is beyond the bound.

        Raises:
            RecipeError: It is undefined.
        """
        if value is None:
            raise RecipeError(f"constraint {self.text}: undefined for these texts")
        # 39 of 100 instead of 40 is 0.01 less, whatever binary fractions make of it
        beyond = round(self.bound - value, ROUNDING_DIGITS)
        return beyond if self.side == ">=" else -beyond


def parse_objectives(maximize: str | Sequence[str]) -> tuple[Objective, ...]:
    """Read a recipe's `maximize`; a leading minus turns a metric into one to be made small."""
    names = [maximize] if isinstance(maximize, str) else list(maximize)
    return tuple(
        Objective(name[1:].strip(), "minimize") if name.startswith("-") else Objective(name)
        for name in names
    )


def parse_constraint(text: str) -> Constraint:
    """Read one line of a recipe's `subject_to`.

    Raises:
        RecipeError: It is not of the form METRIC >= baseline - NUMBER, or METRIC >= NUMBER.
    """
    match = CONSTRAINT.match(text)
    try:
        if match is None:
            raise ValueError
        relative = match["baseline"] is not None
        number = float(match["margin"] or 0) if relative else float(match["bound"])
    except ValueError:
        raise RecipeError(
            f"subject_to {text!r}: expected METRIC >= baseline - NUMBER or METRIC >= NUMBER, "
            "with >= or <="
        ) from None
    if relative and match["sign"] == "-":
        number = -number
    side: Literal[">=", "<="] = ">=" if match["side"] == ">=" else "<="
    return Constraint(
        text=text.strip(), metric=match["metric"], side=side, bound=number, relative=relative
    )


def constraints_of(recipe: Recipe) -> tuple[Constraint, ...]:
    """A recipe's limits; where it says nothing and evaluates `ifeval`, DEFAULT_CONSTRAINT.

    Raises:
        RecipeError: One of them cannot be read.
    """
    limits = recipe.search.subject_to
    if limits is None:
        limits = (DEFAULT_CONSTRAINT,) if "ifeval" in recipe.evaluate.tasks else ()
    return tuple(parse_constraint(text) for text in limits)


def nondominated(points: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> list[int]:
    """The Pareto front: which points no other beats in one objective without losing in another.

    Args:
        points: One value per objective each.
        objectives: For their directions.

    Returns:
        Positions of the front's points, in order; equal points all count.
    """
    signs = [1 if objective.direction == "maximize" else -1 for objective in objectives]
    signed = [[s * value for s, value in zip(signs, point, strict=True)] for point in points]
    return [
        index
        for index, own in enumerate(signed)
        if not any(
            other != own and all(o >= mine for o, mine in zip(other, own, strict=True))
            for other in signed
        )
    ]


def match_metric(metric: str, names: Iterable[str]) -> str | None:
    """The full name that is meant: itself, or the only one that it is without its task."""
    known = list(names)
    if metric in known:
        return metric
    short = [name for name in known if name.split(".", 1)[-1] == metric]
    return short[0] if len(short) == 1 else None


def find(comparison: Comparison, metric: str) -> Difference:
    """The comparison's row of a metric; `h_delta` alone is that of the only prose task.

    Raises:
        RecipeError: There is none, or several; the nearest name is given.
    """
    rows = comparison.by_metric()
    name = match_metric(metric, rows)
    if name is not None:
        return rows[name]
    short = [name for name in rows if name.split(".", 1)[-1] == metric]
    near = short or get_close_matches(metric, rows, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(rows)}"
    raise RecipeError(f"no metric {metric!r} in what is evaluated; {hint}")
