"""Verdict: what a comparison comes to, in a sentence.

Comparisons in, English out. A sentence claims only what the tests show at the 5 % level; where
nothing is shown it says what could have been missed.
"""

from collections.abc import Sequence

from harness.comparison import Comparison, Difference
from harness.report.document import Tone
from harness.report.numerals import interval, is_fraction, number, tone_of

STRICT = ".prompt_level_strict_acc"
STYLE = ".H"


def sentence(comparison: Comparison) -> str:
    """One candidate against the baseline: instructions, then prose.

    Args:
        comparison: Of scored runs.
    """
    judged = [(d, tone_of(d)) for d in comparison.differences if d.metric.endswith((STRICT, STYLE))]
    if not judged:
        return f"{comparison.candidate} was compared with {comparison.baseline}."
    clauses = [_clause(difference, tone) for difference, tone in judged]
    text = f"{comparison.candidate} {clauses[0]}"
    for (_, before), (_, after), clause in zip(judged, judged[1:], clauses[1:], strict=False):
        joint = ", but " if {before, after} == {"better", "worse"} else ", and "
        text += joint + clause
    return text + "."


def best_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons from the most to the least favourable, equals in their order.

    A candidate that is shown to be worse in something stands behind all that are not; then the
    number of figures shown to be better decides, then the gain in H.
    """

    def rank(comparison: Comparison) -> tuple[int, int, float]:
        heads = [d for d in comparison.differences if d.metric.endswith((STRICT, STYLE))]
        tones = [tone_of(d) for d in heads]
        gain = sum(d.difference.value or 0 for d in heads if d.metric.endswith(STYLE))
        return tones.count("worse"), -tones.count("better"), -gain

    return sorted(comparisons, key=rank)


def _clause(difference: Difference, tone: Tone | None) -> str:
    """`writes closer to human prose than the baseline (H +3.1 [+1.2, +4.9], 60 prompts)`."""
    metric, estimate = difference.metric, difference.difference
    task = metric.split(".", 1)[0]
    if metric.endswith(STRICT):
        words = {
            "better": "follows more prompts",
            "worse": "follows fewer prompts",
            None: "shows no difference in following instructions",
        }[tone]
        what = task
    else:
        words = {
            "better": "writes closer to human prose",
            "worse": "writes further from human prose",
            None: "shows no difference in prose style",
        }[tone]
        what = "H" if task == "prose" else f"{task} H"
    points = " points" if is_fraction(metric) else ""
    figure = f"{what} {number(metric, estimate.value, signed=True)}{points}"
    ends = interval(metric, estimate, signed=True)
    missed = ""
    if tone is None and difference.smallest is not None:
        missed = f"; less than {number(metric, difference.smallest)} could not have shown"
    return f"{words} ({' '.join(filter(None, (figure, ends)))}, n {estimate.n}{missed})"
