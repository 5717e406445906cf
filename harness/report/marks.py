"""Marks: where in two answers the differences, the slop and the repetition stand.

Texts in, spans out; knows nothing of HTML. What counts as slop or as a repeat is decided by
`metrics.slop` and `metrics.repetition` on the normal form of the text; here their words are found
again in the text as it was written. Differences are a longest common subsequence of words, by
rapidfuzz.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from metrics.lexicon import Lexicon

SHORTEST_AGREEMENT = 3
"""Words in a row that two texts must share to count as the same there: fewer is chance."""

_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""What a difference is made of: a word, or a mark of punctuation."""


class Span(NamedTuple):
    """A stretch of a text."""

    start: int
    """Index of its first character, a code point."""
    end: int
    """Index behind its last."""


class Marks(NamedTuple):
    """What is worth pointing at in one text."""

    slop: list[Span]
    """Listed words and phrases among the words that slop is rated on."""
    repeated: list[Span]
    """Word trigrams that the text has said before."""


class Changes(NamedTuple):
    """What each of two texts has that the other has not."""

    baseline: list[Span]
    candidate: list[Span]
    common: float
    """Share of the longer text's words that stand in both, in order; 1 where both are empty."""


def mark(text: str, lexicon: Lexicon | None) -> Marks:
    """Find slop and repetition in a text; overlapping places are joined.

    Args:
        text: An answer, thoughts cut.
        lexicon: What counts as slop; None looks for repetition alone.
    """
    from metrics.repetition import repeats
    from metrics.slop import slop_places
    from metrics.text import read_passage

    passage = read_passage(text)
    slop = [] if lexicon is None else slop_places(passage.head_words, lexicon)
    again = repeats(passage.words)
    if not slop and not again:
        return Marks([], [])
    where = _places_in(text, passage.words)
    return Marks(
        slop=_joined(_stretch(where[place.start : place.end]) for place in slop),
        repeated=_joined(_stretch(where[start : start + 3]) for start in again),
    )


def compare_texts(baseline: str, candidate: str) -> Changes:
    """Find what differs between two texts, word by word; white space is not compared."""
    from rapidfuzz.distance import Indel

    sides = [list(_TOKEN.finditer(text)) for text in (baseline, candidate)]
    tokens = [[match[0] for match in side] for side in sides]
    if tokens[0] == tokens[1]:
        return Changes([], [], common=1.0)
    same: tuple[list[bool], list[bool]] = ([False] * len(sides[0]), [False] * len(sides[1]))
    for code in Indel.opcodes(tokens[0], tokens[1]):
        n_shared = code.src_end - code.src_start
        at_edge = code.src_start == 0 or code.src_end == len(tokens[0])
        if code.tag == "equal" and (n_shared >= SHORTEST_AGREEMENT or at_edge):
            same[0][code.src_start : code.src_end] = [True] * n_shared
            same[1][code.dest_start : code.dest_end] = [True] * n_shared
    first, second = (
        _joined(
            (Span(*match.span()) for match, kept in zip(side, flags, strict=True) if not kept),
            across=text,
        )
        for side, flags, text in zip(sides, same, (baseline, candidate), strict=True)
    )
    return Changes(first, second, common=sum(same[0]) / max(len(same[0]), len(same[1])))


def _places_in(text: str, words: Sequence[str]) -> list[Span | None]:
    """Where each word of the text's normal form stands in the text; None where it was changed."""
    from rapidfuzz.distance import Indel

    from metrics.text import word_spans

    written = word_spans(text)
    places: list[Span | None] = [None] * len(words)
    for code in Indel.opcodes([word for word, _, _ in written], list(words)):
        if code.tag == "equal":
            spans = written[code.src_start : code.src_end]
            places[code.dest_start : code.dest_end] = [Span(start, end) for _, start, end in spans]
    return places


def _stretch(places: Sequence[Span | None]) -> Span | None:
    """From the first place to the last; None where an end is unknown."""
    first, last = places[0], places[-1]
    return None if first is None or last is None else Span(first.start, last.end)


def _joined(spans: Iterable[Span | None], *, across: str | None = None) -> list[Span]:
    """Spans in order, those that overlap as one.

    Args:
        spans: In any order; None is left out.
        across: A text within which spans with only white space between them are joined, too.
    """
    joined: list[Span] = []
    for span in sorted(span for span in spans if span is not None):
        last = joined[-1] if joined else None
        if last is not None and (
            span.start <= last.end
            or (across is not None and not across[last.end : span.start].strip())
        ):
            joined[-1] = Span(last.start, max(last.end, span.end))
        else:
            joined.append(span)
    return joined
