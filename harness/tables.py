"""Tables: estimates and comparisons as a terminal, or a command's JSON, shows them.

Records in, rich tables and plain objects out. Fractions become percentages here and nowhere else.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.comparison import Comparison
from harness.gates import Verdict
from metrics.stats import Estimate

if TYPE_CHECKING:
    from rich.table import Table

FRACTIONS = ("_acc", ".empty", ".unclosed_thought", ".cut_off", ".same_top")
"""Endings of the metrics that are fractions and are printed as percentages."""

FINE = "kld."
"""Beginning of the metrics whose small values matter and are printed with more digits."""

UNDEFINED = "-"


def figure(metric: str, estimate: Estimate, *, signed: bool = False, interval: bool = True) -> str:
    """A figure with its interval: `61.2 [55.0, 67.1]`, percent where the metric is a fraction."""
    if estimate.value is None:
        return UNDEFINED
    scale = 100 if metric.endswith(FRACTIONS) else 1
    sign = "+" if signed else ""
    digits = 3 if scale == 1 and abs(estimate.value) < 1 and not signed else 2
    if scale == 1 and metric.startswith(FINE) and abs(estimate.value) < 10:
        digits = 5
    text = f"{estimate.value * scale:{sign}.{digits}f}"
    if interval and estimate.low is not None and estimate.high is not None:
        low, high = estimate.low * scale, estimate.high * scale
        text += f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return text


def label(metric: str) -> str:
    """The metric's name, with a percent sign where it is printed in percent."""
    return f"{metric} %" if metric.endswith(FRACTIONS) else metric


def figures_json(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float | int | None]]:
    """Figures by name, as every command's JSON has them."""
    return {name: estimate.to_json() for name, estimate in metrics.items()}


def summary_table(title: str, metrics: Mapping[str, Estimate]) -> "Table":
    """A run's figures."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value [95 % interval]", justify="right")
    table.add_column("n", justify="right")
    for name, estimate in metrics.items():
        table.add_row(label(name), figure(name, estimate), str(estimate.n))
    return table


def comparison_table(comparison: Comparison) -> "Table":
    """Two runs, metric by metric."""
    from rich.table import Table

    table = Table(
        title=f"{comparison.candidate} against {comparison.baseline}, {comparison.n_pairs} pairs",
        title_justify="left",
    )
    table.add_column("metric")
    for name in ("baseline", "candidate", "difference [95 % interval]", "p", "n"):
        table.add_column(name, justify="right")
    for row in comparison.differences:
        table.add_row(
            label(row.metric),
            figure(row.metric, row.baseline, interval=False),
            figure(row.metric, row.candidate, interval=False),
            figure(row.metric, row.difference, signed=True),
            UNDEFINED if row.p_value is None else f"{row.p_value:.3g}",
            str(row.difference.n),
        )
    return table


def verdict_lines(verdicts: list[Verdict]) -> list[str]:
    """One line a gate: kept or broken, and by how much."""
    lines = []
    for verdict in verdicts:
        value = verdict.found.value
        assert value is not None
        word = "kept  " if verdict.kept else "BROKEN"
        lines.append(f"{word} {verdict.gate} (found {value:+.4g}, n {verdict.found.n})")
    return lines
