"""Tests of pooled rates, against enumeration by hand and the tests they must agree with."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.rates import smallest_rate_difference, swap_test
from metrics.stats import sign_flip_test, smallest_difference

PAIRS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9)),
    min_size=2,
    max_size=6,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@settings(deadline=None)
@given(PAIRS)
def test_swap_test_is_the_enumeration_of_all_exchanges(pairs: list[tuple[int, ...]]) -> None:
    def difference(swapped: tuple[bool, ...]) -> float:
        sides = [
            (c, d, a, b) if swap else (a, b, c, d)
            for (a, b, c, d), swap in zip(pairs, swapped, strict=True)
        ]
        a, b, c, d = (sum(column) for column in zip(*sides, strict=True))
        return c / d - a / b

    seen = difference((False,) * len(pairs))
    every = [difference(s) for s in product((False, True), repeat=len(pairs))]
    above, below = (
        sum(sign * found >= sign * seen - 1e-12 for found in every) / len(every) for sign in (1, -1)
    )
    columns = [[float(p[i]) for p in pairs] for i in range(4)]
    found = swap_test((columns[0], columns[1]), (columns[2], columns[3]), rng=rng())
    assert found == pytest.approx(min(1.0, 2 * min(above, below)))


def test_equal_denominators_make_it_the_sign_flip_test() -> None:
    before, after, words = [1.0, 4.0, 2.0, 0.0, 3.0], [3.0, 5.0, 2.0, 4.0, 3.0], [10.0] * 5
    found = swap_test((before, words), (after, words), rng=rng())
    moved = [b - a for a, b in zip(before, after, strict=True)]
    assert found == pytest.approx(sign_flip_test(moved, rng=rng()))
    smallest = smallest_rate_difference((before, words), (after, words))
    assert smallest == pytest.approx(smallest_difference([m / 10 for m in moved]))


def test_a_prompt_without_words_is_left_out_of_both() -> None:
    found = swap_test(([1.0, 9.0], [5.0, 0.0]), ([2.0, 9.0], [5.0, 5.0]), rng=rng())
    assert found == 1.0  # one pair is left, and both ways round are equally far apart
    assert swap_test(([], []), ([], []), rng=rng()) is None
    assert smallest_rate_difference(([1.0], [5.0]), ([2.0], [5.0])) is None
