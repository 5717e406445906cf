"""Repetition by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.repetition import rep3g, rep3g_whole, rep3g_worst, repeats


def test_one_repeat_in_four() -> None:
    # abc bca cab abc: 3 unique of 4, so 100 (1 - 3/4)
    assert rep3g_whole(tuple("abcabc")) == 25.0
    assert rep3g(tuple("abcabc")) == 25.0


def test_below_three_words_there_is_no_rate() -> None:
    for measure in (rep3g, rep3g_whole, rep3g_worst):
        assert measure(["a", "b"]) is None
        assert measure([]) is None
        assert measure(["a", "b", "c"]) == 0.0


def test_windows_slide_by_fifty_and_the_last_ends_with_the_text() -> None:
    # 400 different words, then one word 60 times: windows begin at 0, 50 and 60. Of their 398
    # trigrams 0, 47 and 57 repeat the one-word trigram: it comes 48 and 58 times.
    text = [f"w{index}" for index in range(400)] + ["x"] * 60
    expected = [0, 100 * 47 / 398, 100 * 57 / 398]
    assert rep3g(text) == pytest.approx(sum(expected) / 3)
    assert rep3g_worst(text) == pytest.approx(expected[-1])
    assert rep3g_whole(text) == pytest.approx(100 * 57 / 458)


def test_what_comes_back_after_a_window_is_seen_in_the_whole_only() -> None:
    block = [f"w{index}" for index in range(400)]
    assert rep3g_whole(block * 2) == pytest.approx(100 * 398 / 798)
    assert rep3g(block * 2) == 0.0


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=60))
def test_a_rate_is_a_percentage_and_doubling_never_lowers_it(text: list[str]) -> None:
    once, twice = rep3g_whole(text), rep3g_whole(text * 2)
    assert once is not None
    assert twice is not None
    assert 0 <= once <= twice < 100


def test_repeats_are_the_later_ones() -> None:
    # abc bca cab abc: the fourth trigram is the first again
    assert repeats(tuple("abcabc")) == [3]
    assert repeats(["a", "b"]) == []


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=60))
def test_repeats_are_what_the_rate_counts(text: list[str]) -> None:
    assert rep3g_whole(text) == 100 * len(repeats(text)) / (len(text) - 2)
