"""Slop by hand."""

import pytest

from metrics.lexicon import Entry, Lexicon, Origin
from metrics.slop import SlopHits, SlopPlace, content_words, slop, slop_hits, slop_places
from metrics.text import words

LIST = Lexicon(
    name="hand",
    origin=Origin(method="by hand"),
    words=(Entry(text="tapestry"), Entry(text="whisper")),
    bigrams=(Entry(text="barely whisper"),),
    trigrams=(Entry(text="voice barely whisper"),),
)


def test_a_trigram_contains_its_bigram_and_word() -> None:
    # without stop words: voice barely whisper; w = 1, b = 1, t = 1: 1 + 2 + 4
    hits = slop_hits(words("Her voice, barely above a whisper."), LIST)
    assert hits == SlopHits(words=1, bigrams=1, trigrams=1)
    assert hits.total == 3
    assert hits.weight == 7
    assert slop(hits, 6) == pytest.approx(7000 / 6)


def test_places_are_word_indices_and_hold_the_function_words_between() -> None:
    # her 0 voice 1 barely 2 above 3 a 4 whisper 5
    assert slop_places(words("Her voice, barely above a whisper."), LIST) == [
        SlopPlace(5, 6, 1),
        SlopPlace(2, 6, 2),
        SlopPlace(1, 6, 3),
    ]


def test_order_and_gaps_matter() -> None:
    hits = slop_hits(words("A whisper, barely a voice. Tapestry! He barely ran; whisper."), LIST)
    assert hits == SlopHits(words=3, bigrams=0, trigrams=0)


def test_an_empty_text_has_no_rate() -> None:
    hits = slop_hits([], LIST)
    assert hits.weight == 0
    assert slop(hits, 0) is None


def test_content_words_leave_out_function_words_and_contractions() -> None:
    assert content_words(words("It wasn't the old man's fault, they'd said")) == [
        "old",
        "man's",
        "fault",
        "said",
    ]
