"""Verdict: what a comparison comes to, in a sentence.

Comparisons in, English out. A sentence claims only what the tests show at the 5 % level; where
nothing is shown, its evidence says what could have been missed.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from harness.comparison.records import Comparison, Difference
from harness.report.document import Tone
from harness.report.numerals import interval, is_fraction, number, p_of, p_text, tone_of

STRICT = ".prompt_level_strict_acc"
STYLE = ".H"


class Verdict(NamedTuple):
    """A claim and what it rests on."""

    sentence: str
    evidence: str
    """The figures behind it; empty where there are none."""


def verdict_on(comparison: Comparison) -> Verdict:
    """One candidate against the baseline: instructions, then prose.

    Args:
        comparison: Of scored runs.
    """
    judged = [(d, tone_of(d)) for d in _heads(comparison)]
    other = "the baseline" if comparison.baseline == "baseline" else comparison.baseline
    if not judged:
        return Verdict(f"{comparison.candidate} was compared with {other}.", "")
    sentence = f"{comparison.candidate} {_claim(*judged[0])}"
    if judged[0][1] is not None:
        sentence += f" than {other}"
    for (_, before), (row, after) in pairwise(judged):
        if before is None and after is None:
            sentence += f", nor {_claim(row, after).removeprefix('shows no difference ')}"
            continue
        opposed = {before, after} == {"better", "worse"}
        sentence += f"{', but' if opposed else ' and'} {_claim(row, after)}"
    return Verdict(sentence + ".", " · ".join(_figure(row, tone) for row, tone in judged))


def by_favour(comparisons: Sequence[Comparison]) -> list[int]:
    """Indices of comparisons from the most to the least favourable, equals in their order.

    A candidate that is shown to be worse in something stands behind all that are not; then the
    number of figures shown to be better decides, then the gain in H.
    """

    def rank(index: int) -> tuple[int, int, float]:
        heads = _heads(comparisons[index])
        tones = [tone_of(d) for d in heads]
        gain = sum(d.difference.value or 0 for d in heads if d.metric.endswith(STYLE))
        return tones.count("worse"), -tones.count("better"), -gain

    return sorted(range(len(comparisons)), key=rank)


def _heads(comparison: Comparison) -> list[Difference]:
    return [d for d in comparison.differences if d.metric.endswith((STRICT, STYLE))]


def _claim(difference: Difference, tone: Tone | None) -> str:
    claims: dict[Tone | None, str]
    if difference.metric.endswith(STRICT):
        claims = {
            "better": "follows more prompts",
            "worse": "follows fewer prompts",
            None: "shows no difference in following instructions",
        }
    else:
        claims = {
            "better": "writes closer to human prose",
            "worse": "writes further from human prose",
            None: "shows no difference in prose style",
        }
    return claims[tone]


def _figure(difference: Difference, tone: Tone | None) -> str:
    """`ifeval −7.0 points [−9.4, −5.0], p < .001, n 541`."""
    metric, estimate = difference.metric, difference.difference
    task = metric.split(".", 1)[0]
    what = task if metric.endswith(STRICT) else f"{task} H"
    points = " points" if is_fraction(metric) else ""
    text = f"{what} {number(metric, estimate.value, signed=True)}{points}"
    ends = interval(metric, estimate, signed=True)
    if ends:
        text += f" {ends}"
    if p_of(difference) is not None:
        text += f", p {p_text(p_of(difference))}"
    text += f", n {estimate.n}"
    smallest = difference.smallest
    if tone is None and smallest is not None and abs(estimate.value or 0.0) < smallest:
        text += f", less than {number(metric, smallest)} could not have shown"
    return text
