"""H by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.style import LIMITS, closeness, style_score

HUMAN: dict[str, float | None] = {
    "slop": 5.0,
    "rep3g": 1.0,
    "contrast": 0.0,
    "rhythm": 0.8,
    "diversity": 0.7,
    "openers": 0.05,
}


def test_weights_add_up_to_one() -> None:
    assert math.fsum(limit.weight for limit in LIMITS.values()) == pytest.approx(1)


def test_human_rates_score_a_hundred() -> None:
    assert style_score(HUMAN, 1.0) == 100.0
    assert style_score(HUMAN, 0.4) == 40.0


def test_one_tau_beyond_the_limit_costs_its_weight_but_for_one_e_th() -> None:
    # slop 72 is one tau of 60 beyond 12: 100 (0.6 + 0.4 / e)
    assert style_score(HUMAN | {"slop": 72.0}, 1.0) == pytest.approx(
        100 * (0.6 + 0.4 / math.e), abs=1e-6
    )


def test_a_band_has_two_ends() -> None:
    assert closeness("diversity", 0.67 - 0.06) == pytest.approx(1 / math.e)
    assert closeness("diversity", 0.78 + 0.06) == pytest.approx(1 / math.e)
    assert closeness("diversity", 0.70) == 1.0


def test_undefined_rates_leave_the_sum() -> None:
    # only slop (0.40) and openers (0.10) defined, openers one tau beyond: (0.4 + 0.1 / e) / 0.5
    rates = dict.fromkeys(HUMAN) | {"slop": 0.0, "openers": 0.27}
    assert style_score(rates, 1.0) == pytest.approx(100 * (0.4 + 0.1 / math.e) / 0.5, abs=1e-6)
    assert style_score(dict.fromkeys(HUMAN), 1.0) == 0.0


def test_a_closed_gate_is_zero() -> None:
    assert style_score(HUMAN, 0.0) == 0.0


@given(st.floats(0, 500), st.floats(0, 200))
def test_more_slop_never_raises_h(slop: float, more: float) -> None:
    assert style_score(HUMAN | {"slop": slop + more}, 1.0) <= style_score(
        HUMAN | {"slop": slop}, 1.0
    )
