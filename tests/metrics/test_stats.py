"""Statistics against published examples, hand counts and independent implementations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from metrics.errors import WeighinError
from metrics.stats import (
    Estimate,
    bootstrap_mean,
    bootstrap_ratio,
    holm,
    paired_bootstrap,
    paired_differences,
    paired_ratio_bootstrap,
    sign_flip_test,
    smallest_difference,
    wilson,
)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


# Efron and Tibshirani 1993, table 2.1: survival in days of the treated mice.
MICE = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [
        # Newcombe 1998, Stat. Med. 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_published_intervals(
    count: int, n: int, low: float, high: float
) -> None:
    estimate = wilson(count, n)
    assert estimate.value == count / n
    assert estimate.low == pytest.approx(low, abs=5e-5)
    assert estimate.high == pytest.approx(high, abs=5e-5)
    assert (estimate.n, estimate.count) == (n, count)


def test_wilson_of_nothing_is_undefined_not_zero() -> None:
    assert wilson(0, 0) == Estimate(value=None, low=None, high=None, n=0, count=0)


def test_wilson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(WeighinError, match="6 out of 5"):
        wilson(6, 5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_and_stays_a_fraction(pair: tuple[int, int]) -> None:
    estimate = wilson(*pair)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.value is not None
    assert -1e-12 <= estimate.low <= estimate.value + 1e-12
    assert estimate.value - 1e-12 <= estimate.high <= 1 + 1e-12


def test_smallest_difference_is_the_textbook_formula() -> None:
    differences = [-10.0, 10.0] * 50
    sd = math.sqrt(100 * 100 / 99)
    assert smallest_difference(differences) == pytest.approx(
        (1.959964 + 0.841621) * sd / 10, rel=1e-6
    )
    assert smallest_difference([1.0]) is None


def test_holm_gives_the_textbook_example() -> None:
    # sorted .005 x 4, .01 x 3, .03 x 2, .04 x 1, made monotone
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for (p, q), (p2, q2) in itertools.combinations(zip(p_values, adjusted, strict=True), 2):
        assert p <= q <= 1
        assert q <= q2 or p2 <= p


def test_bootstrap_of_the_mice_has_the_published_standard_error() -> None:
    # Efron and Tibshirani 1993, table 2.2: mean 86.86, bootstrap standard error 23.36
    estimate = bootstrap_mean(MICE, rng=rng())
    assert estimate.value == pytest.approx(86.857, abs=1e-3)
    assert estimate.low is not None
    assert estimate.high is not None
    assert (estimate.high - estimate.low) / (2 * 1.96) == pytest.approx(23.36, rel=0.06)


def test_bca_agrees_with_an_independent_implementation() -> None:
    values = np.asarray(MICE)
    generator = rng(1)
    means = np.sort(values[generator.integers(0, 7, (200_000, 7))].mean(axis=1))
    jackknife = np.asarray([np.delete(values, i).mean() for i in range(7)])
    spread = jackknife.mean() - jackknife
    acceleration = (spread**3).sum() / (6 * ((spread**2).sum()) ** 1.5)
    # ties count half, as in scipy
    share = ((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2
    from scipy.stats import norm

    bias = norm.ppf(share)
    ends = []
    for z in (-1.959964, 1.959964):
        level = norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ends.append(np.quantile(means, level))
    estimate = bootstrap_mean(MICE, rng=rng(2))
    assert estimate.low == pytest.approx(ends[0], abs=1.5)
    assert estimate.high == pytest.approx(ends[1], abs=1.5)


def test_bootstrap_repeats_with_its_seed_and_moves_with_another() -> None:
    assert bootstrap_mean(MICE, rng=rng(3)) == bootstrap_mean(MICE, rng=rng(3))
    assert bootstrap_mean(MICE, rng=rng(3)).low != bootstrap_mean(MICE, rng=rng(4)).low


def test_bootstrap_leaves_out_what_is_undefined() -> None:
    assert bootstrap_mean([1.0, None, 3.0], rng=rng()).n == 2
    assert bootstrap_mean([None], rng=rng()) == Estimate(value=None, low=None, high=None, n=0)


def test_one_value_has_no_interval_and_equal_values_have_a_point() -> None:
    assert bootstrap_mean([4.0], rng=rng()) == Estimate(value=4.0, low=None, high=None, n=1)
    assert bootstrap_mean([4.0] * 5, rng=rng()) == Estimate(value=4.0, low=4.0, high=4.0, n=5)


def test_ratio_is_pooled_not_a_mean_of_ratios() -> None:
    # 1/100 and 9/300 pool to 10/400 = 25 per 1,000; the mean of the two rates would be 20
    estimate = bootstrap_ratio([1, 9, 5], [100, 300, 0], rng=rng(), scale=1000)
    assert estimate.value == 25
    assert estimate.n == 2


def test_ratio_interval_agrees_with_a_percentile_bootstrap() -> None:
    generator = rng(5)
    words = generator.integers(200, 800, 300)
    hits = generator.poisson(0.03 * words)
    estimate = bootstrap_ratio(hits.tolist(), words.tolist(), rng=rng(6))
    picks = generator.integers(0, 300, (20_000, 300))
    ratios = hits[picks].sum(axis=1) / words[picks].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert estimate.low == pytest.approx(low, abs=0.05 * (high - low))
    assert estimate.high == pytest.approx(high, abs=0.05 * (high - low))


def test_paired_is_narrower_than_its_parts_when_prompts_differ_more_than_runs() -> None:
    generator = rng(8)
    baseline = (50 + 20 * generator.standard_normal(80)).tolist()
    candidate = [value + 2 + generator.normal() for value in baseline]
    estimate = paired_bootstrap(baseline, candidate, rng=rng())
    assert estimate.n == 80
    assert estimate.low is not None
    assert estimate.low > 1.5
    assert estimate.high is not None
    assert estimate.high < 2.5


def test_pairs_with_an_undefined_side_are_left_out() -> None:
    assert paired_differences([1.0, None, 3.0], [2.0, 5.0, None]) == [1.0]
    with pytest.raises(WeighinError, match="cannot pair 1 values with 2"):
        paired_differences([1.0], [2.0, 3.0])


def test_paired_ratio_is_the_difference_of_the_pooled_rates() -> None:
    estimate = paired_ratio_bootstrap(
        ([1, 3, 7], [100, 100, 100]), ([0, 2, 9], [100, 300, 0]), rng=rng(), scale=1000
    )
    # the third prompt has no words on one side: 2/400 - 4/200 = -15 per 1,000
    assert estimate.value == pytest.approx(-15)
    assert estimate.n == 2


def test_sign_flips_are_counted_exactly_where_they_are_few() -> None:
    # of the 8 sign patterns of 1, 2, 3 only all-plus and all-minus are as extreme
    assert sign_flip_test([1.0, 2.0, 3.0], rng=rng()) == pytest.approx(2 / 8)
    assert sign_flip_test([], rng=rng()) is None


def test_sign_flips_of_equal_steps_are_the_sign_test() -> None:
    steps = [1.0] * 9 + [-1.0] * 2
    exact = 2 * binom.cdf(2, 11, 0.5)
    assert sign_flip_test(steps, rng=rng()) == pytest.approx(exact)


def test_printed_estimate_has_a_count_only_where_there_is_one() -> None:
    assert wilson(1, 2).to_json()["count"] == 1
    assert bootstrap_mean(MICE, rng=rng()).to_json().keys() == {"value", "low", "high", "n"}
