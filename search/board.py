"""The board: a study's trials against the baseline, as a terminal and as JSON show them.

Rows and runs in, a table or an object out.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.runs import Run
from harness.tables import UNDEFINED, figure, figures_json
from metrics.stats import Estimate
from search.bench import Bench
from search.study import Study, TrialRow

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = {
    "prompt_level_strict_acc": "strict %",
    "prompt_level_loose_acc": "loose %",
    "H": "H",
    "slop": "slop",
    "rep3g": "rep3g %",
    "word_count": "words",
}
"""Figures of a run that the table shows, of every task that has them, and their short names."""


def study_table(study: Study, bench: Bench, baseline: Run) -> "Table":
    """Every trial and the baseline, the best one marked."""
    from rich.table import Table

    metrics = baseline.summary().metrics
    columns = [
        f"{task.name}.{metric}"
        for task in baseline.header().tasks
        for metric in SHOWN
        if f"{task.name}.{metric}" in metrics
    ]
    table = Table(
        title=f"study {study.name}: {', '.join(o.metric for o in study.objectives)}"
        + "".join(f", {c.text}" for c in study.constraints),
        title_justify="left",
    )
    table.add_column("")
    table.add_column("trial", justify="right")
    for name in (*study.recipe.search.space, *(o.metric for o in study.objectives)):
        table.add_column(name, justify="right")
    for name in columns:
        task, metric = name.split(".", 1)
        table.add_column(f"{task}\n{SHOWN[metric]}", justify="right")
    if study.constraints:
        table.add_column("kept", justify="center")
    blank = [UNDEFINED] * (len(study.recipe.search.space) + len(study.objectives))
    table.add_row("", "baseline", *blank, *_figures(columns, metrics), *_kept(study, None))
    best = study.best()
    for row in study.rows():
        is_best = best is not None and row.number == best.number
        values = row.values or [None] * len(study.objectives)
        table.add_row(
            "*" if is_best else "",
            str(row.number),
            *(_number(row.params.get(name)) for name in study.recipe.search.space),
            *(UNDEFINED if v is None else f"{v:+.2f}" for v in values),
            *_figures(columns, _metrics(bench, row)),
            *_kept(study, row),
            style="bold green" if is_best else None,
        )
    return table


def study_json(study: Study, bench: Bench, baseline: Run) -> dict[str, Any]:
    """The study as one JSON object."""
    best = study.best()
    return {
        "study": study.name,
        "folder": str(bench.folder),
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in study.objectives],
        "constraints": [c.text for c in study.constraints],
        "baseline": {
            "gguf": str(bench.baseline_gguf),
            "sha256": baseline.header().model.sha256,
            "metrics": figures_json(baseline.summary().metrics),
        },
        "trials": [
            {
                "number": row.number,
                "state": row.state,
                "params": row.params,
                "values": row.values,
                "violations": row.violations,
                "feasible": row.feasible,
                "sha256": row.sha256,
                "run": row.run,
                "error": row.error,
                "metrics": figures_json(_metrics(bench, row)),
            }
            for row in study.rows()
        ],
        "best": None if best is None else _best_json(best, bench),
    }


def verdict(study: Study, bench: Bench) -> str:
    """The study's answer so far, in words: the best build with its hash, or that there is none."""
    best = study.best()
    if best is None:
        return "no trial keeps the constraints: ship the baseline"
    assert best.values is not None
    objective = study.objectives[0]
    at = ", ".join(f"{name}={_number(value)}" for name, value in best.params.items())
    beats = best.values[0] > 0 if objective.metric.endswith("h_delta") else True
    claim = "best build" if beats else "nothing beats the baseline; nearest build"
    assert best.build is not None
    return (
        f"{claim}: trial {best.number} ({at}), {objective.metric} {best.values[0]:+.2f}\n"
        f"{bench.build_path(best.build)}\nSHA-256 {best.sha256}"
    )


def _best_json(best: TrialRow, bench: Bench) -> dict[str, Any]:
    assert best.build is not None
    return {
        "number": best.number,
        "params": best.params,
        "values": best.values,
        "gguf": str(bench.build_path(best.build)),
        "sha256": best.sha256,
    }


def _metrics(bench: Bench, row: TrialRow) -> Mapping[str, Estimate]:
    if row.run is None or not row.whole:
        return {}
    return Run.open(bench.run_folder(row.run)).summary().metrics


def _figures(columns: Sequence[str], metrics: Mapping[str, Estimate]) -> list[str]:
    return [
        figure(name, metrics[name], interval=False) if name in metrics else UNDEFINED
        for name in columns
    ]


def _kept(study: Study, row: TrialRow | None) -> list[str]:
    if not study.constraints:
        return []
    if row is None:
        return [UNDEFINED]
    if row.values is None:
        return [row.state]
    return ["yes" if row.feasible else "no"]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
