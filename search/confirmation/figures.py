"""Confirmed figures: what builds gain on the prompts that were held back, and how much less it is.

Paired runs in, the records of `search.confirmation.confirmation` out; knows nothing of models or
trials. Every interval holds together with all the others: each is as wide as Bonferroni asks for,
over every build that was ever run on these prompts and every objective; tests are corrected by
Holm.
Sources: Bonferroni; Holm 1979, Scand. J. Statist. 6, 65-70; for the drop's interval Zou and Donner
2008, Statist. Med. 27, 1693-1702: two independent estimates, their distances squared and added.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.comparison.compare import PairedRuns
from harness.comparison.paired import PairedSample
from harness.comparison.records import H_DELTA
from metrics.stats import CONFIDENCE, Estimate, holm
from search.confirmation.confirmation import Bound, Gain, OfBaseline
from search.errors import StudyError
from search.study.objective import Constraint, Objective, match_metric


@dataclass(frozen=True)
class Halves:
    """The baseline's and a build's runs, paired, on both halves of the prompts."""

    search: PairedRuns | None
    """None where the trial was stopped."""
    confirm: PairedRuns
    """On the prompts that were held back."""


def gains_of(
    halves: Sequence[Halves], objectives: Sequence[Objective]
) -> tuple[tuple[Gain, ...], ...]:
    """Every build's gains, corrected for all of them together.

    Args:
        halves: One a build.
        objectives: The study's.
    """
    level = level_of(len(halves) * len(objectives))
    alone = [[_gain(both, o, level) for o in objectives] for both in halves]
    tested = [
        (i, j) for i, row in enumerate(alone) for j, g in enumerate(row) if g.p_value is not None
    ]
    corrected = dict(
        zip(tested, holm([alone[i][j].p_value or 0.0 for i, j in tested]), strict=True)
    )
    return tuple(
        tuple(
            gain.model_copy(update={"p_holm": corrected.get((i, j))}) for j, gain in enumerate(row)
        )
        for i, row in enumerate(alone)
    )


def bound_of(runs: PairedRuns, limit: Constraint, level: float) -> Bound:
    """A limit on the prompts that were held back.

    Args:
        runs: The baseline's and the build's.
        limit: The study's.
        level: Coverage of its interval, a fraction.
    """
    sample = sample_for(runs, limit.metric)
    found = (
        sample.change(confidence=level)
        if limit.relative
        else sample.value(sample.candidate, confidence=level)
    )
    violation = limit.beyond(found.value)
    ends = [limit.beyond(end) <= 0 for end in (found.low, found.high) if end is not None]
    sure = len(ends) == 2 and ends == [violation <= 0] * 2
    return Bound(
        text=limit.text,
        metric=sample.metric,
        relative=limit.relative,
        confirmed=found,
        violation=violation,
        sure=sure,
    )


def baseline_of(search: PairedRuns, confirm: PairedRuns, objective: Objective) -> OfBaseline:
    """The baseline's own figure on both halves, each with a plain 95 % interval."""
    sides = [sample_for(runs, objective.metric) for runs in (search, confirm)]
    before, after = (sample.value(sample.baseline) for sample in sides)
    return OfBaseline(metric=sides[0].metric, search=before, confirmed=after)


def level_of(n_claims: int, confidence: float = CONFIDENCE) -> float:
    """Coverage that each of so many intervals needs to hold together with the others."""
    return 1 - (1 - confidence) / max(1, n_claims)


def drop_of(search: Estimate, confirmed: Estimate, sign: int) -> Estimate:
    """How much less was confirmed than was found, with an interval.

    Args:
        search: On the one half.
        confirmed: On the other: other prompts, so the two are independent.
        sign: 1 where larger is better, else -1.

    Returns:
        At the level of both intervals; n is the smaller of the two.
    """
    n = min(search.n, confirmed.n)
    if search.value is None or confirmed.value is None:
        return Estimate(value=None, low=None, high=None, n=n)
    value = sign * (search.value - confirmed.value)
    first, second = (search, confirmed) if sign > 0 else (confirmed, search)
    if None in (first.low, first.high, second.low, second.high):
        return Estimate(value=value, low=None, high=None, n=n)
    below = math.hypot(_to_low(first), _to_high(second))
    above = math.hypot(_to_high(first), _to_low(second))
    return Estimate(value=value, low=value - below, high=value + above, n=n)


def sample_for(runs: PairedRuns, metric: str) -> PairedSample:
    """What a figure of two runs is made of.

    Raises:
        StudyError: They have no such figure.
    """
    samples = (*runs.score_samples, *runs.xrep3_samples, *runs.sanity_samples)
    named = {sample.metric: sample for sample in samples}
    named |= {
        f"{name.removesuffix('.H')}.{H_DELTA}": sample
        for name, sample in named.items()
        if name.endswith(".H")
    }
    name = match_metric(metric, named)
    if name is None:
        raise StudyError(f"{runs.names[1]}: no figure {metric!r} in what was asked")
    return named[name]


def _gain(both: Halves, objective: Objective, level: float) -> Gain:
    sample = sample_for(both.confirm, objective.metric)
    confirmed = sample.change(confidence=level)
    if both.search is None:
        search = Estimate(value=None, low=None, high=None, n=0)
    else:
        search = sample_for(both.search, objective.metric).change(confidence=level)
    return Gain(
        metric=objective.metric,
        direction=objective.direction,
        search=search,
        confirmed=confirmed,
        drop=drop_of(search, confirmed, 1 if objective.direction == "maximize" else -1),
        own=sample.value(sample.candidate, confidence=level),
        p_value=sample.p_value(),
        p_holm=None,
    )


def _to_low(estimate: Estimate) -> float:
    assert estimate.value is not None and estimate.low is not None
    return estimate.value - estimate.low


def _to_high(estimate: Estimate) -> float:
    assert estimate.value is not None and estimate.high is not None
    return estimate.high - estimate.value
