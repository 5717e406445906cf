"""Cross-repetition by hand."""

import pytest

from metrics.cross_repetition import xrep3, xrep3_counts

# content words: old clock ticked slowly / old clock ticked twice / green door creaked open
TEXTS = ["The old clock ticked slowly.", "An old clock ticked twice.", "Green door creaked open."]


def test_only_what_two_answers_share_comes_back() -> None:
    # 2 trigrams each; "old clock ticked" is in the first two
    assert xrep3_counts(TEXTS) == [(1, 2), (1, 2), (0, 2)]
    estimate = xrep3(TEXTS)
    assert estimate.value == pytest.approx(100 * 2 / 6)
    assert estimate.n == 3


def test_samples_of_one_prompt_do_not_count_as_coming_back() -> None:
    assert xrep3_counts(TEXTS, ["a", "a", "b"]) == [(0, 2), (0, 2), (0, 2)]
    assert xrep3_counts([*TEXTS, TEXTS[0]], ["a", "a", "b", "b"])[0] == (2, 2)


def test_within_one_answer_nothing_comes_back() -> None:
    assert xrep3_counts(["old clock ticked. " * 3, "green door"]) == [(0, 3), (0, 0)]


def test_one_answer_is_not_a_set() -> None:
    assert xrep3(TEXTS[:1]).value is None
    assert xrep3([]).value is None
    assert xrep3(["", ""]).value is None
