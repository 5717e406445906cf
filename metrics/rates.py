"""Rates: do two pooled rates on the same prompts differ, and what difference could have shown.

Sums per prompt in, numbers out; knows nothing of models or what is counted. A pooled rate is a sum
over a sum, so a test of it must keep each prompt's two sums together; with several samples a prompt
they are those of the prompt, since prompts are what was drawn.

Sources: the exchange of labels within pairs is Fisher 1935; the variance of a ratio is its
linearisation (Cochran 1977, Sampling Techniques, section 6.3).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from metrics.stats import MAX_BATCH, N_DRAWS, smallest_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Sums = tuple[Sequence[float], Sequence[float]]
"""Numerators and denominators, one of each per prompt."""


def swap_test(
    baseline: Sums, candidate: Sums, *, rng: np.random.Generator, n_draws: int = N_DRAWS
) -> float | None:
    """Two-sided p-value that two pooled rates are equal, by exchanging the runs on each prompt.

    Assumes only that the two runs could have been swapped on each prompt. All exchanges are tried
    where there are fewer than n_draws.

    Args:
        baseline, candidate: (numerators, denominators) in the same order of prompts; a prompt
            with nothing below the line on either side is left out of both.
        rng: Seeded generator.
        n_draws: Exchanges tried where there are too many to try them all.

    Returns:
        p in (0, 1]; None without pairs.
    """
    tops, bottoms = _both(baseline, candidate)
    n = tops.shape[1]
    if n == 0:
        return None
    if n == 1:
        return 1.0  # both ways round are equally far apart
    from scipy.stats import permutation_test

    flat_tops, flat_bottoms = tops.reshape(-1), bottoms.reshape(-1)

    def difference(
        first: "NDArray[np.intp]", second: "NDArray[np.intp]", axis: int = -1
    ) -> "Array":
        before, after = (
            flat_tops[side].sum(axis=axis) / flat_bottoms[side].sum(axis=axis)
            for side in (first, second)
        )
        return np.asarray(after - before, dtype=np.float64)

    # what is exchanged are places in the two rows, so that both sums of a prompt move together
    result = permutation_test(
        (np.arange(n), np.arange(n, 2 * n)),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=n_draws,
        batch=max(1, MAX_BATCH // (4 * n)),
        rng=rng,
    )
    return float(result.pvalue)


def smallest_rate_difference(
    baseline: Sums, candidate: Sums, *, scale: float = 1.0
) -> float | None:
    """Smallest true difference of two pooled rates that these prompts would have shown.

    `smallest_difference` of what each prompt adds to the difference, the ratio being linearised
    about the rates that were seen.

    Args:
        baseline, candidate: As for `swap_test`.
        scale: Factor on both rates.

    Returns:
        In the unit of the scaled rates; None below two prompts.
    """
    tops, bottoms = _both(baseline, candidate)
    if tops.shape[1] < 2:
        return None
    rates = tops.sum(axis=1, keepdims=True) / bottoms.sum(axis=1, keepdims=True)
    shares = (tops - rates * bottoms) / bottoms.mean(axis=1, keepdims=True)
    return smallest_difference((scale * (shares[1] - shares[0])).tolist())


def _both(baseline: Sums, candidate: Sums) -> tuple["Array", "Array"]:
    """[2, n] numerators and [2, n] denominators of the prompts that count on both sides."""
    tops = np.asarray([baseline[0], candidate[0]], dtype=np.float64).reshape(2, -1)
    bottoms = np.asarray([baseline[1], candidate[1]], dtype=np.float64).reshape(2, -1)
    counted = (bottoms > 0).all(axis=0)
    return tops[:, counted], bottoms[:, counted]
