"""Report on trials: a search's path, what it trades, which numbers matter, and every trial.

A study in, one section of the harness's neutral document out. Knows trials and Optuna's
importances; the pictures are `search.report.charts`.
"""

from collections.abc import Sequence

from harness.report.document import Cell, Chart, Column, Section, Table, slug
from harness.report.numerals import MINUS, NAMES, UNDEFINED, is_fraction
from search.report.charts import (
    Axis,
    Kind,
    Point,
    front_chart,
    importance_chart,
    legend_of,
    path_chart,
)
from search.study.objective import Constraint, Objective, nondominated
from search.study.study import Study, TrialRow

MIN_FOR_IMPORTANCE = 4
"""Whole trials below which importances are not computed."""
FEW_FOR_IMPORTANCE = 20
"""Whole trials below which importances are called a guess."""


def search_section(study: Study) -> Section:
    """The search's own part: the trade, the path, what matters, and every trial."""
    charts = [*_front_charts(study), *_path_charts(study), *_importance_charts(study)]
    rows = study.rows()
    notes = []
    if len(study.ranked()) < MIN_FOR_IMPORTANCE:
        notes.append(
            f"Which numbers matter is not told from fewer than {MIN_FOR_IMPORTANCE} whole trials."
        )
    failed = [row for row in rows if row.error is not None]
    if failed:
        last = failed[-1]
        notes.append(f"{len(failed)} failed, the last trial {last.number}: {last.error}")
    return Section(
        id="search",
        title="The search",
        lead=f"Over {', '.join(study.recipe.search.space)}, proposed by "
        f"Optuna's {study.recipe.search.sampler}.",
        charts=tuple(charts),
        folded=(trials_table(study, rows),),
        notes=tuple(notes),
    )


def trials_table(study: Study, rows: Sequence[TrialRow]) -> Table:
    """Every trial with its numbers, its objectives and how it stands with the constraints."""
    names = list(study.recipe.search.space)
    best = study.best()
    cells = []
    for row in rows:
        values = row.values or (None,) * len(study.objectives)
        cells.append(
            (
                Cell(text=str(row.number)),
                *(Cell(text=_number(row.params.get(name))) for name in names),
                *(
                    Cell(text=value_text(o.metric, value, o.relative))
                    for o, value in zip(study.objectives, values, strict=True)
                ),
                *(
                    Cell(
                        text=value_text(c.metric, _figure(c, row), c.relative),
                        tone="worse" if row.violations.get(c.text, 0) > 0 else None,
                    )
                    for c in study.constraints
                ),
                Cell(text=_state(row)),
            )
        )
    marked = None if best is None else [row.number for row in rows].index(best.number)
    return Table(
        caption=f"All {len(rows)} trials" if len(rows) != 1 else "The one trial",
        columns=(
            Column(label="Trial", numeric=False),
            *(Column(label=name) for name in names),
            *(Column(label=o.metric) for o in study.objectives),
            *(Column(label=c.text) for c in study.constraints),
            Column(label="State", numeric=False),
        ),
        rows=tuple(cells),
        marked=marked,
    )


def importances_of(study: Study, objective: int) -> dict[str, float]:
    """How much each number moves an objective, by Optuna's default evaluator, whole trials only.

    Args:
        study: The study.
        objective: Which of its objectives.

    Returns:
        Fractions by name, the largest first; empty where Optuna cannot tell.
    """
    import optuna

    numbers = {row.number for row in study.ranked()}
    alone = optuna.create_study(direction=study.objectives[objective].direction)
    for trial in study.trials():
        if trial.number in numbers:
            alone.add_trial(
                optuna.trial.create_trial(
                    params=trial.params,
                    distributions=trial.distributions,
                    value=trial.values[objective],
                )
            )
    try:
        return dict(optuna.importance.get_param_importances(alone))
    except (ValueError, RuntimeError):  # too few trials, or all of one value
        return {}


def front_of(study: Study, rows: Sequence[TrialRow]) -> list[int]:
    """Numbers of the whole trials that no other beats in both figures of the trade."""
    second = _second(study)
    if second is None:
        return []
    if len(study.objectives) > 1:
        other = study.objectives[1]
    else:
        up = study.constraints[0].side == ">="
        other = Objective(second[0], "maximize" if up else "minimize")
    kept = [
        (row.number, (row.values[0], x))
        for row in rows
        if row.values is not None and (x := _across(study, row)) is not None
    ]
    front = nondominated([point for _, point in kept], (study.objectives[0], other))
    return [kept[index][0] for index in front]


def objectives_of(study: Study) -> str:
    """`h_delta up, subject to mini.prompt_level_strict_acc >= baseline - 0.05`."""
    wanted = " and ".join(
        f"{o.metric} {'up' if o.direction == 'maximize' else 'down'}" for o in study.objectives
    )
    limits = " and ".join(c.text for c in study.constraints)
    return f"{wanted}, subject to {limits}" if limits else wanted


def _path_charts(study: Study) -> list[Chart]:
    rows = [row for row in study.rows() if row.values is not None and row.repeats is None]
    found = []
    for index, objective in enumerate(study.objectives):
        points, best = [], []
        leader: float | None = None
        for row in rows:
            assert row.values is not None
            value = _scaled(objective.metric, row.values[index])
            points.append(Point(row.number, numbers_of(row), _kind(row), row.number, value))
            ahead = leader is None or (value > leader) == (objective.direction == "maximize")
            if row.whole and row.feasible and ahead and value != leader:
                leader = value
                best.append((row.number, value))
        axis = Axis(
            _title(objective.metric, objective.relative), 0.0 if objective.relative else None
        )
        found.append(
            Chart(
                id=f"path-{slug(objective.metric)}",
                title=f"Path of the search: {objective.metric}",
                caption="The line is the best so far that keeps the constraints"
                + (", the dashes are the baseline." if objective.relative else "."),
                spec=path_chart(points, best, axis),
                table=_points_table("Path of the search", points, "Trial", axis.title, path=True),
                legend=legend_of(points, constrained=bool(study.constraints)),
                wide=False,
            )
        )
    return found


def _front_charts(study: Study) -> list[Chart]:
    """The trade between the first objective and the second, or the first constraint."""
    rows = [row for row in study.rows() if row.values is not None and row.repeats is None]
    first = study.objectives[0]
    other = _second(study)
    if other is None:
        return []
    metric, relative, bound = other
    points = [
        Point(row.number, numbers_of(row), _kind(row), x, _scaled(first.metric, row.values[0]))
        for row in rows
        if row.values is not None and (x := _across(study, row)) is not None
    ]
    across = Axis(
        _title(metric, relative),
        0.0 if relative else None,
        None if bound is None else _scaled(metric, bound),
    )
    up = Axis(_title(first.metric, first.relative), 0.0 if first.relative else None)
    caption = "The line joins the builds that no other beats in both."
    if bound is not None:
        caption += f" The upright line is the bound of {study.constraints[0].text}."
    if across.baseline is not None or up.baseline is not None:
        caption += " The baseline stands where the dashes are."
    return [
        Chart(
            id="front",
            title="What is gained against what is lost",
            caption=caption,
            spec=front_chart(points, front_of(study, study.ranked()), across, up),
            table=_points_table("Gains and losses", points, across.title, up.title),
            legend=legend_of(points, constrained=bool(study.constraints)),
            wide=False,
        )
    ]


def _importance_charts(study: Study) -> list[Chart]:
    n_whole = len(study.ranked())
    if n_whole < MIN_FOR_IMPORTANCE:
        return []
    found = []
    for index, objective in enumerate(study.objectives):
        shares = importances_of(study, index)
        if len(shares) < 2:
            continue
        guess = "; so few make it a guess" if n_whole < FEW_FOR_IMPORTANCE else ""
        found.append(
            Chart(
                id=f"importance-{slug(objective.metric)}",
                title=f"Which numbers matter for {objective.metric}",
                caption=f"Optuna's PED-ANOVA over {n_whole} whole trials{guess}.",
                spec=importance_chart(shares),
                table=Table(
                    caption=f"Importance for {objective.metric}",
                    columns=(Column(label="Number", numeric=False), Column(label="Importance")),
                    rows=tuple(
                        (Cell(text=name), Cell(text=f"{100 * share:.0f} %"))
                        for name, share in shares.items()
                    ),
                ),
                wide=len(study.objectives) == 1,
            )
        )
    return found


def _points_table(
    caption: str, points: Sequence[Point], x: str, y: str, *, path: bool = False
) -> Table:
    rows = []
    for point in points:
        across = [] if path else [Cell(text=_plain(point.x))]
        rows.append(
            (
                Cell(text=f"trial {point.trial}", detail=point.numbers),
                *across,
                Cell(text=_plain(point.y)),
                Cell(text=point.kind),
            )
        )
    return Table(
        caption=caption,
        columns=(
            Column(label="Trial", numeric=False),
            *(() if path else (Column(label=x),)),
            Column(label=y),
            Column(label="Constraints", numeric=False),
        ),
        rows=tuple(rows),
    )


def _second(study: Study) -> tuple[str, bool, float | None] | None:
    """What the first objective is traded for: metric, whether a difference, bound."""
    if len(study.objectives) > 1:
        return study.objectives[1].metric, study.objectives[1].relative, None
    if study.constraints:
        first = study.constraints[0]
        return first.metric, first.relative, first.bound
    return None


def _across(study: Study, row: TrialRow) -> float | None:
    """A trial's figure in what the first objective is traded for."""
    if len(study.objectives) > 1:
        return None if row.values is None else _scaled(study.objectives[1].metric, row.values[1])
    constraint = study.constraints[0]
    value = _figure(constraint, row)
    return None if value is None else _scaled(constraint.metric, value)


def _figure(constraint: Constraint, row: TrialRow) -> float | None:
    """What a trial has of the figure that a constraint bounds, from how far it is beyond it."""
    beyond = row.violations.get(constraint.text)
    if beyond is None:
        return None
    return constraint.bound - beyond if constraint.side == ">=" else constraint.bound + beyond


def _kind(row: TrialRow) -> Kind:
    if not row.whole:
        return "stopped"
    return "kept" if row.feasible else "broken"


def _state(row: TrialRow) -> str:
    if row.repeats is not None:
        return f"same build as trial {row.repeats}"
    if row.error is not None:
        return f"failed: {row.error}"
    if row.stopped is not None:
        return f"stopped: {row.stopped}"
    if not row.whole:
        return row.state
    return "kept" if row.feasible else "broken"


def _title(metric: str, relative: bool) -> str:
    """An axis's title: `Prompts followed, strict, points to the baseline`."""
    short = metric.rsplit(".", 1)[-1]
    name = NAMES.get(short, metric)
    if not is_fraction(metric):
        return name if short == "h_delta" or not relative else f"{name}, to the baseline"
    return f"{name}, points to the baseline" if relative else f"{name}, %"


def _scaled(metric: str, value: float) -> float:
    return round(value * 100 if is_fraction(metric) else value, 4)


def numbers_of(row: TrialRow) -> str:
    return ", ".join(f"{name} = {_number(value)}" for name, value in row.params.items())


def value_text(metric: str, value: float | None, relative: bool) -> str:
    """A figure of a trial in print; signed where it is a difference."""
    if value is None:
        return UNDEFINED
    text = f"{_scaled(metric, value):{'+' if relative else ''}.2f}"
    return text.replace("-", MINUS)


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS)


def _number(value: object) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" if isinstance(value, float) else str(value)
