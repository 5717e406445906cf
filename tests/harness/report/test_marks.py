"""Marks by hand, and that they are what the metrics count."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.marks import Span, compare_texts, mark
from metrics.lexicon import Entry, Lexicon, Origin, default_lexicon
from metrics.prose import score_text

LIST = Lexicon(
    name="hand",
    origin=Origin(method="by hand"),
    words=(Entry(text="tapestry"), Entry(text="whisper")),
    bigrams=(Entry(text="barely whisper"),),
    trigrams=(),
)


def cut(text: str, spans: list[Span]) -> list[str]:
    return [text[start:end] for start, end in spans]


def test_slop_is_marked_in_the_text_as_it_was_written() -> None:
    text = (
        "> Her **voice** was *barely* above a WHISPER\u2026 "
        "a \u201ctapestry\u201d \U0001f600, tapestry."
    )
    assert cut(text, mark(text, LIST).slop) == [
        "barely* above a WHISPER",
        "tapestry",
        "tapestry",
    ]


def test_slop_beyond_the_rated_words_is_not_marked() -> None:
    text = "whisper " + "plain " * 749 + "whisper"
    assert mark(text, LIST).slop == [Span(0, 7)]


def test_repetition_is_marked_where_something_is_said_again() -> None:
    # the trigrams of the second "one two three four" are one two three, two three four
    text = "One two three four. And then: **one** two three four!"
    assert cut(text, mark(text, None).repeated) == ["one** two three four"]


def test_words_in_a_links_target_are_not_mistaken_for_the_text() -> None:
    text = "[a tapestry](http://tapestry.example/tapestry) hangs"
    assert cut(text, mark(text, LIST).slop) == ["tapestry"]
    assert mark(text, LIST).slop[0].start == 3


def test_a_text_without_words_has_no_marks() -> None:
    assert mark("", LIST) == mark("*** 42 \U0001f600", LIST) == ([], [])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["testament", "whisper", "dog", "ran", "the", "a"]), max_size=40))
def test_a_text_is_marked_exactly_where_it_scores(words: list[str]) -> None:
    text = " ".join(words)
    score, marks = score_text(text, default_lexicon()), mark(text, default_lexicon())
    assert bool(marks.slop) == (score.slop_hits > 0)
    assert bool(marks.repeated) == bool(score.rep3g_whole)


def test_one_word_that_differs() -> None:
    changes = compare_texts("The dogs bark at the moon.", "The dogs bark at the sun.")
    assert (changes.baseline, changes.candidate) == ([Span(21, 25)], [Span(21, 24)])
    assert changes.common == 6 / 7  # with the full stop


def test_white_space_is_no_difference() -> None:
    assert compare_texts("a b\n\nc", "a  b c") == ([], [], 1.0)
    assert compare_texts("", " \n") == ([], [], 1.0)


def test_what_was_left_out_is_marked_in_the_baseline_alone() -> None:
    before, after = "One. Two three. Four five six.", "One. Four five six."
    changes = compare_texts(before, after)
    assert cut(before, changes.baseline) == ["Two three."]
    assert changes.candidate == []


def test_a_word_or_two_in_common_by_chance_is_no_agreement() -> None:
    before, after = (
        "Start here now red of blue end it now",
        "Start here now big of small end it now",
    )
    changes = compare_texts(before, after)
    assert cut(before, changes.baseline) == ["red of blue"]
    assert cut(after, changes.candidate) == ["big of small"]


@given(st.text("ab .\n", max_size=30), st.text("ab .\n", max_size=30))
def test_what_is_not_marked_is_the_same(before: str, after: str) -> None:
    changes = compare_texts(before, after)

    def rest(text: str, spans: list[Span]) -> list[str]:
        for start, end in reversed(spans):
            text = f"{text[:start]} {text[end:]}"
        return re.findall(r"\w+|[^\w\s]", text)

    assert rest(before, changes.baseline) == rest(after, changes.candidate)
