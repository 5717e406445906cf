"""Diversity by hand and against the definition."""

import random

import pytest

from metrics.diversity import WINDOW_WORDS, mattr


def test_one_window_is_a_type_token_ratio() -> None:
    assert mattr(["a", "b"] * 50) == pytest.approx(2 / 100)
    assert mattr([str(index) for index in range(100)]) == 1.0


def test_the_average_is_over_all_windows() -> None:
    # 100 different words, then one of them again: windows of 100 and of 99 + 1 known ones
    text = [str(index) for index in range(100)] + ["50"]
    assert mattr(text) == pytest.approx((1.0 + 0.99) / 2)


def test_below_a_window_there_is_none() -> None:
    assert mattr(["a"] * (WINDOW_WORDS - 1)) is None


def test_sliding_equals_counting_afresh() -> None:
    rng = random.Random(1)
    text = [rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(350)]
    ratios = [len(set(text[i : i + 100])) / 100 for i in range(251)]
    assert mattr(text) == pytest.approx(sum(ratios) / 251)
