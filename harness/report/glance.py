"""Glance: the tables that a comparison is read from.

Runs' summaries and comparisons in, neutral tables out.
"""

from collections.abc import Mapping, Sequence

from harness.comparison.records import Comparison, Difference
from harness.report.document import Cell, Column, Strip, Table
from harness.report.numerals import (
    UNDEFINED,
    interval,
    is_fraction,
    name_of,
    number,
    p_of,
    p_text,
    tone_of,
    unit_of,
)
from metrics.stats import Estimate

LEFT_OUT = ("slop_hits", "rep3g_whole")
"""Figures that say nearly the same as one that is shown."""
HEADLINES = (
    "prompt_level_strict_acc",
    "prompt_level_loose_acc",
    "H",
    "slop",
    "rep3g",
    "word_count",
)
"""Figures of the table that sets all runs side by side."""


def comparison_table(comparison: Comparison) -> Table:
    """One candidate, metric by metric, with intervals drawn around zero."""
    shown = [d for d in comparison.differences if d.metric.split(".", 1)[-1] not in LEFT_OUT]
    reach = _reach(shown)
    corrected = any(d.p_holm is not None for d in shown)
    columns = ["Metric", "Baseline", "Candidate", "Difference", "", "p, Holm" if corrected else "p"]
    return Table(
        caption=f"{comparison.candidate} against {comparison.baseline}",
        columns=(
            *(Column(label=label, numeric=index > 0) for index, label in enumerate(columns)),
            Column(label="Detectable"),
            Column(label="n"),
        ),
        rows=tuple(_row(d, reach[d.metric]) for d in shown),
        groups=_groups([d.metric for d in shown]),
    )


def runs_table(
    runs: Mapping[str, Mapping[str, Estimate]], comparisons: Sequence[Comparison]
) -> Table:
    """All runs side by side in the figures that matter most.

    Args:
        runs: Summaries by name, the baseline's first.
        comparisons: One a candidate; says which figures are shown to have moved.
    """
    first = next(iter(runs.values()))
    metrics = [m for m in first if m.split(".", 1)[1] in HEADLINES]
    tasks = list(dict.fromkeys(metric.split(".", 1)[0] for metric in first))
    metrics.sort(key=lambda m: (tasks.index(m.split(".")[0]), HEADLINES.index(m.split(".", 1)[1])))
    moved = [{d.metric: d for d in comparison.differences} for comparison in comparisons]
    rows = []
    for index, (name, figures) in enumerate(runs.items()):
        cells = [Cell(text=name, detail="baseline" if index == 0 and name != "baseline" else "")]
        for metric in metrics:
            estimate = figures.get(metric)
            own = moved[index - 1].get(metric) if index else None
            cells.append(
                Cell(text=UNDEFINED)
                if estimate is None
                else Cell(
                    text=number(metric, estimate.value),
                    detail=interval(metric, estimate),
                    tone=None if own is None else tone_of(own),
                )
            )
        rows.append(tuple(cells))
    several = len({metric.split(".", 1)[1] for metric in metrics}) < len(metrics)
    return Table(
        caption="All runs",
        columns=(
            Column(label="Run", numeric=False),
            *(Column(label=_heading(m, with_task=several)) for m in metrics),
        ),
        rows=tuple(rows),
    )


def figures_table(figures: Mapping[str, Estimate]) -> Table:
    """One run alone, metric by metric."""
    shown = [m for m in figures if m.split(".", 1)[-1] not in LEFT_OUT]
    return Table(
        caption="Figures",
        columns=(
            Column(label="Metric", numeric=False),
            Column(label="Value"),
            Column(label="95 % interval"),
            Column(label="n"),
        ),
        rows=tuple(
            (
                Cell(text=name_of(m), detail=unit_of(m)),
                Cell(text=number(m, figures[m].value)),
                Cell(text=interval(m, figures[m]) or UNDEFINED),
                Cell(text=f"{figures[m].n:,}"),
            )
            for m in shown
        ),
        groups=_groups(shown),
    )


def sanity_table(comparisons: Sequence[Comparison]) -> tuple[Table | None, list[str]]:
    """Answers that went wrong, in every run.

    Args:
        comparisons: At least one.

    Returns:
        The counts, and the names of what happened in no run, which has no row; None where nothing
        went wrong at all.
    """
    by_metric = [{d.metric: d for d in comparison.sanity} for comparison in comparisons]
    rows, metrics, never = [], [], []
    for metric, first in by_metric[0].items():
        own = [found[metric] for found in by_metric if metric in found]
        name = name_of(metric).lower()
        if not any((d.baseline.value, d.candidate.value) != (0, 0) for d in own):
            never.append(f"{metric.split('.', 1)[0]} {name}")
            continue
        metrics.append(metric)
        shares = [_share(metric, d.candidate).model_copy(update={"tone": tone_of(d)}) for d in own]
        rows.append((Cell(text=name_of(metric)), _share(metric, first.baseline), *shares))
    if not rows:
        return None, never
    table = Table(
        caption="Answers that went wrong",
        columns=(
            Column(label="Answers that are", numeric=False),
            Column(label=comparisons[0].baseline),
            *(Column(label=comparison.candidate) for comparison in comparisons),
        ),
        rows=tuple(rows),
        groups=_groups(metrics),
    )
    return table, never


def _share(metric: str, estimate: Estimate) -> Cell:
    if estimate.value is None:
        return Cell(text=UNDEFINED)
    counted = "" if estimate.count is None else f"{estimate.count} of {estimate.n}"
    return Cell(text=f"{number(metric, estimate.value)} %", detail=counted)


def _row(difference: Difference, reach: float) -> tuple[Cell, ...]:
    metric, moved = difference.metric, difference.difference
    strip = None
    if moved.value is not None and moved.low is not None and moved.high is not None and reach:
        ends = (max(-1.0, min(1.0, end / reach)) for end in (moved.low, moved.value, moved.high))
        low, value, high = ends
        noise = difference.noise
        limit = None if noise is None else min(1.0, noise / reach)
        strip = Strip(low=low, value=value, high=high, limit=limit, tone=tone_of(difference))
    return (
        Cell(text=name_of(metric), detail=unit_of(metric)),
        *(
            Cell(text=number(metric, side.value), detail=interval(metric, side), minor=True)
            for side in (difference.baseline, difference.candidate)
        ),
        Cell(
            text=number(metric, moved.value, signed=True),
            detail=interval(metric, moved, signed=True),
            tone=tone_of(difference),
        ),
        Cell(text="", strip=strip),
        Cell(text=p_text(p_of(difference))),
        Cell(
            text=UNDEFINED
            if difference.smallest is None
            else f"±{number(metric, difference.smallest)}"
        ),
        Cell(text=f"{moved.n:,}"),
    )


def _reach(differences: Sequence[Difference]) -> dict[str, float]:
    """Half width of each strip: one for all percentages of a task, else each row its own."""
    widest: dict[str, float] = {}
    for d in differences:
        ends = [abs(end) for end in (d.difference.low, d.difference.high) if end is not None]
        key = d.metric.split(".", 1)[0] if is_fraction(d.metric) else d.metric
        widest[key] = max(widest.get(key, 0.0), *ends, 0.0)
    return {
        d.metric: widest[d.metric.split(".", 1)[0] if is_fraction(d.metric) else d.metric] * 1.08
        for d in differences
    }


def _groups(metrics: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Tasks and how many rows each has, in order."""
    tasks = [metric.split(".", 1)[0] for metric in metrics]
    return tuple((task, tasks.count(task)) for task in dict.fromkeys(tasks))


def _heading(metric: str, *, with_task: bool) -> str:
    name = name_of(metric) + (" %" if is_fraction(metric) else "")
    return f"{metric.split('.', 1)[0]}: {name}" if with_task else name
