"""Objective and constraints: what a study wants, read from a comparison with the baseline.

Text such as `h_delta` and `ifeval.prompt_level_strict_acc >= baseline - 0.01` in, numbers for
Optuna out. Knows nothing of models, builds or Optuna itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from harness.compare import H_DELTA, Comparison, Difference
from search.errors import RecipeError

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

    def value(self, comparison: Comparison) -> float:
        """The figure: the candidate's own value, or for `h_delta` the difference.

        Raises:
            RecipeError: The comparison has no such figure.
        """
        row = find(comparison, self.metric)
        estimate = row.difference if self.metric.endswith(H_DELTA) else row.candidate
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
        if estimate.value is None:
            raise RecipeError(f"constraint {self.text}: undefined for these texts")
        beyond = self.bound - estimate.value
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


def find(comparison: Comparison, metric: str) -> Difference:
    """The comparison's row of a metric; `h_delta` alone is that of the only prose task.

    Raises:
        RecipeError: There is none, or several; the nearest name is given.
    """
    rows = comparison.by_metric()
    if metric in rows:
        return rows[metric]
    short = [name for name in rows if name.split(".", 1)[-1] == metric]
    if len(short) == 1:
        return rows[short[0]]
    near = short or get_close_matches(metric, rows, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(rows)}"
    raise RecipeError(f"no metric {metric!r} in what is evaluated; {hint}")
