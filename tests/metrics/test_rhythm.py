"""Rhythm by hand."""

import pytest

from metrics.rhythm import MIN_SENTENCES, rhythm


def test_coefficient_of_variation() -> None:
    # lengths 2 4 4 4 5 5 7 9: mean 5, population standard deviation 2
    lengths = (2, 4, 4, 4, 5, 5, 7, 9)
    assert rhythm([("w",) * length for length in lengths]) == pytest.approx(2 / 5)


def test_a_metronome_is_zero() -> None:
    assert rhythm([("a", "b")] * MIN_SENTENCES) == 0.0


def test_few_sentences_have_none() -> None:
    assert rhythm([("a", "b")] * (MIN_SENTENCES - 1)) is None
    assert rhythm([]) is None
