"""Spending: what a study has cost in tokens and time, and what it has yet to cost.

Rows in, two sums out; knows nothing of storages. What is left is an estimate: the mean of the
trials that were weighed, stopped ones included, for each trial that has not ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.board.shelf import Shelf
from search.study.study import Study, TrialRow
from search.trials.bench import BASELINE
from search.trials.claims import claimable

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


@dataclass(frozen=True)
class Cost:
    """Tokens and time."""

    n_tokens: float = 0.0
    """Generated."""
    seconds: float = 0.0
    """Spent building and generating, summed over the machines."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.n_tokens + other.n_tokens, self.seconds + other.seconds)

    def __mul__(self, n: float) -> "Cost":
        return Cost(self.n_tokens * n, self.seconds * n)

    def less(self, other: "Cost") -> "Cost":
        """What remains of it; nothing is below zero."""
        return Cost(
            max(0.0, self.n_tokens - other.n_tokens), max(0.0, self.seconds - other.seconds)
        )


@dataclass(frozen=True)
class Spending:
    """What was spent and what is left."""

    spent: Cost
    left: Cost | None
    """None before any trial has shown what one costs."""
    n_left: int
    """Trials of the budget that have not ended."""
    n_running: int
    n_weighed: int
    """Trials that the estimate is the mean of."""

    def to_json(self) -> dict[str, Any]:
        """As `weighin study --json` has it."""
        left = None if self.left is None else _cost_json(self.left)
        return {
            "spent": _cost_json(self.spent),
            "left": left,
            "n_trials_left": self.n_left,
            "n_running": self.n_running,
            "n_weighed": self.n_weighed,
        }

    def lines(self) -> tuple[str, str]:
        """What was spent, and what is left, each in a line."""
        return f"spent: {_cost_text(self.spent)}", f"left: {self._left_text()}"

    def _left_text(self) -> str:
        trials = f"{self.n_left} trial{'s' if self.n_left != 1 else ''}"
        if not self.n_left:
            return "nothing, every trial has ended"
        if self.left is None:
            return f"{trials}; what one costs is known when one has ended"
        shared = ""
        if self.n_running > 1:
            shared = f", {duration(self.left.seconds / self.n_running)} by {self.n_running} at once"
        return (
            f"about {_cost_text(self.left)}{shared}; {trials}, by the mean of "
            f"{self.n_weighed} weighed"
        )


def spending_of(study: Study, shelf: Shelf) -> Spending:
    """A study's spending as it stands in its storage and, for trials in hand, in its folder."""
    rows = study.rows()
    unended = {row.build for row in rows if row.build is not None and not _is_weighed(row)}
    begun = {build: shelf.begun(build) for build in unended}
    beside = [shelf.begun_baseline(), shelf.confirming()]
    return reckon(
        rows,
        n_claimable=claimable(study, study.trials()),
        beside=sum((Cost(usage.n_tokens, usage.seconds) for usage in beside), Cost()),
        begun={build: Cost(usage.n_tokens, usage.seconds) for build, usage in begun.items()},
    )


def reckon(
    rows: Sequence[TrialRow], *, n_claimable: int, beside: Cost, begun: Mapping[str, Cost]
) -> Spending:
    """The arithmetic.

    Args:
        rows: Every trial that was begun.
        n_claimable: Trials in all, those that repeat another's build included.
        beside: What the baseline's run cost, and those that confirm.
        begun: What the runs of builds cost whose trials run or failed, as far as it is known.
    """
    weighed = [row for row in rows if _is_weighed(row)]
    of_weighed = sum((Cost(row.n_tokens, row.seconds) for row in weighed), Cost())
    builds = {row.build for row in weighed}
    in_hand = sum((cost for build, cost in begun.items() if build not in builds), Cost())
    running = [row for row in rows if row.state == "running"]
    n_left = max(0, n_claimable - (len(rows) - len(running)))
    # the baseline's own point cost nothing, and comes but once
    like_others = [row for row in weighed if row.run != BASELINE]
    left: Cost | None = Cost()
    if n_left and not like_others:
        left = None
    elif n_left:
        mean = of_weighed * (1 / len(like_others))
        left = mean * max(0, n_left - len(running))
        for row in running:
            left += mean.less(begun.get(row.build or "", Cost()))
    return Spending(
        spent=beside + of_weighed + in_hand,
        left=left,
        n_left=n_left,
        n_running=len(running),
        n_weighed=len(like_others),
    )


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    minutes = round(seconds / MINUTE_S)
    if minutes < HOUR_S // MINUTE_S:
        return f"{minutes} min"
    if minutes * MINUTE_S < DAY_S:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / HOUR_S)
    return f"{hours // 24} d {hours % 24} h"


def _is_weighed(row: TrialRow) -> bool:
    return row.state in ("complete", "pruned")


def _cost_json(cost: Cost) -> dict[str, float]:
    return {"n_tokens": round(cost.n_tokens), "seconds": round(cost.seconds, 1)}


def _cost_text(cost: Cost) -> str:
    return f"{round(cost.n_tokens):,} tokens, {duration(cost.seconds)}"
