"""Mining: which words and phrases many models over-use.

Texts in, a lexicon out; knows nothing of files. A word or phrase is over-used when far more answers
have it than people's habits would lead one to expect. Those habits come from human prose of the
same kind, which is small, on top of `wordfreq`, which is large but knows single words only: a
phrase is expected as often as its words would meet by chance, times COLLOCATION for each join,
because words that go together meet more often than that.

What is kept must be said by several models and in answers to several prompts, so that neither one
model's tic nor one prompt's subject gets in. Names go to a list of their own: a model's taste in
names is real, but a story must call people something. Counting is by answer, not by word: what one
answer says ten times counts as said once.

The idea is slop-score's, https://github.com/sam-paech/slop-score; procedure and lists are ours.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from metrics.errors import WeighinError
from metrics.lexicon import Entry, Lexicon, Origin
from metrics.slop import content_words
from metrics.text import normalise, sentences, words

COLLOCATION = 20.0
"""How many times as often as by chance two content words of a common phrase meet."""
BASELINE_WORDS = 100_000
"""Words of human prose that the wordfreq baseline is worth when the two are joined."""
NAME_SHARE = 0.85
"""Share of capitals among a word's uses inside sentences from which it is a name."""
MIN_FREQUENCY = 1e-8
"""Frequency of a word that wordfreq does not know."""


class Threshold(NamedTuple):
    """What n-grams of one length must reach to be kept."""

    n_answers: int
    """Answers that have it."""

    n_models: int
    """Models that use it (all of them, where there are fewer)."""

    n_prompts: int
    """Prompts in whose answers it occurs (all of them, where there are fewer)."""

    ratio: float
    """Answers that have it / answers expected to have it."""

    max_entries: int
    """The most that are kept, the strongest first."""


THRESHOLDS: Mapping[int, Threshold] = {
    1: Threshold(n_answers=12, n_models=5, n_prompts=8, ratio=4.0, max_entries=800),
    2: Threshold(n_answers=6, n_models=4, n_prompts=4, ratio=20.0, max_entries=800),
    3: Threshold(n_answers=4, n_models=3, n_prompts=3, ratio=500.0, max_entries=400),
}
"""By length. A longer phrase is rarer, so fewer uses of it are already many; and its ratio must be
larger, because COLLOCATION falls short of how often set phrases ("three days later") meet."""
NAMES = Threshold(n_answers=6, n_models=4, n_prompts=4, ratio=4.0, max_entries=200)
"""For names, which live in few stories each."""
MIN_LETTERS = 3
"""A shorter word is mostly a piece of one: "th" of 19th, "j vu" of déjà vu."""

Gram = tuple[str, ...]
Frequency = Callable[[str], float]


class ModelText(NamedTuple):
    """One answer, with what it answers."""

    model: str
    prompt: str
    text: str


def mine(
    answers: Sequence[ModelText],
    human: Sequence[str],
    *,
    name: str,
    held_out: Sequence[str] = (),
    sources: Sequence[str] = (),
    frequency: Frequency | None = None,
) -> Lexicon:
    """Find the words, bigrams and trigrams that models over-use.

    Args:
        answers: Texts of one or more models; those of the models in `held_out` are not looked at.
        human: Prose by people, of the same kind.
        name: Name of the lexicon.
        held_out: Models kept apart, to see that the lexicon holds for models it has not seen.
        sources: Where the texts are from, for the record.
        frequency: Share of a word among all words of English; None asks wordfreq.

    Raises:
        WeighinError: there are no answers or no human texts, or wordfreq is needed and missing.
    """
    used = [answer for answer in answers if answer.model not in held_out]
    if not used or not human:
        raise WeighinError(
            f"mining needs texts of models and of people: got {len(used)} and {len(human)}"
        )
    frequency = wordfreq_frequency() if frequency is None else frequency
    texts = [_read(answer.text) for answer in used]
    people = [_read(text) for text in human]
    names = _names(texts)
    n_human_words = sum(text.n_words for text in people)
    mean_words = sum(text.n_words for text in texts) / len(texts)

    def judged(length: int, threshold: Threshold) -> list[Entry]:
        human_counts = Counter(gram for text in people for gram in text.grams(length))
        kept = []
        for entry in _candidates(used, texts, length, threshold):
            chance = COLLOCATION ** (length - 1) * math.prod(
                max(MIN_FREQUENCY, frequency(word)) for word in entry.key
            )
            seen = (human_counts[entry.key] + BASELINE_WORDS * chance) / (
                n_human_words + BASELINE_WORDS
            )
            expected = len(texts) * -math.expm1(-max(chance, seen) * mean_words)
            ratio = entry.count / expected
            if ratio >= threshold.ratio:
                kept.append(entry.model_copy(update={"ratio": float(f"{ratio:.4g}")}))
        return kept

    found = {
        length: _strongest(
            (entry for entry in judged(length, threshold) if names.isdisjoint(entry.key)),
            threshold.max_entries,
        )
        for length, threshold in THRESHOLDS.items()
    }
    called = _strongest(
        (entry for entry in judged(1, NAMES) if entry.text in names), NAMES.max_entries
    )
    return Lexicon(
        name=name,
        origin=Origin(
            method="weighin lexicon mine",
            sources=tuple(sources),
            models=tuple(sorted({answer.model for answer in used})),
            held_out=tuple(sorted(held_out)),
            n_model_words=sum(text.n_words for text in texts),
            n_human_words=n_human_words,
            settings=_settings(),
        ),
        words=tuple(found[1]),
        bigrams=tuple(found[2]),
        trigrams=tuple(found[3]),
        names=tuple(called),
    )


def wordfreq_frequency() -> Frequency:
    """English word frequencies of wordfreq, which is needed for mining only.

    Raises:
        WeighinError: wordfreq is not installed.
    """
    try:
        from wordfreq import word_frequency
    except ImportError as error:
        raise WeighinError(
            "mining needs wordfreq, which is not installed: pip install 'weighin[lexicon]'"
        ) from error

    def frequency(word: str) -> float:
        return float(word_frequency(word, "en"))

    return frequency


@dataclass(frozen=True)
class _Text:
    n_words: int
    content: list[str]
    capitals: Counter[str]
    uses: Counter[str]

    def grams(self, length: int) -> set[Gram]:
        """Its different content n-grams."""
        return set(zip(*(self.content[start:] for start in range(length)), strict=False))


_CASED_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")


def _read(text: str) -> _Text:
    normal = normalise(text)
    every = words(normal)
    capitals: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for sentence in sentences(normal):
        for word in _CASED_WORD.findall(sentence)[1:]:
            uses[word.lower()] += 1
            capitals[word.lower()] += word[0].isupper() and not word.isupper()
    return _Text(len(every), content_words(every), capitals, uses)


def _settings() -> dict[str, float]:
    """Every constant that the outcome depends on."""
    fixed = {
        "collocation": COLLOCATION,
        "baseline_words": BASELINE_WORDS,
        "name_share": NAME_SHARE,
        "min_frequency": MIN_FREQUENCY,
        "min_letters": MIN_LETTERS,
    }
    by_kind = {"words": THRESHOLDS[1], "bigrams": THRESHOLDS[2], "trigrams": THRESHOLDS[3]}
    by_kind["names"] = NAMES
    return fixed | {
        f"{kind}.{field}": value
        for kind, threshold in by_kind.items()
        for field, value in threshold._asdict().items()
    }


def _names(texts: Iterable[_Text]) -> frozenset[str]:
    """Words that are nearly always capitalised inside sentences, with their possessives."""
    capitals: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for text in texts:
        capitals.update(text.capitals)
        uses.update(text.uses)
    return frozenset(word for word in uses if capitals[word] >= NAME_SHARE * uses[word])


def _candidates(
    answers: Sequence[ModelText], texts: Sequence[_Text], length: int, threshold: Threshold
) -> list[Entry]:
    """N-grams that enough answers, models and prompts have; `count` is in answers."""
    counts: Counter[Gram] = Counter()
    models: dict[Gram, set[str]] = defaultdict(set)
    prompts: dict[Gram, set[str]] = defaultdict(set)
    for answer, text in zip(answers, texts, strict=True):
        for gram in text.grams(length):
            counts[gram] += 1
            models[gram].add(answer.model)
            prompts[gram].add(answer.prompt)
    n_models = min(threshold.n_models, len({answer.model for answer in answers}))
    n_prompts = min(threshold.n_prompts, len({answer.prompt for answer in answers}))
    return [
        Entry(
            text=" ".join(gram),
            count=count,
            n_models=len(models[gram]),
            n_prompts=len(prompts[gram]),
        )
        for gram, count in counts.items()
        if count >= threshold.n_answers
        and min(map(len, gram)) >= MIN_LETTERS
        and len(models[gram]) >= n_models
        and len(prompts[gram]) >= n_prompts
    ]


def _strongest(entries: Iterable[Entry], limit: int) -> list[Entry]:
    """The most over-used first: by answers x log ratio, which weighs how often with how much."""

    def strength(entry: Entry) -> tuple[float, str]:
        return -round(entry.count * math.log(entry.ratio or 1.0), 6), entry.text

    return sorted(entries, key=strength)[:limit]
