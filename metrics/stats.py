"""Statistics: how far a measured figure can be trusted.

Numbers in, numbers out; knows nothing of models, files or what a metric means. Resampling is over
prompts, because prompts are what was drawn; whatever belongs to one prompt stays together. A figure
that is undefined is None, never 0.

Sources: Wilson 1927 for proportions; Efron 1987 (BCa) for everything else; Holm 1979 for several
candidates. Where scipy has the procedure, scipy computes it. Paired passes are in `mcnemar.py`.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from metrics.errors import WeighinError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Coverage of an interval where no other is asked for, a fraction."""
ALPHA = 0.05
"""Two-sided significance level."""
POWER = 0.80
"""Chance of seeing a difference of the size that `smallest_difference` returns."""
N_DRAWS = 10_000
"""Bootstrap and sign-flip draws."""
DEFAULT_SEED = 20_240_611
"""Seed of `default_rng`; any fixed number would do, what matters is that it never changes."""
MAX_BATCH = 4_000_000
"""Resampled numbers held in memory at once (32 MB of float64)."""


class Estimate(BaseModel):
    """A figure with its uncertainty."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    """The figure itself; None where it is undefined."""

    low: float | None
    """Lower end of the interval, 95 % unless said otherwise; None where n is too small for one."""

    high: float | None
    """Upper end of the interval."""

    n: int
    """What the figure was computed from: prompts, texts, pairs, or instructions."""

    count: int | None = None
    """The numerator of a proportion whose denominator is n; None for other figures."""

    def to_json(self) -> dict[str, float | int | None]:
        """The estimate as printed: value, low, high, n, and count only where there is one."""
        return self.model_dump(exclude={"count"} if self.count is None else None)


def default_rng() -> np.random.Generator:
    """The seeded generator that summaries use when the caller brings none."""
    return np.random.default_rng(DEFAULT_SEED)


def wilson(count: int, n: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """Proportion with its Wilson score interval (no continuity correction).

    Args:
        count: Successes, 0 to n.
        n: Trials; 0 gives a proportion of None.
        confidence: Coverage of the interval.

    Raises:
        WeighinError: count lies outside 0 to n.
    """
    if not 0 <= count <= n:
        raise WeighinError(
            f"a proportion of {count} out of {n} cannot be: expected 0 <= {count} <= n"
        )
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0, count=0)
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(confidence, method="wilson")
    return Estimate(
        value=count / n, low=float(interval.low), high=float(interval.high), n=n, count=count
    )


def smallest_difference(
    differences: Sequence[float], *, alpha: float = ALPHA, power: float = POWER
) -> float | None:
    """Smallest true mean difference that this many pairs would have shown with the given power.

    (z_(1 - alpha/2) + z_power) * sd / sqrt(n), with the sd of the differences that were seen.

    Args:
        differences: Candidate minus baseline, one per prompt.
        alpha: Two-sided significance level.
        power: Chance of showing a true difference of this size.

    Returns:
        In the unit of the differences; None below two pairs.
    """
    if len(differences) < 2:
        return None
    from scipy.stats import norm

    z = float(norm.ppf(1 - alpha / 2)) + float(norm.ppf(power))
    return (
        z
        * float(np.std(np.asarray(differences, dtype=np.float64), ddof=1))
        / math.sqrt(len(differences))
    )


def bootstrap_mean(
    values: Sequence[float | None],
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean with a BCa bootstrap interval.

    Args:
        values: One per prompt; None where undefined, which is left out of the mean and of n.
        rng: Seeded generator.
        n_draws: Resamples.
        confidence: Coverage of the interval.
    """
    defined = np.asarray([value for value in values if value is not None], dtype=np.float64)
    if len(defined) == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    value = math.fsum(defined.tolist()) / len(defined)
    low, high = _interval((defined,), _mean, value, rng=rng, n_draws=n_draws, confidence=confidence)
    return Estimate(value=value, low=low, high=high, n=len(defined))


def bootstrap_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    rng: np.random.Generator,
    scale: float = 1.0,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Pooled rate, sum over sum, with a BCa interval that resamples both together.

    Args:
        numerators: One per prompt.
        denominators: One per prompt, at least 0; a prompt with 0 has no rate and is left out.
        rng: Seeded generator.
        scale: Factor on the ratio, such as 1000 for a rate per 1,000 words.
        n_draws: Resamples.
        confidence: Coverage of the interval.

    Raises:
        WeighinError: the two differ in length.
    """
    _same_length(numerators, denominators)
    columns = np.asarray([numerators, denominators], dtype=np.float64).reshape(2, -1)
    top, bottom = columns[:, columns[1] > 0]
    if len(bottom) == 0:
        return Estimate(value=None, low=None, high=None, n=0)
    value = scale * math.fsum(top.tolist()) / math.fsum(bottom.tolist())

    def ratio(x: "Array", y: "Array", axis: int = -1) -> "Array":
        return np.asarray(scale * x.sum(axis=axis) / y.sum(axis=axis), dtype=np.float64)

    low, high = _interval(
        (top, bottom), ratio, value, rng=rng, n_draws=n_draws, confidence=confidence
    )
    return Estimate(value=value, low=low, high=high, n=len(bottom))


def paired_bootstrap(
    baseline: Sequence[float | None],
    candidate: Sequence[float | None],
    *,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Mean of candidate minus baseline over prompts, with a BCa interval.

    Args:
        baseline, candidate: One per prompt, in the same order; a prompt where either is None is
            left out of the mean and of n.
        rng: Seeded generator.
        n_draws: Resamples.
        confidence: Coverage of the interval.

    Raises:
        WeighinError: the two differ in length.
    """
    moved = paired_differences(baseline, candidate)
    return bootstrap_mean(moved, rng=rng, n_draws=n_draws, confidence=confidence)


def paired_differences(
    baseline: Sequence[float | None], candidate: Sequence[float | None]
) -> list[float]:
    """Candidate minus baseline, for the prompts where both are defined, in order.

    Raises:
        WeighinError: the two differ in length.
    """
    _same_length(baseline, candidate)
    return [
        after - before
        for before, after in zip(baseline, candidate, strict=True)
        if before is not None and after is not None
    ]


def paired_ratio_bootstrap(
    baseline: tuple[Sequence[float], Sequence[float]],
    candidate: tuple[Sequence[float], Sequence[float]],
    *,
    rng: np.random.Generator,
    scale: float = 1.0,
    n_draws: int = N_DRAWS,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Difference of two pooled rates on the same prompts, with a BCa interval.

    Args:
        baseline, candidate: (numerators, denominators), each with one number per prompt, in the
            same order. A prompt without words on either side is left out of both.
        rng: Seeded generator.
        scale: Factor on both ratios.
        n_draws: Resamples; each draws whole prompts, with both runs' numbers.
        confidence: Coverage of the interval.

    Raises:
        WeighinError: the four sequences differ in length.
    """
    for part in (baseline[1], *candidate):
        _same_length(baseline[0], part)
    columns = np.asarray([*baseline, *candidate], dtype=np.float64).reshape(4, -1)
    columns = columns[:, (columns[1] > 0) & (columns[3] > 0)]
    n = columns.shape[1]
    if n == 0:
        return Estimate(value=None, low=None, high=None, n=0)

    def difference(*parts: "Array", axis: int = -1) -> "Array":
        a, b, c, d = (part.sum(axis=axis) for part in parts)
        return np.asarray(scale * (c / d - a / b), dtype=np.float64)

    value = float(difference(*columns))
    low, high = _interval(
        tuple(columns), difference, value, rng=rng, n_draws=n_draws, confidence=confidence
    )
    return Estimate(value=value, low=low, high=high, n=n)


def sign_flip_test(
    differences: Sequence[float], *, rng: np.random.Generator, n_draws: int = N_DRAWS
) -> float | None:
    """Two-sided p-value that paired differences have mean 0, by flipping their signs at random.

    Assumes only that the two runs could have been swapped on each prompt (Fisher 1935). All flips
    are tried where there are fewer than n_draws.

    Returns:
        p in (0, 1]; None without pairs.
    """
    if len(differences) == 0:
        return None
    if len(differences) == 1:
        return 1.0  # both flips are equally far from 0
    from scipy.stats import permutation_test

    result = permutation_test(
        (np.asarray(differences, dtype=np.float64),),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=n_draws,
        batch=max(1, MAX_BATCH // len(differences)),
        rng=rng,
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjusted p-values, in the order given.

    Args:
        p_values: One per candidate, each in [0, 1].

    Returns:
        Adjusted p-values in [0, 1]; rejecting those below alpha keeps the chance of any false
        rejection among all candidates at alpha. Source: Holm 1979, Scand. J. Statist. 6, 65-70.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def _mean(values: "Array", axis: int = -1) -> "Array":
    return np.asarray(values.mean(axis=axis), dtype=np.float64)


def _same_length(first: Sequence[Any], second: Sequence[Any]) -> None:
    if len(first) != len(second):
        raise WeighinError(
            f"cannot pair {len(first)} values with {len(second)}: expected one per prompt "
            "on each side"
        )


def _interval(
    samples: tuple["Array", ...],
    statistic: Callable[..., "Array"],
    value: float,
    *,
    rng: np.random.Generator,
    n_draws: int,
    confidence: float,
) -> tuple[float | None, float | None]:
    """BCa interval; percentile where BCa has no correction to offer; None below two prompts."""
    n = len(samples[0])
    if n < 2:
        return None, None
    if all(np.all(sample == sample[0]) for sample in samples):
        return value, value
    from scipy.stats import DegenerateDataWarning, bootstrap

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            samples,
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=n_draws,
            batch=max(1, MAX_BATCH // n),
            confidence_level=confidence,
            method="BCa",
            rng=rng,
        )
    low, high = float(result.confidence_interval.low), float(result.confidence_interval.high)
    if math.isnan(low) or math.isnan(high):
        tail = (1 - confidence) / 2
        low, high = np.quantile(result.bootstrap_distribution, [tail, 1 - tail]).tolist()
    return low, high
