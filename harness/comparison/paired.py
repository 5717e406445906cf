"""Paired samples: what one metric of two runs is made of, prompt by prompt, and what follows.

Sums per prompt in, a difference with its interval and test out. Knows which test belongs to which
kind of figure; the formulas are in `metrics.stats`, `metrics.rates` and
`metrics.mcnemar`.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.comparison.records import Difference
from metrics import mcnemar, rates, stats
from metrics.stats import CONFIDENCE, Estimate

Kind = Literal["passes", "rate", "mean"]
"""Passes: so many of so many. Rate: a sum over a sum. Mean: of what each prompt shows."""


class Column(NamedTuple):
    """One run's side: one number a prompt above and below the line."""

    tops: tuple[float, ...]
    bottoms: tuple[float, ...]
    """0 where the prompt has nothing to show."""
    n: int
    """What the run's own figure is said to be made of: answers, texts or instructions."""


@dataclass(frozen=True)
class PairedSample:
    """Both runs' sides of one metric, over the same prompts in the same order."""

    metric: str
    kind: Kind
    prompts: tuple[str, ...]
    """Ids, in the order of the columns."""
    baseline: Column
    candidate: Column
    scale: float = 1.0

    def value(self, column: Column, *, confidence: float = CONFIDENCE) -> Estimate:
        """One side's own figure."""
        rng = stats.default_rng()
        tops, bottoms, n = column
        single = max(bottoms, default=0.0) <= 1
        if self.kind == "passes" and single:
            return stats.wilson(round(sum(tops)), round(sum(bottoms)), confidence=confidence)
        if self.kind == "mean" and single:
            shown = [top for top, bottom in zip(tops, bottoms, strict=True) if bottom > 0]
            return stats.bootstrap_mean(shown, rng=rng, confidence=confidence)
        found = stats.bootstrap_ratio(
            tops, bottoms, rng=rng, scale=self.scale, confidence=confidence
        )
        count = round(sum(tops)) if self.kind == "passes" else None
        return found.model_copy(update={"n": n, "count": count})

    def change(self, *, confidence: float = CONFIDENCE) -> Estimate:
        """Candidate minus baseline, with its interval over prompts."""
        rng = stats.default_rng()
        if self.kind == "rate":
            return stats.paired_ratio_bootstrap(
                self.baseline[:2],
                self.candidate[:2],
                rng=rng,
                scale=self.scale,
                confidence=confidence,
            )
        return stats.bootstrap_mean(self.moved(), rng=rng, confidence=confidence)

    def moved(self) -> list[float]:
        """Candidate minus baseline on each prompt where both have something to show."""
        return stats.paired_differences(*self.by_prompt())

    def by_prompt(self) -> tuple[list[float | None], list[float | None]]:
        """What each prompt shows on both sides; None where it has nothing to show."""
        before, after = (
            [
                self.scale * top / bottom if bottom > 0 else None
                for top, bottom in zip(column.tops, column.bottoms, strict=True)
            ]
            for column in (self.baseline, self.candidate)
        )
        return before, after

    def p_value(self) -> float | None:
        """Two-sided p of no difference."""
        if self.kind == "rate":
            return rates.swap_test(self.baseline[:2], self.candidate[:2], rng=stats.default_rng())
        moved = self.moved()
        if self._one_answer_each():
            return mcnemar.mcnemar_exact(moved.count(-1.0), moved.count(1.0)) if moved else None
        return stats.sign_flip_test(moved, rng=stats.default_rng())

    def smallest(self) -> float | None:
        """The smallest difference that these prompts could have shown."""
        if self.kind == "rate":
            return rates.smallest_rate_difference(
                self.baseline[:2], self.candidate[:2], scale=self.scale
            )
        moved = self.moved()
        if self._one_answer_each():
            n_discordant = len(moved) - moved.count(0.0)
            return mcnemar.smallest_pass_difference(n_discordant, len(moved))
        return stats.smallest_difference(moved)

    def compare(self, known: tuple[Estimate, Estimate] | None = None) -> Difference:
        """All of it as a record.

        Args:
            known: Both runs' own figures, where they are known already.
        """
        before, after = known or (self.value(self.baseline), self.value(self.candidate))
        return Difference(
            metric=self.metric,
            baseline=before,
            candidate=after,
            difference=self.change(),
            p_value=self.p_value(),
            smallest=self.smallest(),
        )

    def _one_answer_each(self) -> bool:
        both = (*self.baseline.bottoms, *self.candidate.bottoms)
        return self.kind == "passes" and max(both, default=0.0) <= 1
