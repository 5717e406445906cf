"""The sequential test: published bounds, certain ends, and its error rate by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from metrics.sequential import (
    adjusted,
    answers_to_refute,
    claim_z,
    crossing_probability,
    left_to_chance,
    pocock_bound,
    refuted,
    reliability,
)

LOOKS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
VAST = 10**9
"""A population so large that a sample without replacement is one with replacement."""


@pytest.mark.parametrize(
    ("n_looks", "bound"),
    # Jennison and Turnbull 2000, Group Sequential Methods, table 2.1: Pocock's constants for a
    # two-sided error rate of 0.05, which is 0.025 on each side
    [(1, 1.960), (2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)],
)
def test_bounds_are_pococks(n_looks: int, bound: float) -> None:
    looks = tuple(100 * (i + 1) for i in range(n_looks))
    assert pocock_bound(looks, VAST, 0.025) == pytest.approx(bound, abs=0.002)


def test_looks_at_nothing_or_at_all_have_no_bound() -> None:
    assert pocock_bound((), 10, 0.05) == math.inf
    assert pocock_bound((0, 10, 10), 10, 0.05) == math.inf
    assert pocock_bound((5, 5, 10), 10, 0.05) == pytest.approx(1.645, abs=1e-3)


def test_one_look_crosses_with_the_normal_tail() -> None:
    assert crossing_probability(1.645, [3], 10) == pytest.approx(0.05, abs=1e-4)


def test_z_by_hand() -> None:
    # mean -1/2; (1 + 1 + 0 + 0 + 1) / 4; 4 of 8: 1/4 - 1/8
    assert claim_z([-1, -1, 0, 0], 8) == pytest.approx(-0.5 / math.sqrt(0.75 * 0.125))
    assert claim_z([-1, -1, 0, 0], 8, spread=0.7) == claim_z([-1, -1, 0, 0], 8)
    assert claim_z([-1, -1, 0, 0], 8, spread=2.0) == pytest.approx(-0.5 / math.sqrt(2 * 0.125))
    assert claim_z([], 8) is None
    assert claim_z([0, 0], 8) is None
    assert claim_z([-1e-17] * 4, 8) is None
    assert claim_z([1, 2], 2) is None


def test_what_the_rest_cannot_rescue_is_certain() -> None:
    seen = [-1.0, -1.0, -1.0]
    assert refuted(seen, 5, looks=[], error_rate=0.05, best_rest=2.0) == "certain"
    assert refuted(seen, 5, looks=[], error_rate=0.05, best_rest=3.0) is None
    # the adjusted numbers tell earlier, the plain ones decide
    assert refuted([5.0], 5, looks=[], error_rate=0.05, best_rest=2.0, certain_of=seen) == "certain"


def test_only_planned_looks_count_and_only_with_an_error_rate() -> None:
    seen = [-1.0] * 30
    assert refuted(seen, 100, looks=[30, 50], error_rate=0.05) == "likely"
    assert refuted(seen, 100, looks=[29, 50], error_rate=0.05) is None
    assert refuted(seen, 100, looks=[30, 50], error_rate=0.0) is None


def test_few_losses_are_not_enough() -> None:
    # however small the sample's own spread is: four equal losses have a chance of 1 in 16
    assert refuted([-1.0] * 4, 100, looks=[4, 50], error_rate=0.05) is None
    # nor are failures alone where passes are rare: of 128 prompts ten passed, none of the first 16
    failed = [-10 / 128] * 16
    spread = 10 / 128 * 118 / 128
    assert refuted(failed, 128, looks=[8, 16], error_rate=0.05) == "likely"
    assert refuted(failed, 128, looks=[8, 16], error_rate=0.05, spread=spread) is None


@given(
    values=st.lists(st.floats(-5, 5), min_size=2, max_size=30),
    slope=st.floats(0, 1),
    data=st.data(),
)
def test_adjusting_leaves_the_mean_over_all(
    values: list[float], slope: float, data: st.DataObject
) -> None:
    expected = np.array(
        data.draw(st.lists(st.floats(-5, 5), min_size=len(values), max_size=len(values)))
    )
    moved = adjusted(np.array(values), expected, slope, float(expected.mean()))
    assert moved.mean() == pytest.approx(np.mean(values), abs=1e-9)


def test_reliability_is_the_slope_on_the_mean_of_runs() -> None:
    rng = np.random.default_rng(0)
    of_answer = rng.normal(size=4000)
    # half of a run's variance is the answer's own, so runs correlate by 0.5
    runs = of_answer + rng.normal(size=(4, 4000))
    another = of_answer + rng.normal(size=4000)
    for k in (2, 3, 4):
        slope = float(np.polyfit(runs[:k].mean(axis=0), another, 1)[0])
        found = reliability(runs[:k], prior=0.2)
        assert found == pytest.approx(slope, abs=0.05)
        assert found == pytest.approx(k * 0.5 / (1 + (k - 1) * 0.5), abs=0.03)
        left = another - found * runs[:k].mean(axis=0)
        assert left_to_chance(found, k) == pytest.approx(left.var() / another.var(), abs=0.03)
    assert reliability(runs[:1], prior=0.3) == pytest.approx(0.3)
    assert left_to_chance(0.3, 1) == pytest.approx(0.91)


def test_reliability_of_runs_that_tell_nothing() -> None:
    assert reliability(np.zeros((3, 5)), prior=0.5) == pytest.approx(3 * (1 / 3) / (1 + 2 / 3))
    opposed = np.tile([1.0, -1.0], 500)
    assert reliability(np.stack([opposed, -opposed]), prior=0.5) == 0.0


def passes(lost: int, won: int, n: int) -> NDArray[np.float64]:
    """Paired differences of passes with a mean of exactly 0 once the limit is taken off."""
    return np.array([-1.0] * lost + [1.0] * won + [0.0] * (n - lost - won)) + (lost - won) / n


def skewed(n: int) -> NDArray[np.float64]:
    """Differences like those of H where a gate shuts: many small gains, a few large losses."""
    rng = np.random.default_rng(n)
    values = np.where(rng.random(n) < 0.15, rng.normal(-45, 10, n), rng.normal(8, 12, n))
    return np.asarray(values - values.mean(), dtype=np.float64)


POPULATIONS = {
    "few disagreements": passes(6, 4, 256),
    "many disagreements": passes(45, 43, 256),
    "losses alone": passes(8, 0, 256),
    "short": passes(5, 4, 48),
    "normal": np.random.default_rng(1).normal(0, 25, 64),
    "skewed": skewed(128),
    "skewed up": -skewed(128),
    "short and skewed": skewed(32),
    "short and skewed up": -skewed(32),
    "rare passes": np.array([118 / 128] * 10 + [-10 / 128] * 118),
    "gated": np.where(np.arange(64) % 7 == 0, 50.0, 0.0),
    "eight": np.random.default_rng(2).normal(0, 25, 8),
}


@pytest.mark.parametrize("kind", POPULATIONS)
@pytest.mark.parametrize("error_rate", [0.05, 0.2])
def test_a_claim_that_just_holds_is_given_up_no_more_often_than_stated(
    kind: str, error_rate: float
) -> None:
    values = POPULATIONS[kind] - POPULATIONS[kind].mean()
    n_total = len(values)
    looks = sorted({max(1, round(share * n_total)) for share in LOOKS})
    # what another whole run of the same spread would have shown
    spread = float(values.var())
    rng = np.random.default_rng(0)
    n_draws = 1500
    n_given_up = 0
    for _ in range(n_draws):
        order = rng.permutation(values)
        n_given_up += any(
            refuted(order[:n], n_total, looks=looks, error_rate=error_rate, spread=spread)
            for n in looks
        )
    # three standard errors of the simulation itself
    slack = 3 * math.sqrt(error_rate * (1 - error_rate) / n_draws)
    assert n_given_up / n_draws <= error_rate + slack


def test_a_claim_far_from_the_truth_is_given_up_early() -> None:
    rng = np.random.default_rng(0)
    values = passes(70, 20, 256) - 60 / 256 - 0.01
    looks = [max(1, round(share * 256)) for share in LOOKS]
    ended = []
    for _ in range(200):
        order = rng.permutation(values)
        found = (n for n in looks if refuted(order[:n], 256, looks=looks, error_rate=0.05))
        ended.append(next(found, 256))
    assert np.mean(ended) < 0.3 * 256


def test_the_way_to_a_refutation_by_hand() -> None:
    # one look of 10 at 5 %: bound 1.645; mean -1/2, square 3/4; 1 / (0.01 + 0.0924 / 0.75) - 4
    wanting = answers_to_refute([-1, -1, 0, 0], 100, looks=[10], error_rate=0.05)
    bound = pocock_bound((10,), 100, 0.05)
    assert wanting == pytest.approx(1 / (0.01 + (0.5 / bound) ** 2 / 0.75) - 4)
    assert wanting == pytest.approx(3.51, abs=0.005)
    # past the bound already, though not at a look
    assert answers_to_refute([-1.0] * 20, 100, looks=[10], error_rate=0.05) == 0


def test_nothing_leads_to_a_refutation_of_what_holds_so_far() -> None:
    for seen, error_rate in (([], 0.05), ([1, -1], 0.05), ([-1, -1], 0.05), ([-1], 0.0)):
        assert answers_to_refute(seen, 2, looks=[1], error_rate=error_rate) == math.inf


@given(st.lists(st.floats(-1, 0.5), min_size=4, max_size=40))
def test_as_many_numbers_like_those_seen_bring_z_to_the_bound(seen: list[float]) -> None:
    n_total, looks = 10**6, (50, 100)
    wanting = answers_to_refute(seen, n_total, looks=looks, error_rate=0.05)
    if 0 < wanting < math.inf:
        z = claim_z(seen, n_total)
        assert z is not None
        # z grows with the root of 1 / (1/n - 1/N)
        n = len(seen)
        grown = math.sqrt((1 / n - 1 / n_total) / (1 / (n + wanting) - 1 / n_total))
        assert z * grown == pytest.approx(-pocock_bound(looks, n_total, 0.05), rel=1e-6)
