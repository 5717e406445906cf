"""Bars: what a trial must clear to be worth finishing, and whether it still can.

A figure's bound, whole runs and the answers seen so far in; a verdict and an estimate out. What the
whole runs scored on an answer is what is expected of the trial there, and only the rest is left to
chance. Knows the sequential test by its verdict, and nothing of constraints, leaders or trials.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.comparison.figures import Figure
from harness.runs import Score
from harness.waves import look_counts
from metrics.sequential import (
    Refutation,
    adjusted,
    answers_to_refute,
    left_to_chance,
    refuted,
    reliability,
)
from search.trials.reference import Key, Reference

Array = NDArray[np.float64]


class Bar:
    """One bar: a figure of all of a trial's answers is at least, or at most, a bound."""

    def __init__(
        self,
        task: str,
        figure: Figure,
        bound: float,
        side: int,
        references: Sequence[Reference],
        looks: Sequence[float],
    ) -> None:
        """A bar, and what is to be expected of each answer if the runs so far are any guide.

        Args:
            task: Whose answers the figure is made of.
            figure: How.
            bound: In the figure's unit.
            side: 1 where the bound is the least, -1 where it is the most.
            references: Whole runs, the baseline first.
            looks: Shares of the answers at which the trial is judged.
        """
        self.task, self.figure, self.bound, self.side = task, figure, bound, side
        self.keys = references[0].keys(task)
        self.looks = look_counts(len(self.keys), looks)
        rows = np.array(
            [[self.surplus(ref.by_key[key]) for key in self.keys] for ref in references],
            dtype=np.float64,
        )
        self.slope = reliability(rows, prior=figure.alike)
        variance = float(rows.var(axis=1).mean())
        self.spread = variance * left_to_chance(self.slope, len(rows))
        expected = rows.mean(axis=0)
        self.mean_expected = float(expected.mean())
        self.expected = dict(zip(self.keys, expected.tolist(), strict=True))
        self.most = {key: self._most(references[0].by_key[key]) for key in self.keys}

    def surplus(self, score: Score) -> float:
        """What an answer has beyond the bar; it is cleared by a mean of 0 or more over all."""
        beyond = self.figure.top(score) - self.bound * self.figure.bottom(score)
        return self.side * beyond

    def missed(self, seen: Mapping[Key, Score], error_rate: float) -> Refutation | None:
        """How sure it is that the bar is not cleared; None while it may be.

        Args:
            seen: The answers so far, in the run's order.
            error_rate: Largest chance that a trial which clears it is taken for one that does not.
        """
        own = self._own(seen)
        surplus = self._surplus(seen, own)
        return refuted(
            self._adjusted(surplus, own),
            len(self.keys),
            looks=self.looks,
            error_rate=error_rate,
            spread=self.spread,
            best_rest=self._best_rest(seen),
            certain_of=surplus,
        )

    def wanting(self, seen: Mapping[Key, Score], error_rate: float) -> float:
        """How many more answers it takes until the bar is missed, if they are like those so far.

        0 where it is missed already, infinite where nothing says that it will be.
        """
        if self.missed(seen, error_rate) is not None:
            return 0.0
        own = self._own(seen)
        return answers_to_refute(
            self._adjusted(self._surplus(seen, own), own),
            len(self.keys),
            looks=self.looks,
            error_rate=error_rate,
            spread=self.spread,
        )

    def estimate(self, seen: Mapping[Key, Score]) -> float:
        """The figure over all answers, estimated; the bound itself where nothing tells."""
        own = self._own(seen)
        bottom = sum(self.figure.bottom(seen[key]) for key in own)
        if not bottom:
            return self.bound
        surplus = self._surplus(seen, own)
        share = len(own) / len(self.keys)
        total = float(self._adjusted(surplus, own).sum()) / share
        # no better than the best that is still possible
        total = min(total, float(surplus.sum()) + self._best_rest(seen))
        return self.bound + self.side * total * share / bottom

    def _best_rest(self, seen: Mapping[Key, Score]) -> float:
        return sum(most for key, most in self.most.items() if key not in seen)

    def _own(self, seen: Mapping[Key, Score]) -> list[Key]:
        return [key for key in seen if key[0] == self.task]

    def _surplus(self, seen: Mapping[Key, Score], own: Sequence[Key]) -> Array:
        return np.array([self.surplus(seen[key]) for key in own], dtype=np.float64)

    def _adjusted(self, surplus: Array, own: Sequence[Key]) -> Array:
        expected = np.array([self.expected[key] for key in own], dtype=np.float64)
        return adjusted(surplus, expected, self.slope, self.mean_expected)

    def _most(self, score: Score) -> float:
        """The most that an answer to the same prompt can add."""
        if self.side < 0:
            # nothing is below 0; an answer of unknown length could have any part below
            return self.bound * self.figure.bottom(score) if self.figure.fixed else float("inf")
        if not self.figure.fixed:
            return float("inf")
        return (self.figure.highest - self.bound) * self.figure.bottom(score)
