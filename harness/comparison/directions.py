"""Directions: which way a metric gets better.

Names in, `higher` or `lower` out; knows nothing of figures. The directions are those of
docs/metrics.md; a metric whose human range is a band, or that is no merit either way, has none.
"""

from typing import Literal

from harness.comparison.sanity import COUNTERS

Direction = Literal["higher", "lower"]

HIGHER = frozenset(
    {
        "prompt_level_strict_acc",
        "inst_level_strict_acc",
        "prompt_level_loose_acc",
        "inst_level_loose_acc",
        "H",
        "h_delta",
        "same_top",
        "tokens_per_second",
    }
)
LOWER = frozenset(
    {
        *("slop", "slop_hits", "rep3g", "rep3g_whole", "xrep3", "contrast", "openers"),
        *COUNTERS,
        *("mean", "median", "p99", "max", "ppl_baseline", "ppl_candidate", "ppl_ratio"),
        "size_bytes",
    }
)
BY_TYPE = ("strict", "loose")
"""Second part of the metrics by instruction type, `task.strict.FAMILY:TYPE`: higher is better."""


def better(metric: str) -> Direction | None:
    """Which way is better; None where neither is.

    Args:
        metric: `task.metric`.
    """
    parts = metric.split(".")
    if len(parts) > 2 and parts[-2] in BY_TYPE:
        return "higher"
    if parts[-1] in HIGHER:
        return "higher"
    return "lower" if parts[-1] in LOWER else None
