"""Figures as sums over answers: what one answer adds to a run's figure.

A score in, two numbers out: a figure is the sum of the first over the sum of the second, over a
task's answers. A figure that needs all texts at once, such as `xrep3`, is none of these. Knows
nothing of runs or comparisons.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from harness.runs import Score
from metrics.ifeval import IfevalScore
from metrics.prose import ProseScore

ALIKE_GREEDY = 0.5
"""Correlation of two builds' passes over the same prompts: some are easy for all, some too hard."""
ALIKE_SAMPLED = 0.2
"""The same for prose, which is sampled: most of what an answer scores is chance."""


@dataclass(frozen=True)
class Figure:
    """How an answer counts in a figure."""

    top: Callable[[Score], float]
    """Its part of the sum above."""
    bottom: Callable[[Score], float]
    """Its part of the sum below; 0 where the figure is undefined for it."""
    highest: float = math.inf
    """Largest figure that an answer can have; the smallest is 0."""
    fixed: bool = False
    """Whether every model's answer to a prompt has the same part below."""
    alike: float = ALIKE_SAMPLED
    """How two builds' answers to a prompt correlate, as a rule."""


def _ifeval(score: Score) -> IfevalScore:
    assert score.ifeval is not None
    return score.ifeval


def _prose(score: Score) -> ProseScore:
    assert score.prose is not None
    return score.prose


def _one(_score: Score) -> float:
    return 1.0


def _n_instructions(score: Score) -> float:
    return float(len(_ifeval(score).strict))


def _passes(top: Callable[[Score], float], bottom: Callable[[Score], float]) -> Figure:
    return Figure(top, bottom, highest=1.0, fixed=True, alike=ALIKE_GREEDY)


def _mean(name: str, highest: float = math.inf, *, fixed: bool = False) -> Figure:
    """Mean over the answers for which a prose figure is defined."""

    def top(score: Score) -> float:
        value = getattr(_prose(score), name)
        return 0.0 if value is None else float(value)

    def bottom(score: Score) -> float:
        return 0.0 if getattr(_prose(score), name) is None else 1.0

    return Figure(top, bottom, highest, fixed)


def _per_thousand(name: str) -> Figure:
    """Pooled count per 1,000 rated words."""
    return Figure(
        lambda score: float(getattr(_prose(score), name)),
        lambda score: _prose(score).rated_words / 1000,
    )


IFEVAL = {
    "prompt_level_strict_acc": _passes(lambda score: float(_ifeval(score).prompt_strict), _one),
    "prompt_level_loose_acc": _passes(lambda score: float(_ifeval(score).prompt_loose), _one),
    "inst_level_strict_acc": _passes(
        lambda score: float(sum(_ifeval(score).strict)), _n_instructions
    ),
    "inst_level_loose_acc": _passes(
        lambda score: float(sum(_ifeval(score).loose)), _n_instructions
    ),
}
"""Figures of tasks with checkable instructions."""

PROSE = {
    "H": _mean("H", 100.0, fixed=True),
    "word_count": _mean("word_count", fixed=True),
    "slop_hits": _mean("slop_hits", fixed=True),
    "rep3g": _mean("rep3g", 100.0),
    "rep3g_whole": _mean("rep3g_whole", 100.0),
    "rhythm": _mean("rhythm"),
    "diversity": _mean("diversity", 1.0),
    "openers": _mean("openers", 1.0),
    "slop": _per_thousand("slop_weight"),
    "contrast": _per_thousand("contrast_count"),
}
"""Figures of prose. Means of several samples are over answers, not over prompts' means: the same
wherever a figure is defined for every answer."""

FIGURES = {"ifeval": IFEVAL, "prose": PROSE}
"""By kind of task."""
