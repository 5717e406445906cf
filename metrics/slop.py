"""Slop: how often a text uses the words and phrases that language models over-use.

Words and a lexicon in, numbers out; knows nothing of where the lexicon came from. A listed bigram
or trigram is matched in the text without its stop words, so "barely above a whisper" and "a whisper
barely" are told apart but "voice barely above a whisper" and "voice barely a whisper" are not.

Source: the idea is slop-score's, https://github.com/sam-paech/slop-score; the weights are ours.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from metrics.lexicon import Lexicon
from metrics.word_lists import stop_words

WORD_WEIGHT = 1
BIGRAM_WEIGHT = 2
TRIGRAM_WEIGHT = 4
"""A longer phrase is rarer and says more; it contains its shorter ones, which count too."""


class SlopHits(NamedTuple):
    """Listed words and phrases found in one text."""

    words: int
    bigrams: int
    trigrams: int

    @property
    def total(self) -> int:
        """Plain number of hits."""
        return self.words + self.bigrams + self.trigrams

    @property
    def weight(self) -> int:
        """w + 2 b + 4 t: the numerator of the rate."""
        return (
            WORD_WEIGHT * self.words + BIGRAM_WEIGHT * self.bigrams + TRIGRAM_WEIGHT * self.trigrams
        )


class SlopPlace(NamedTuple):
    """One hit: where in the words of a text it stands."""

    start: int
    """Index of its first word."""

    end: int
    """Index behind its last word; function words between its content words are within."""

    n_content: int
    """Content words of the listed phrase, 1 to 3."""


def slop_places(words: Sequence[str], lexicon: Lexicon) -> list[SlopPlace]:
    """Find listed words, bigrams and trigrams: first all words, then all bigrams, then trigrams.

    Args:
        words: Lower-case words of a text.
        lexicon: What counts as over-used.
    """
    stop = stop_words()
    content = [(index, word) for index, word in enumerate(words) if word not in stop]
    listed_words, listed_bigrams, listed_trigrams = (
        lexicon.word_set,
        lexicon.bigram_set,
        lexicon.trigram_set,
    )
    return [
        *(SlopPlace(i, i + 1, 1) for i, word in enumerate(words) if word in listed_words),
        *(
            SlopPlace(first, last + 1, 2)
            for (first, a), (last, b) in pairwise(content)
            if (a, b) in listed_bigrams
        ),
        *(
            SlopPlace(first, last + 1, 3)
            for (first, a), (_, b), (last, c) in zip(
                content, content[1:], content[2:], strict=False
            )
            if (a, b, c) in listed_trigrams
        ),
    ]


def slop_hits(words: Sequence[str], lexicon: Lexicon) -> SlopHits:
    """Count listed words, bigrams and trigrams.

    Args:
        words: Lower-case words of a text.
        lexicon: What counts as over-used.
    """
    lengths = [place.n_content for place in slop_places(words, lexicon)]
    return SlopHits(words=lengths.count(1), bigrams=lengths.count(2), trigrams=lengths.count(3))


def slop(hits: SlopHits, n_words: int) -> float | None:
    """Weighted hits per 1,000 words; None without words."""
    return 1000 * hits.weight / n_words if n_words else None


def content_words(words: Sequence[str]) -> list[str]:
    """The words without function words."""
    stop = stop_words()
    return [word for word in words if word not in stop]
