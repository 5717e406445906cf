"""Prose: every prose figure of one text, of a set of texts, and of two sets compared.

Texts and a lexicon in, records and estimates out; knows nothing of models, prompts or files. H is a
prose-style score: it measures style and form, not plot or sense.
"""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from metrics.contrast import contrast, contrast_count
from metrics.cross_repetition import xrep3
from metrics.diversity import mattr
from metrics.gates import named_gates
from metrics.lexicon import Lexicon
from metrics.openers import openers
from metrics.repetition import rep3g, rep3g_whole
from metrics.rhythm import rhythm
from metrics.slop import slop, slop_hits
from metrics.stats import (
    Estimate,
    bootstrap_mean,
    bootstrap_ratio,
    default_rng,
    paired_bootstrap,
)
from metrics.style import style_score
from metrics.text import read_passage

VERSION = 1
"""Raised whenever a figure of the same text would change."""
METRICS = (
    "word_count",
    "slop",
    "slop_hits",
    "rep3g",
    "rep3g_whole",
    "xrep3",
    "contrast",
    "rhythm",
    "diversity",
    "openers",
    "H",
)
"""Names of the figures of a set, in the order in which they are shown."""


class ProseScore(BaseModel):
    """Every figure of one text. A rate that the text is too short for is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    word_count: int
    """Words of the whole answer, thinking left out; 0 for an empty one."""

    rated_words: int
    """Words that the rates were taken over: at most the first 750."""

    slop_hits: int
    """Listed words and phrases found in the rated words."""

    slop_weight: int
    """The same, weighted: w + 2 b + 4 t."""

    contrast_count: int
    """"Not X but Y" constructions found in the rated words."""

    slop: float | None
    """Weighted hits per 1,000 rated words; lower is better."""

    rep3g: float | None
    """Repeated word trigrams in percent, mean over windows; lower is better."""

    rep3g_whole: float | None
    """The same over the whole answer at once."""

    contrast: float | None
    """The constructions per 1,000 rated words; lower is better."""

    rhythm: float | None
    """Coefficient of variation of sentence lengths; human prose lies in a band."""

    diversity: float | None
    """Moving-average type-token ratio; human prose lies in a band."""

    openers: float | None
    """Share of neighbouring sentences that begin alike; lower is better."""

    gate: float
    """G, the product of the gates, 0 to 1: what H was multiplied by."""

    H: float
    """Prose-style score, 0 to 100; higher is closer to human prose."""


def score_text(text: str, lexicon: Lexicon, *, length_gate: bool = True) -> ProseScore:
    """Every figure of one text.

    Args:
        text: A raw completion; thinking and markdown are taken out here.
        lexicon: What counts as slop.
        length_gate: Whether H is lowered for texts under 250 words; turn off for short tasks.
    """
    passage = read_passage(text)
    head = passage.head_words
    hits = slop_hits(head, lexicon)
    n_contrasts = contrast_count(passage.head)
    rates = {
        "slop": slop(hits, len(head)),
        "rep3g": rep3g(head),
        "rhythm": rhythm(passage.head_sentences),
        "contrast": contrast(n_contrasts, len(head)),
        "diversity": mattr(head),
        "openers": openers(passage.head_sentences),
    }
    gate = math.prod(named_gates(passage.normal, passage.words, with_length=length_gate).values())
    return ProseScore(
        word_count=len(passage.words),
        rated_words=len(head),
        slop_hits=hits.total,
        slop_weight=hits.weight,
        contrast_count=n_contrasts,
        rep3g_whole=rep3g_whole(passage.words),
        gate=gate,
        H=style_score(rates, gate),
        **rates,
    )


def signature(lexicon: Lexicon, *, length_gate: bool = True) -> str:
    """What prose scores depend on besides the texts; only scores that share it can be compared.

    Returns:
        Such as `prose|v:1|lexicon:weighin-1@0123abcd|length_gate:on`.
    """
    gate = "on" if length_gate else "off"
    lexicon_id = f"{lexicon.name}@{lexicon.sha256[:8]}"
    return f"prose|v:{VERSION}|lexicon:{lexicon_id}|length_gate:{gate}"


def summarise(
    scores: Sequence[ProseScore],
    *,
    prompts: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
) -> dict[str, Estimate]:
    """The figures of a set of texts, except `xrep3`, which needs the texts themselves.

    `slop` and `contrast` are pooled (hits of all texts over words of all texts); the others are
    means over the texts where they are defined. An empty answer counts as 0 words and H = 0. Every
    n is the number of texts that a figure is made of.

    Args:
        scores: One per text.
        prompts: Prompt id of each text, where a prompt has several samples; intervals resample
            prompts with all their texts. None: every text has a prompt of its own.
        rng: Seeded generator for the intervals; a fixed one where none is given.
    """
    rng = default_rng() if rng is None else rng
    owners = [str(index) for index in range(len(scores))] if prompts is None else prompts
    groups: dict[str, list[ProseScore]] = {}
    for owner, score in zip(owners, scores, strict=True):
        groups.setdefault(owner, []).append(score)

    def pooled(numerator: str, denominator: str) -> Estimate:
        estimate = bootstrap_ratio(
            [sum(getattr(s, numerator) for s in group) for group in groups.values()],
            [sum(getattr(s, denominator) for s in group) for group in groups.values()],
            rng=rng,
            scale=1000.0,
        )
        n = sum(getattr(score, denominator) > 0 for score in scores)
        return estimate.model_copy(update={"n": n})

    def mean(name: str) -> Estimate:
        values = [
            [value for s in group if (value := getattr(s, name)) is not None]
            for group in groups.values()
        ]
        counts = [len(group) for group in values]
        if max(counts, default=0) <= 1:
            return bootstrap_mean([value for group in values for value in group], rng=rng)
        estimate = bootstrap_ratio([math.fsum(group) for group in values], counts, rng=rng)
        return estimate.model_copy(update={"n": sum(counts)})

    return {
        "word_count": mean("word_count"),
        "slop": pooled("slop_weight", "rated_words"),
        "slop_hits": mean("slop_hits"),
        "rep3g": mean("rep3g"),
        "rep3g_whole": mean("rep3g_whole"),
        "contrast": pooled("contrast_count", "rated_words"),
        "rhythm": mean("rhythm"),
        "diversity": mean("diversity"),
        "openers": mean("openers"),
        "H": mean("H"),
    }


def score_texts(
    texts: Sequence[str],
    lexicon: Lexicon,
    *,
    prompts: Sequence[str] | None = None,
    length_gate: bool = True,
    rng: np.random.Generator | None = None,
) -> tuple[list[ProseScore], dict[str, Estimate]]:
    """Score a set of texts: one record each, and every figure of METRICS over all of them.

    Args:
        texts: One model's answers.
        lexicon: What counts as slop.
        prompts: Prompt id of each answer, where a prompt has several samples.
        length_gate: As for `score_text`.
        rng: Seeded generator for the intervals; a fixed one where none is given.
    """
    rng = default_rng() if rng is None else rng
    scores = [score_text(text, lexicon, length_gate=length_gate) for text in texts]
    figures = summarise(scores, prompts=prompts, rng=rng)
    figures["xrep3"] = xrep3(texts, prompts, rng=rng)
    return scores, {name: figures[name] for name in METRICS}


def h_delta(
    baseline: Sequence[ProseScore],
    candidate: Sequence[ProseScore],
    *,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Mean over prompts of H(candidate) - H(baseline), in points of H.

    Args:
        baseline, candidate: One score per prompt, in the same order, from runs with the same
            prompts, settings and seeds.
        rng: Seeded generator; a fixed one where none is given.

    Raises:
        WeighinError: the two differ in length.
    """
    rng = default_rng() if rng is None else rng
    return paired_bootstrap([s.H for s in baseline], [s.H for s in candidate], rng=rng)
