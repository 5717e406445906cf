"""Tables: estimates as a terminal, or a command's JSON, shows them.

Estimates in, texts, rich tables and plain objects out. Fractions become percentages in print and
nowhere else.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.comparison.directions import BY_TYPE
from harness.comparison.grids import Grid, rich_table
from harness.comparison.sanity import COUNTERS
from metrics.stats import Estimate

if TYPE_CHECKING:
    from rich.table import Table

FINE = "kld."
"""Beginning of the metrics whose small values matter and are printed with more digits."""

SHARES = (*COUNTERS, "same_top", "same_top1")
"""Metrics that are shares and do not end in `_acc`."""

UNDEFINED = "-"


def is_fraction(metric: str) -> bool:
    """Whether a metric is a share, which is printed in percent."""
    parts = metric.split(".")
    by_type = len(parts) > 2 and parts[1] in BY_TYPE
    return by_type or parts[-1].endswith("_acc") or parts[-1] in SHARES


def figure(metric: str, estimate: Estimate, *, signed: bool = False, interval: bool = True) -> str:
    """A figure with its interval: `61.25 [55.0, 67.1]`, percent where the metric is a fraction."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None:
        return UNDEFINED
    if not interval or low is None or high is None:
        return number(metric, value, signed=signed)
    scale = 100 if is_fraction(metric) else 1
    digits = _digits_within(metric, max(abs(value), abs(low), abs(high)))
    # counts of prompts are known to the digit, their intervals are not
    own = _digits(metric, value, signed=signed) if scale == 100 else digits
    sign = "+" if signed else ""
    ends = ", ".join(f"{end * scale:{sign}.{digits}f}" for end in (low, high))
    return f"{value * scale:{sign}.{own}f} [{ends}]"


def number(metric: str, value: float, *, signed: bool = False) -> str:
    """One number in the metric's unit, percent where it is a fraction.

    Args:
        metric: Its name.
        value: Fractions as fractions.
        signed: With a plus where it is above 0.
    """
    scale = 100 if is_fraction(metric) else 1
    digits = _digits(metric, value, signed=signed)
    return f"{value * scale:{'+' if signed else ''}.{digits}f}"


def _digits(metric: str, value: float, *, signed: bool) -> int:
    if metric.endswith("_bytes"):
        return 0
    if is_fraction(metric):
        return 2
    if metric.startswith(FINE) and abs(value) < 10:
        return 5
    return 3 if abs(value) < 1 and not signed else 2


def _digits_within(metric: str, size: float) -> int:
    """Digits of a figure and its interval, from the largest of the three."""
    if is_fraction(metric):
        return 1
    if metric.startswith(FINE) and size < 10:
        return 5
    return 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0


def label(metric: str) -> str:
    """The metric's name, with a percent sign where it is printed in percent."""
    return f"{metric} %" if is_fraction(metric) else metric


def figures_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float | int | None]]:
    """Figures by name, as every command's JSON has them."""
    return {name: estimate.to_json() for name, estimate in metrics.items()}


def summary_table(title: str, metrics: Mapping[str, Estimate]) -> "Table":
    """A run's figures."""
    rows = tuple((label(n), figure(n, e), str(e.n)) for n, e in metrics.items())
    return rich_table(Grid(title, ("metric", "value [95 % interval]", "n"), rows))
