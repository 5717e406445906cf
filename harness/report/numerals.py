"""Numerals: figures as a reader meets them in print.

Estimates and metric names in, short texts out: percent for fractions, a true minus sign, as many
digits as mean something.
"""

from harness.comparison.directions import BY_TYPE, better
from harness.comparison.records import Difference
from harness.comparison.sanity import COUNTERS
from harness.report.document import Tone
from metrics.stats import ALPHA, Estimate

UNDEFINED = "–"
MINUS = "−"
NAMES = {
    "prompt_level_strict_acc": "Prompts followed, strict",
    "prompt_level_loose_acc": "Prompts followed, loose",
    "inst_level_strict_acc": "Instructions followed, strict",
    "inst_level_loose_acc": "Instructions followed, loose",
    "H": "Prose style, H",
    "h_delta": "Gain in prose style, H",
    "slop": "Slop",
    "slop_hits": "Slop hits a text",
    "rep3g": "Repetition",
    "rep3g_whole": "Repetition, whole text",
    "xrep3": "Repetition across texts",
    "contrast": "“Not X but Y”",
    "rhythm": "Rhythm",
    "diversity": "Diversity",
    "openers": "Same openers",
    "word_count": "Length",
    "empty": "Empty",
    "cut_off": "Cut off",
    "refused": "Refused",
    "unclosed_thought": "Thought not closed",
    "looping": "Looping",
    "other_language": "Other language",
}
"""What a metric is called in a heading; one that is not listed keeps its own name."""
UNITS = {
    "slop": "per 1,000 words",
    "rep3g": "% of trigrams",
    "rep3g_whole": "% of trigrams",
    "contrast": "per 1,000 words",
    "word_count": "words",
    "openers": "share of neighbours",
    "rhythm": "variation of sentence length",
    "diversity": "share of different words",
    "H": "0 to 100",
}
"""Units that are not percent."""


def is_fraction(metric: str) -> bool:
    """Whether the metric is a share that is printed in percent."""
    parts = metric.split(".")
    return (
        parts[-1].endswith("_acc")
        or parts[-1] in (*COUNTERS, "same_top")
        or (len(parts) > 2 and parts[1] in BY_TYPE)
    )


def name_of(metric: str) -> str:
    """What `task.metric` is called, without the task."""
    short = metric.split(".", 1)[-1]
    return NAMES.get(short, short.replace("_", " "))


def unit_of(metric: str) -> str:
    """The unit of `task.metric`; empty where there is none to name."""
    return "%" if is_fraction(metric) else UNITS.get(metric.split(".", 1)[-1], "")


def number(metric: str, value: float | None, *, signed: bool = False) -> str:
    """One value: `85.9`, or with a sign `−0.6`; percent where the metric is a fraction."""
    if value is None:
        return UNDEFINED
    scaled = value * 100 if is_fraction(metric) else value
    if is_fraction(metric):
        digits = 1
    elif metric.endswith(".word_count"):
        digits = 0
    else:
        digits = 1 if abs(scaled) >= 10 else 2 if abs(scaled) >= 1 or metric.endswith(".H") else 3
    text = f"{scaled:+.{digits}f}" if signed else f"{scaled:.{digits}f}"
    if not text.strip("+-0."):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(metric: str, estimate: Estimate, *, signed: bool = False) -> str:
    """The 95 % interval: `[−2.1, +0.9]`; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (number(metric, end, signed=signed) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def p_text(p_value: float | None) -> str:
    """A p-value with two digits, or what it is below."""
    if p_value is None:
        return UNDEFINED
    return "< .001" if p_value < 0.001 else f"{p_value:.2g}".removeprefix("0")


def p_of(difference: Difference) -> float | None:
    """The p-value that counts: corrected where several candidates were compared."""
    return difference.p_value if difference.p_holm is None else difference.p_holm


def tone_of(difference: Difference) -> Tone | None:
    """Whether the candidate is shown to be better, or worse; None where nothing is shown."""
    value, p = difference.difference.value, p_of(difference)
    direction = better(difference.metric)
    if not value or p is None or p >= ALPHA or direction is None:
        return None
    return "better" if (value > 0) == (direction == "higher") else "worse"
