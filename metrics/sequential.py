"""A sequential test: is what was claimed of all answers still possible after some of them?

Numbers in, numbers out; knows nothing of prompts, trials or metrics. The population is finite and
its size known: what is decided in the end is the mean over all of it, so the numbers that were seen
are a sample without replacement, and at the end nothing is left to chance. Two ways to give a
claim up: with certainty, when the best that the rest could do is not enough, and with a stated
error rate that holds over all looks together.

Source: Pocock 1977, https://doi.org/10.1093/biomet/64.2.191 (one bound for every look); the
recursion of Armitage, McPherson and Rowe 1969, https://doi.org/10.2307/2343787; Cochran 1977,
Sampling Techniques, chapters 2 and 7 (sampling without replacement, difference estimator).
Deviations: what information a look has is that of a sample without replacement, and the spread is
taken about the claim and never below what whole runs show (see `claim_z`).
`benchmarks/sequential.py` shows the error rate and what other tests would cost.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GRID = 401
"""Points of the normal density between looks; the bound is right to 0.001."""
LOWEST_Z = -8.0
TINY = 1e-9
"""A mean or deviation below this is rounding, in the unit of the numbers."""

Refutation = Literal["certain", "likely"]
Array = NDArray[np.float64]


def refuted(
    seen: Sequence[float] | Array,
    n_total: int,
    *,
    looks: Sequence[int],
    error_rate: float,
    spread: float = 0.0,
    best_rest: float = math.inf,
    certain_of: Sequence[float] | Array | None = None,
) -> Refutation | None:
    """Whether the claim that `n_total` numbers average at least 0 has to be given up.

    Args:
        seen: The first of them, in an order that is random as far as they are concerned.
        n_total: How many there are.
        looks: How many are seen at each planned look. At any other time only what is certain
            counts, so that the error rate holds.
        error_rate: Largest chance, over all orders, that a true claim is given up at any look; 0
            leaves what is certain.
        spread: As for `claim_z`.
        best_rest: The largest sum that those not seen could have; infinite where it is unbounded.
        certain_of: The numbers whose sum decides; `seen` where None. Others with the same mean
            over all `n_total` may vary less, and tell more when seen (`adjusted`).

    Returns:
        certain when no outcome of the rest could rescue the claim, likely when the test rejects
        it, None while it stands.
    """
    sums = seen if certain_of is None else certain_of
    if math.fsum(sums) + best_rest < -TINY * n_total:
        return "certain"
    n = len(seen)
    if error_rate <= 0 or n not in looks or n >= n_total:
        return None
    z = claim_z(seen, n_total, spread)
    if z is not None and z < -pocock_bound(tuple(looks), n_total, error_rate):
        return "likely"
    return None


def answers_to_refute(
    seen: Sequence[float] | Array,
    n_total: int,
    *,
    looks: Sequence[int],
    error_rate: float,
    spread: float = 0.0,
) -> float:
    """How many more numbers it takes until the claim is given up, if they are like those seen.

    With mean m and square v as in `claim_z` and bound b, z passes -b after n* numbers, where
    1 / n* = 1 / N + (m / b)^2 / v. A forecast to choose by what to look at next; not a test.

    Args:
        seen, n_total, looks, error_rate, spread: As for `refuted`.

    Returns:
        0 or more; infinite where the mean is 0 or more, and without numbers or with all.
    """
    values = np.asarray(seen, dtype=np.float64)
    n = len(values)
    if error_rate <= 0 or n == 0 or n >= n_total or float(values.mean()) > -TINY:
        return math.inf
    bound = pocock_bound(tuple(looks), n_total, error_rate)
    pull = (float(values.mean()) / bound) ** 2 / _square(values, spread)
    return max(0.0, 1 / (1 / n_total + pull) - n)


def claim_z(seen: Sequence[float] | Array, n_total: int, spread: float = 0.0) -> float | None:
    """How many standard errors the mean of the seen numbers is from a mean of 0 over all.

    z = mean / sqrt(v (1/n - 1/N)), v = max(spread, (sum of squares + largest square) / n). Squares
    are about 0, the claim, not about the sample's mean, and the largest counts twice. A sample's
    own spread alone is too small too often: with few numbers, with few that are not 0, and above
    all where a few large ones, still unseen, make up for many small ones.

    Args:
        seen: The numbers.
        n_total: N.
        spread: Mean square of such numbers about their mean in whole runs, at least 0.

    Returns:
        None without numbers, or where all are 0.
    """
    values = np.asarray(seen, dtype=np.float64)
    n = len(values)
    if n == 0 or n >= n_total or float(np.abs(values).max()) < TINY:
        return None
    return float(values.mean()) / math.sqrt(_square(values, spread) * (1 / n - 1 / n_total))


def _square(values: Array, spread: float) -> float:
    """v of `claim_z`: the mean square about 0, the largest counted twice, at least `spread`."""
    squares = values**2
    return max(spread, (float(squares.sum()) + float(squares.max())) / len(values))


def adjusted(seen: Array, expected: Array, slope: float, mean_expected: float) -> Array:
    """Numbers with the same mean over all, less what could be expected of each.

    The difference estimator: `seen - slope * (expected - mean_expected)`. Whatever is expected,
    the mean over all answers stays what it is; the better the expectation, the less is left to
    chance. The slope must not depend on the numbers.

    Args:
        seen: [n] the numbers.
        expected: [n] what was expected of each.
        slope: Of the numbers on the expectation, 0 to 1: its `reliability`.
        mean_expected: Mean of the expectation over all answers, seen or not.
    """
    return seen - slope * (expected - mean_expected)


def reliability(rows: Array, *, prior: float, prior_weight: float = 10.0) -> float:
    """How far the mean of several runs predicts another run's number on the same answer.

    k r / (1 + (k - 1) r), with r the mean correlation between two runs.
    Source: Spearman 1910 and Brown 1910 (Brit. J. Psychol. 3), the prophecy formula.

    Args:
        rows: [k, n] one row a run, one column an answer.
        prior: Correlation assumed of one run alone.
        prior_weight: How many answers the assumption is worth where there are several runs.

    Returns:
        A slope in [0, 1].
    """
    k, n = rows.shape
    correlation = prior
    if k > 1:
        centred = rows - rows.mean(axis=1, keepdims=True)
        lengths = np.sqrt((centred**2).sum(axis=1))
        defined = centred[lengths > 0] / lengths[lengths > 0, None]
        total = float((defined @ defined.T).sum()) - len(defined)
        found = total / (k * (k - 1))
        correlation = (prior_weight * prior + n * found) / (prior_weight + n)
    correlation = min(1.0, max(0.0, correlation))
    return float(k * correlation / (1 + (k - 1) * correlation))


def left_to_chance(slope: float, k: int) -> float:
    """The share of one run's variance that the mean of k others does not foretell.

    1 - slope r, with r the correlation between two runs that the slope stands for.

    Args:
        slope: `reliability` of the k runs.
        k: How many.
    """
    correlation = slope / (k - (k - 1) * slope)
    return 1.0 - slope * correlation


@lru_cache(maxsize=1024)
def pocock_bound(looks: tuple[int, ...], n_total: int, error_rate: float) -> float:
    """The bound on |z| that a true claim passes at any of the looks with this chance at most.

    Args:
        looks: How many of the population are seen at each look; those of 0 or all tell nothing.
        n_total: Size of the population.
        error_rate: In (0, 0.5), one-sided, at a mean of exactly 0 and normal means.

    Returns:
        The bound; infinite without a look.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    ns = sorted({n for n in looks if 0 < n < n_total})
    if not ns:
        return math.inf
    alone = float(norm.isf(error_rate))
    together = float(norm.isf(error_rate / len(ns)))
    if len(ns) == 1:
        return alone
    return float(
        brentq(
            lambda bound: crossing_probability(bound, ns, n_total) - error_rate,
            alone,
            together,
            xtol=1e-4,
        )
    )


def crossing_probability(bound: float, looks: Sequence[int], n_total: int) -> float:
    """Chance that z, of mean 0 at every look, is beyond the bound at one of them at least.

    The means of the first n of N numbers in random order, scaled, are a Brownian motion at the
    times n / (N - n); the density of those not yet beyond is carried from look to look.

    Args:
        bound: On one side.
        looks: Rising, each in 1 to n_total - 1.
        n_total: N.
    """
    times = [n / (n_total - n) for n in looks]
    z = np.linspace(LOWEST_Z, bound, GRID)
    weight = np.full(GRID, z[1] - z[0])
    weight[[0, -1]] /= 2
    density = _normal(z)
    for before, after in pairwise(times):
        kept = math.sqrt(before / after)
        fresh = math.sqrt(1 - kept * kept)
        density = _normal((z[:, None] - kept * z) / fresh) @ (density * weight) / fresh
    return 1.0 - float((density * weight).sum())


def _normal(z: Array) -> Array:
    return np.asarray(np.exp(-z * z / 2) / math.sqrt(2 * math.pi), dtype=np.float64)
