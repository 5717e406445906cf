"""Contrast: the constructions that count, and their neighbours that do not."""

import pytest

from metrics.contrast import contrast, contrast_count


@pytest.mark.parametrize(
    "text",
    [
        "It was not just a house but a home.",
        "He didn't merely walk but strode.",
        "She felt not fear, but joy.",
        "It smelled not of smoke but of rain.",
        "It wasn't anger. It was grief.",
        "This isn't a game, it's a war.",
        "It's not a phase; it's who I am.",
        "We're not lost, we're early.",
        "They weren't ghosts\u2014they were memories.",
        "The room was silent. Not peaceful. Just empty.",
        "Not a whisper. A roar.",
        "He came not because he cared but because he must.",
    ],
)
def test_counts_once(text: str) -> None:
    assert contrast_count(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "He did not go.",
        "She was not sure, but she went.",
        "I do not know the man who sold it to you.",
        "He did not look up, but the boy stayed.",
        "I don't know. It's late.",
        "You could not have seen it from the road, but nobody asked.",
        "But it was late. Not that he cared about it at all.",
        "He had nothing but a coat.",
        "It was not there. The door was shut.",
        "Not one of them spoke\nA door closed.",
    ],
)
def test_does_not_count(text: str) -> None:
    assert contrast_count(text) == 0


def test_two_in_a_row_are_two() -> None:
    assert contrast_count("It wasn't rage. It was grief. It isn't love, it's habit.") == 2


def test_rate_is_per_thousand_words() -> None:
    assert contrast(3, 1500) == 2.0
    assert contrast(0, 0) is None


def test_a_long_denial_is_searched_in_no_time() -> None:
    assert contrast_count("not only " + "word " * 200_000) == 0
