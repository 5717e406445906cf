"""Text: what typography, markdown and thinking must not change, and where sentences end."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.text import (
    HEAD_WORDS,
    normalise,
    paragraphs,
    read_passage,
    sentences,
    strip_thinking,
    word_spans,
    words,
)


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ("<think>Hm.</think>Once.", "Once."),
        ("<thinking>\na\n</thinking>\n\nOnce.", "\n\nOnce."),
        ("<|channel>thought\nHm.\n<channel|>Once.", "Once."),
        ("<|channel|>analysis<|message|>Hm.<|end|>Once.", "Once."),
        ("Hm, yes.</think>Once.", "Once."),  # the prompt had opened the thought
        ("Once <channel|>more.", "Once more."),
        ("<think>one</think>A<think>two</think>B", "AB"),
        ("Before. <think>never closed", ""),
        ("I think, therefore", "I think, therefore"),
        ("", ""),
    ],
)
def test_thinking_is_cut(raw: str, answer: str) -> None:
    assert strip_thinking(raw) == answer


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("# The **Ice** Palace", "The Ice Palace"),
        ("> *Quoted* and _slanted_ and __bold__", "Quoted and slanted and bold"),
        ("- one\n* two\n3. three\n+ four", "one\ntwo\nthree\nfour"),
        ("a [label](https://x.org/a) and ![alt](b.png)", "a label and alt"),
        ("One.\n\n* * *\n\nTwo.\n---\n===\nThree.", "One.\nTwo.\nThree."),
        ("```python\ncode\n```", "python\ncode"),
        ("| a | b |\n|---|:-:|\n| c | d |", "| a | b |\n| c | d |"),
        ("~~gone~~ and \\*kept\\*", "gone and kept"),
        ("snake_case stays", "snake_case stays"),
        ("“Curly,” she said… ‘it’s’ – so", "\"Curly,\" she said... 'it's' — so"),
        ("hid\u200bden de\u00adlve", "hidden delve"),
        ("cafe\u0301", "caf\u00e9"),
        ("  two \t blanks\r\nnext ", "two blanks\nnext"),
    ],
)
def test_normal_form(raw: str, plain: str) -> None:
    assert normalise(raw) == plain


@given(st.text(alphabet="aB .!?\"'’“”*_#>-–\n`~[]()1|\\", max_size=80))
def test_words_survive_a_second_normalisation(raw: str) -> None:
    once = normalise(raw)
    assert words(normalise(once)) == words(once)
    assert unicodedata.is_normalized("NFC", once)


def test_words_are_lower_case_letters_with_inner_apostrophes() -> None:
    assert words("Don't 'quote' O'Brien's 3rd co-op, naïve rock'n'roll'") == [
        "don't",
        "quote",
        "o'brien's",
        "rd",
        "co",
        "op",
        "na",
        "ve",
        "rock'n'roll",
    ]
    assert words("") == []


@pytest.mark.parametrize(
    ("normal", "expected"),
    [
        ("He ran. She sat! Who? Me.", ["He ran.", "She sat!", "Who?", "Me."]),
        ('"Go!" he said. "Now."', ['"Go!" he said.', '"Now."']),
        (
            "Mr. Smith met Dr. J. R. Jones. They left.",
            ["Mr. Smith met Dr. J. R. Jones.", "They left."],
        ),
        ("Wait... what? Yes... He went.", ["Wait... what?", "Yes...", "He went."]),
        ("A title\nIt began. 1. 2.", ["A title", "It began."]),
        ("It cost 3.50 in all.", ["It cost 3.50 in all."]),
        ("...\n* ! *", []),
        ("", []),
    ],
)
def test_sentences(normal: str, expected: list[str]) -> None:
    assert sentences(normal) == expected


def test_paragraphs_without_words_are_left_out() -> None:
    assert paragraphs("One.\n...\n123\nTwo.") == ["One.", "Two."]


def test_head_ends_with_its_last_word_and_its_punctuation() -> None:
    passage = read_passage('He said "no." ' * 300)
    assert len(passage.words) == 900
    assert len(passage.head_words) == HEAD_WORDS
    assert passage.head.endswith('He said "no."')
    assert words(passage.head) == list(passage.head_words)
    assert sum(map(len, passage.head_sentences)) == HEAD_WORDS


def test_a_letter_that_grows_in_lower_case_does_not_shift_the_head() -> None:
    passage = read_passage("İstanbul waits. " * 400)
    assert len(passage.head_words) == HEAD_WORDS
    assert words(passage.head) == list(passage.head_words)


def test_a_long_text_without_tags_is_read_in_no_time() -> None:
    # quadratic patterns would need minutes for this
    assert len(read_passage("word " * 200_000).words) == 200_000


def test_word_spans_point_into_the_text_as_it_was_written() -> None:
    raw = "**Don\u2019t** so\u00adft \N{LATIN CAPITAL LETTER I WITH DOT ABOVE}x \u2026 Z"
    found = word_spans(raw)
    assert [(word, raw[start:end]) for word, start, end in found] == [
        ("don't", "Don\u2019t"),
        ("soft", "so\u00adft"),
        ("i", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}"),
        ("x", "x"),
        ("z", "Z"),
    ]


@given(st.text(alphabet="aB' .\n\u2019\u201c\u2014\u00ad\U0001f600"))
def test_word_spans_are_the_words_where_nothing_is_taken_out(raw: str) -> None:
    assert [word for word, _, _ in word_spans(raw)] == words(normalise(raw))
