"""Tests of loops: words, lines and signs that come again without end, and texts that do not."""

import pytest

from metrics.looping import ends_in_loop, is_looping

PROSE = (
    "He walked home past the mill, where the wheel had stopped for the night. A lamp burned. "
    "Somebody had left the gate open again, and the two dogs, which nobody owned, lay across the "
    "path as if they had been put there to stop him. They did not get up. What was it that his "
    "brother used to say about dogs? He could not remember; it was long ago."
)


@pytest.mark.parametrize(
    "text",
    [
        PROSE + " And then?" * 12,
        PROSE + "!" * 100,
        "GG" * 60,
        PROSE + "\n".join(["Yours, [Your Name]"] * 9) + "\nYours, [Your Name]\n",
        "ア" * 120,
        "the wheel had stopped for " * 20 + "once",  # no whole unit at the end, but few trigrams
    ],
)
def test_loops_are_found(text: str) -> None:
    assert is_looping(text)


@pytest.mark.parametrize(
    "text", ["", "no", PROSE, PROSE + "-" * 80, "a list: one, one, two", PROSE + " Ha! Ha! Ha!"]
)
def test_what_ends_is_no_loop(text: str) -> None:
    assert not is_looping(text)


def test_four_times_and_a_hundred_characters_are_the_boundary() -> None:
    unit = "He did not get up at all. "  # 26 with its blank: the last one's blank is stripped
    assert not ends_in_loop(unit * 3)
    assert ends_in_loop("x" + unit * 4 + unit)
    assert ends_in_loop("ab" * 50)
    assert not ends_in_loop("ab" * 49 + "a")
