"""Tests of attribution: parts add up, and a factor that alone moved gets all of it."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.attribution import attribute
from metrics.gates import named_gates
from metrics.lexicon import default_lexicon
from metrics.prose import ProseScore, score_text
from metrics.style import LIMITS, style_score
from metrics.text import read_passage

GATES = ("loop", "salad", "english", "length", "refusal")
RATES = st.fixed_dictionaries(
    {name: st.none() | st.floats(0, 60, allow_subnormal=False) for name in LIMITS}
)
OPEN = st.fixed_dictionaries({name: st.floats(0, 1) for name in GATES})
HUMAN = {name: (0.7 if name in ("rhythm", "diversity") else 0.0) for name in LIMITS}
WIDE = dict.fromkeys(GATES, 1.0)


@settings(deadline=None)
@given(RATES, OPEN, RATES, OPEN)
def test_parts_add_up_to_the_difference_of_h(
    rates: dict[str, float | None],
    gates: dict[str, float],
    other_rates: dict[str, float | None],
    other_gates: dict[str, float],
) -> None:
    parts = attribute((rates, gates), (other_rates, other_gates))
    before, after = (
        style_score(r, math.prod(g.values()))
        for r, g in ((rates, gates), (other_rates, other_gates))
    )
    assert sum(parts.values()) == pytest.approx(after - before, abs=1e-5)


def test_a_gate_that_alone_closed_has_all_of_it() -> None:
    parts = attribute((HUMAN, WIDE), (HUMAN, WIDE | {"loop": 0.25}))
    assert parts["loop"] == pytest.approx(-75)
    assert {name for name, points in parts.items() if points} == {"loop"}


def test_a_rate_that_alone_moved_has_all_of_it() -> None:
    # slop weighs 0.40; one tau beyond its limit leaves 1/e of that
    limit = LIMITS["slop"]
    parts = attribute((HUMAN, WIDE), (HUMAN | {"slop": limit.high + limit.tau}, WIDE))
    assert parts["slop"] == pytest.approx(-40 * (1 - math.exp(-1)))
    assert {name for name, points in parts.items() if points} == {"slop"}


def test_two_gates_share_a_loss_fairly() -> None:
    # both halve: 100 to 25, each is the first to change in one of two orders: (50 + 25) / 2
    parts = attribute((HUMAN, WIDE), (HUMAN, WIDE | {"loop": 0.5, "salad": 0.5}))
    assert (parts["loop"], parts["salad"]) == (pytest.approx(-37.5), pytest.approx(-37.5))


@pytest.mark.parametrize("text", ["", "I'm sorry, but I cannot help with that.", "word " * 60])
def test_named_gates_multiply_to_the_score_s_gate(text: str) -> None:
    for with_length in (True, False):
        score: ProseScore = score_text(text, default_lexicon(), length_gate=with_length)
        passage = read_passage(text)
        gates = named_gates(passage.normal, passage.words, with_length=with_length)
        assert tuple(gates) == GATES
        assert math.prod(gates.values()) == score.gate
