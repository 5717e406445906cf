"""The board: a study's trials against the baseline, as a terminal and as JSON show them.

A study and its runs in, a table, lines or an object out. What is shown while it is worked on is
`search.board.live`'s business.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.tables import UNDEFINED, figure, figures_json, number
from metrics.stats import Estimate
from search.board.shelf import Shelf, Told
from search.board.spending import spending_of
from search.confirmation.confirmation import kept_confirmation
from search.study.objective import Objective
from search.study.study import Study, TrialRow
from search.trials.bench import BASELINE

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

LEADS = "*"
"""Marks the leader, or with several objectives the front."""
ESTIMATED = "~"
"""Before a value of a trial that was stopped."""


def study_table(study: Study, shelf: Shelf) -> "Table":
    """Every trial and the baseline, the leaders marked."""
    from rich.table import Table

    rows, baseline = study.rows(), shelf.baseline()
    told = {row.number: shelf.of(row) for row in rows}
    columns = _columns([baseline, *told.values()])
    table = Table(title=title_of(study), title_justify="left")
    table.add_column("")
    table.add_column("trial", justify="right")
    for name in (*study.recipe.search.space, *(o.metric for o in study.objectives)):
        table.add_column(name, justify="right")
    for name in columns:
        task, metric = name.split(".", 1)
        table.add_column(f"{task}\n{SHOWN[metric]}", justify="right")
    table.add_column("kept" if study.constraints else "state", justify="center")
    blank = [UNDEFINED] * (len(study.recipe.search.space) + len(study.objectives))
    table.add_row("", "baseline", *blank, *_figures(columns, baseline), UNDEFINED)
    leaders = {row.number for row in study.leaders()}
    for row in rows:
        leads = row.number in leaders
        table.add_row(
            LEADS if leads else "",
            str(row.number),
            *numbers_and_values(study, row),
            *_figures(columns, told[row.number]),
            standing(study, row),
            style="bold green" if leads else None,
        )
    return table


def study_json(study: Study, shelf: Shelf) -> dict[str, Any]:
    """The study as one JSON object."""
    best, baseline, kept = study.best(), shelf.baseline(), kept_confirmation(study)
    return {
        "study": study.name,
        "folder": str(shelf.folder),
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in study.objectives],
        "constraints": [c.text for c in study.constraints],
        "n_trials": study.n_trials,
        "baseline": {
            "gguf": study.recipe.baseline.path,
            "sha256": None if baseline is None else baseline.header.model.sha256,
            "metrics": figures_json(_metrics(baseline)),
        },
        "trials": [_trial_json(row, _metrics(shelf.of(row))) for row in study.rows()],
        "best": None if best is None else _best_json(best, study, shelf),
        "leaders": [row.number for row in study.leaders()],
        "confirmation": None if kept is None else kept.model_dump(mode="json"),
        "spending": spending_of(study, shelf).to_json(),
        "changes": [change.model_dump(mode="json") for change in study.record.changes],
    }


def verdict(study: Study, shelf: Shelf) -> str:
    """The study's answer so far, in words: the best build with its hash, or that there is none."""
    best = study.best()
    if best is None:
        if not any(row.state in ("complete", "pruned") for row in study.rows()):
            return "no trial has ended yet"
        return "no trial keeps the constraints: ship the baseline"
    assert best.values is not None
    objective = study.objectives[0]
    at = ", ".join(f"{name}={number_text(value)}" for name, value in best.params.items())
    beats = not objective.relative or best.values[0] > 0
    claim = "best build" if beats else "nothing beats the baseline; nearest build"
    said = (
        f"{claim}: trial {best.number} ({at}), {objective.metric} "
        f"{value_text(objective, best.values[0])}\n"
        f"{_gguf_of(best, study, shelf)}\nSHA-256 {best.sha256}"
    )
    return "\n".join([said, *front_lines(study)])


def front_lines(study: Study) -> list[str]:
    """With several objectives, the trials of which none is better than another in all of them."""
    if len(study.objectives) < 2:
        return []
    lines = ["front, where none is better than another in every objective:"]
    for row in study.leaders():
        values = ", ".join(
            f"{objective.metric} {value_text(objective, value)}"
            for objective, value in zip(study.objectives, row.values or (), strict=True)
        )
        lines.append(f"  trial {row.number}: {values}")
    return lines


def ended_early_lines(study: Study) -> list[str]:
    """The trials that failed or were stopped, each with its reason."""
    lines = []
    for row in study.rows():
        if row.error is not None:
            lines.append(f"trial {row.number} failed ({row.failure}): {row.error}")
        elif row.stopped is not None:
            lines.append(f"trial {row.number} was stopped: {row.stopped}")
    return lines


def title_of(study: Study) -> str:
    """What is wanted, within which limits."""
    wanted = [o.metric for o in study.objectives] + [c.text for c in study.constraints]
    return f"study {study.name}: {', '.join(wanted)}"


def numbers_and_values(study: Study, row: TrialRow) -> list[str]:
    """A cell for each number that is searched and for each objective."""
    numbers = [number_text(row.params.get(name)) for name in study.recipe.search.space]
    if row.values is None:
        return [*numbers, *(UNDEFINED for _ in study.objectives)]
    sure = "" if row.whole else ESTIMATED
    return numbers + [
        sure + value_text(objective, value)
        for objective, value in zip(study.objectives, row.values, strict=True)
    ]


def standing(study: Study, row: TrialRow) -> str:
    """Whether a trial keeps the limits, or what became of it before that could be said."""
    if row.repeats is not None:
        return f"as {row.repeats}"
    if row.error is not None:
        return "failed"
    if row.stopped is not None:
        return "stopped"
    if not row.whole:
        return row.state
    if not study.constraints:
        return "whole"
    return "yes" if row.feasible else "no"


def value_text(objective: Objective, value: float) -> str:
    """An objective's value: a difference has its sign, a fraction is in percent."""
    return number(objective.metric, value, signed=objective.relative)


def number_text(value: Any) -> str:
    """A number that is searched; one that a trial does not have is undefined."""
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _trial_json(row: TrialRow, metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        "number": row.number,
        "state": row.state,
        "params": row.params,
        "values": row.values,
        "violations": row.violations,
        "feasible": row.feasible,
        "sha256": row.sha256,
        "build": row.build,
        "run": row.run,
        "stopped": row.stopped,
        "repeats": row.repeats,
        "error": row.error,
        "failure": row.failure,
        "n_tokens": row.n_tokens,
        "seconds": row.seconds,
        "host": row.host,
        "metrics": figures_json(metrics),
    }


def _best_json(best: TrialRow, study: Study, shelf: Shelf) -> dict[str, Any]:
    return {
        "number": best.number,
        "params": best.params,
        "values": best.values,
        "gguf": _gguf_of(best, study, shelf),
        "sha256": best.sha256,
    }


def _gguf_of(best: TrialRow, study: Study, shelf: Shelf) -> str:
    """Where the build is, or was."""
    if best.build == BASELINE:
        return study.recipe.baseline.path
    return str(shelf.folder / "builds" / f"{best.build}.gguf")


def _columns(told: Sequence[Told | None]) -> list[str]:
    """The figures to show: those that the first run has which says anything."""
    first = next((one for one in told if one is not None), None)
    if first is None:
        return []
    names = [f"{task.name}.{metric}" for task in first.header.tasks for metric in SHOWN]
    return [name for name in names if name in first.metrics]


def _metrics(told: Told | None) -> Mapping[str, Estimate]:
    return {} if told is None else told.metrics


def _figures(columns: Sequence[str], told: Told | None) -> list[str]:
    metrics = _metrics(told)
    return [
        figure(name, metrics[name], interval=False) if name in metrics else UNDEFINED
        for name in columns
    ]
