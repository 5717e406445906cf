"""Divergence, by hand and by its laws."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metrics.divergence import TokenDivergence, compare_logits, summarise

LOG3 = math.log(3)


def compare(baseline: Any, candidate: Any, tokens: list[int]) -> TokenDivergence:
    rows = np.arange(len(tokens))
    return compare_logits(
        np.array(baseline, np.float32), np.array(candidate, np.float32), rows, np.array(tokens)
    )


def test_divergence_of_a_loaded_coin_from_a_fair_one() -> None:
    # base (1/2, 1/2), candidate (1/4, 3/4):
    # KL = 1/2 log(1/2 / 1/4) + 1/2 log(1/2 / 3/4) = 1/2 log 2 + 1/2 log 2/3 = 1/2 log 4/3
    found = compare([[7, 7]], [[0, LOG3]], [1])
    assert found.kl[0] == pytest.approx(0.5 * math.log(4 / 3), abs=1e-7)
    assert found.same_top.tolist() == [False]
    assert found.baseline_nll[0] == pytest.approx(math.log(2))
    assert found.candidate_nll[0] == pytest.approx(math.log(4 / 3), abs=1e-7)


def test_divergence_has_a_direction() -> None:
    # the other way round: 1/4 log 1/2 + 3/4 log 3/2
    found = compare([[0, LOG3]], [[7, 7]], [0])
    assert found.kl[0] == pytest.approx(0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2), abs=1e-7)


def test_a_token_without_a_chance_adds_nothing() -> None:
    found = compare([[0, 0, -np.inf]], [[0, 0, 0]], [0])
    # (1/2, 1/2, 0) against thirds: log 3/2
    assert found.kl[0] == pytest.approx(math.log(3 / 2))


def test_several_tokens_of_one_row() -> None:
    found = compare_logits(
        np.array([[0, LOG3]], np.float32),
        np.array([[0, LOG3]], np.float32),
        np.array([0, 0]),
        np.array([0, 1]),
    )
    assert found.baseline_nll == pytest.approx([math.log(4), math.log(4 / 3)], abs=1e-7)


logits = hnp.arrays(np.float32, (9, 5), elements=st.floats(-20, 20, width=32))


@given(baseline=logits, candidate=logits, shift=st.floats(-5, 5, width=16))
def test_divergence_is_never_negative_and_ignores_a_shift(
    baseline: Any, candidate: Any, shift: float
) -> None:
    tokens = [0] * 9
    found = compare(baseline, candidate, tokens)
    assert (found.kl >= 0).all()
    assert compare(baseline, baseline, tokens).kl == pytest.approx(np.zeros(9), abs=1e-12)
    shifted = compare(baseline, candidate + np.float32(shift), tokens)
    assert shifted.kl == pytest.approx(found.kl, rel=1e-3, abs=1e-4)


def text(kl: list[float], same: list[bool], baseline: float, candidate: float) -> TokenDivergence:
    n = len(kl)
    return TokenDivergence(
        np.array(kl), np.array(same, np.bool_), np.full(n, baseline), np.full(n, candidate)
    )


def test_summary_by_hand() -> None:
    # five tokens: 0.1, 0.2, 0.3, 0.4, 1.0
    texts = [
        text([0.1, 1.0], [True, False], math.log(2), math.log(4)),
        text([0.4, 0.2, 0.3], [True, True, True], math.log(2), math.log(4)),
    ]
    found = summarise(texts)
    assert found["mean"].value == pytest.approx(0.4)
    assert found["median"].value == pytest.approx(0.3)
    # linear between the fourth and the fifth: 0.4 + 0.96 * 0.6
    assert found["p99"].value == pytest.approx(0.976)
    assert found["max"].value == 1.0
    assert found["same_top"].value == pytest.approx(0.8)
    assert found["ppl_baseline"].value == pytest.approx(2)
    assert found["ppl_candidate"].value == pytest.approx(4)
    # every text has the same ratio, so nothing is uncertain
    assert (found["ppl_ratio"].low, found["ppl_ratio"].high) == pytest.approx((2, 2))
    assert {estimate.n for estimate in found.values()} == {2}


def test_intervals_of_quantiles_come_from_whole_texts() -> None:
    # resamples are (a, a), (a, b), (b, b): medians 1, 1 or 3, 3
    found = summarise([text([1.0, 1.0], [True] * 2, 1, 1), text([3.0, 3.0], [True] * 2, 1, 1)])
    assert (found["median"].low, found["median"].high) == (1.0, 3.0)
    assert (found["max"].low, found["max"].high) == (1.0, 3.0)
    assert found["max"].value == 3.0


def test_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(40):
        texts = [text(rng.exponential(size=20).tolist(), [True] * 20, 1, 1) for _ in range(25)]
        found = summarise(texts)["median"]
        assert found.low is not None and found.high is not None
        covered += found.low <= math.log(2) <= found.high
    assert covered >= 33


def test_one_text_has_no_interval_and_none_has_no_figure() -> None:
    one = summarise([text([0.5], [True], 1, 2)])
    assert (one["mean"].value, one["mean"].low, one["max"].high) == (0.5, None, None)
    none = summarise([text([], [], 1, 1)])
    assert {(e.value, e.n) for e in none.values()} == {(None, 0)}
