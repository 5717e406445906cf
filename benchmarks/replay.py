"""How many tokens a search spends: a recorded grid searched again and again, without a model.

    python benchmarks/replay.py results/demo-grid --trials 24 --seeds 50

Every search goes through the study's own code: the loop of `search.trials.work`, the samplers, the
rungs with their wave plan. Only the generating is replaced, by what the builds of the grid answered
when they were recorded. Each seed is another study seed and another order of the prompts.

`share`: tokens of the searches over those of the same trials run to their last answer.
`found`: searches whose leader is within noise of the grid's best build that keeps the limits: the
95 % interval of the paired difference of the objective holds 0, on all the recorded answers.
`best_stopped`: searches in which the grid's very best build was tried and stopped on the way.
`regret`: mean difference of the objective between the grid's best and the leader.
`alike`: mean correlation of two builds over the same prompts.
The baseline's run is needed either way and counted in neither sum.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import optuna
import typer
from grid import Grid, scores_of

from harness.runs import Score
from harness.waves import in_turn, wave_positions
from metrics.stats import bootstrap_mean, default_rng
from search.leases.interrupt import Interrupt
from search.leases.lease import Pulse, this_process
from search.proposing.space import is_baseline_point
from search.recipe import Number, Recipe, Search
from search.study.objective import (
    ROUNDING_DIGITS,
    Constraint,
    Objective,
    parse_constraint,
    parse_objectives,
)
from search.study.record import StudyRecord
from search.study.study import BUDGET, RECORD, Study
from search.trials.bench import BASELINE
from search.trials.reference import Reference
from search.trials.rungs import Rungs, looks_for
from search.trials.work import Assignment, Outcome, run_trials

PULSE = Pulse(beat_s=3600, settle_s=0)
"""Nobody else works on these studies."""


@dataclass(frozen=True)
class Answers:
    """One build's recorded answers."""

    scores: list[list[Score]]
    """By task, in the prompts' order."""
    n_tokens: list[list[int]]
    reference: Reference

    @property
    def cost(self) -> int:
        """Tokens of a whole run."""
        return sum(map(sum, self.n_tokens))


class Bench:
    """Weighs trials by the record; a study's bench in all that `run_trials` asks of it."""

    def __init__(self, grid: Grid, error_rate: float) -> None:
        """A bench.

        Args:
            grid: The record.
            error_rate: Of the rungs.
        """
        self.looks = looks_for(sum(len(task.keys) for task in grid.header.tasks))
        self.error_rate = error_rate
        self.objectives = parse_objectives(grid.header.maximize)
        self.constraints = tuple(map(parse_constraint, grid.header.subject_to))
        self.wave = grid.header.engine.wave
        self.points = {_key(build.numbers): build.sha256 for build in grid.points}
        self.names = [task.settings.name for task in grid.header.tasks]
        self.answers = {}
        for build in grid.builds:
            scores = scores_of(grid.header, build)
            self.answers[build.sha256] = Answers(
                scores,
                [list(build.n_tokens[name]) for name in self.names],
                Reference([score for own in scores for score in own]),
            )
        self.baseline = self.answers[grid.baseline.sha256].reference
        self.recipe = _recipe(grid)
        self.order = 0
        self.stops = True
        self.tried: dict[str, str | None] = {}
        """By build: why it was stopped, or None for a whole run."""

    def build_name(self, numbers: Mapping[str, Number]) -> str:
        """The build's SHA-256, or `baseline`."""
        if is_baseline_point(self.recipe, numbers):
            return BASELINE
        return self.points[_key(numbers)]

    def weigh_trial(self, given: Assignment) -> Outcome:
        """What the study would have been told."""
        if given.build == BASELINE:
            return self._whole(BASELINE, self.baseline, 0)
        answers = self.answers[given.build]
        rungs = Rungs(
            self.objectives,
            self.constraints,
            self.baseline,
            [self._reference(row.build) for row in given.leaders],
            others=[self._reference(row.build) for row in given.references],
            looks=self.looks,
            error_rate=self.error_rate,
        )
        n_tokens = 0
        counts = [len(own) for own in answers.scores]
        waves = wave_positions(counts, self.wave, self.order, self.looks)
        turn = rungs.ask_next if self.stops else None
        for place in in_turn([self.names[task] for task, _ in waves], turn):
            task, positions = waves[place]
            n_tokens += sum(answers.n_tokens[task][i] for i in positions)
            reason = rungs.see([answers.scores[task][i] for i in positions])
            if reason is not None and self.stops:
                self.tried[given.build] = reason
                told = rungs.told
                return Outcome(
                    values=told.values,
                    violations=told.violations,
                    sha256=given.build,
                    run=given.build,
                    stopped=reason,
                    n_tokens=n_tokens,
                )
        self.tried[given.build] = None
        return self._whole(given.build, answers.reference, n_tokens)

    def figure(self, metric: Objective | Constraint, run: Reference) -> float:
        """A run's figure, or its difference to the baseline where that is what counts."""
        found = run.figure(metric.metric)
        assert found is not None
        task, figure = found
        value, before = (ref.value(figure, ref.keys(task)) for ref in (run, self.baseline))
        assert value is not None and before is not None
        return value - before if metric.relative else value

    def violation(self, constraint: Constraint, run: Reference) -> float:
        """How far a run is beyond a limit."""
        beyond = round(constraint.bound - self.figure(constraint, run), ROUNDING_DIGITS)
        return beyond if constraint.side == ">=" else -beyond

    def _whole(self, build: str, run: Reference, n_tokens: int) -> Outcome:
        return Outcome(
            values=tuple(self.figure(objective, run) for objective in self.objectives),
            violations={c.text: self.violation(c, run) for c in self.constraints},
            sha256=build,
            run=build,
            n_tokens=n_tokens,
        )

    def _reference(self, build: str | None) -> Reference:
        assert build is not None
        return self.baseline if build == BASELINE else self.answers[build].reference


@dataclass(frozen=True)
class Searched:
    """What one search came to."""

    leader: str
    n_tokens: int
    n_tokens_whole: int
    tried: dict[str, str | None]
    n_trials: int


def search(bench: Bench, *, seed: int, n_trials: int, sampler: str, stops: bool = True) -> Searched:
    """Search the grid once.

    Args:
        bench: The record.
        seed: Of the study, and of the prompts' order.
        n_trials: Trials, repeats aside.
        sampler: By name.
        stops: Whether the rungs may stop a trial.
    """
    bench.order, bench.stops, bench.tried = seed, stops, {}
    chosen = bench.recipe.search.model_copy(update={"seed": seed, "sampler": sampler})
    recipe = bench.recipe.model_copy(update={"search": chosen})
    storage = optuna.storages.InMemoryStorage()
    made = optuna.create_study(
        study_name="replay",
        storage=storage,
        directions=[objective.direction for objective in bench.objectives],
    )
    record = StudyRecord(
        name="replay", storage=None, artifacts=None, ifeval_data=None, recipe=recipe, parts={}
    )
    made.set_user_attr(RECORD, record.model_dump(mode="json"))
    made.set_user_attr(BUDGET, n_trials)
    study_id = storage.get_study_id_from_name("replay")
    study = Study(
        "replay", record, bench.objectives, bench.constraints, storage, study_id, "memory"
    )
    for _ in run_trials(study, bench, me=this_process(), interrupt=Interrupt(), pulse=PULSE):
        pass
    best = study.best()
    rows = [row for row in study.rows() if row.repeats is None and row.build != BASELINE]
    return Searched(
        leader=BASELINE if best is None or best.build is None else best.build,
        n_tokens=sum(row.n_tokens for row in rows),
        n_tokens_whole=sum(bench.answers[row.build].cost for row in rows if row.build is not None),
        tried=bench.tried,
        n_trials=len(rows),
    )


def report(bench: Bench, searches: list[Searched]) -> dict[str, Any]:
    """All searches of one kind in figures."""
    objective = bench.objectives[0]
    sign = 1 if objective.direction == "maximize" else -1
    runs = {BASELINE: bench.baseline} | {
        build: bench.answers[build].reference for build in set(bench.points.values())
    }
    kept = {
        build: sign * bench.figure(objective, run)
        for build, run in runs.items()
        if all(bench.violation(c, run) <= 0 for c in bench.constraints)
    }
    best = max(kept, key=lambda build: kept[build])
    near = {
        build: _within_noise(objective, runs[best], runs[build])
        for build in {s.leader for s in searches}
    }
    tried = [s for s in searches if best in s.tried]
    stopped = [s for s in tried if s.tried[best] is not None]
    spent, whole = (sum(s.n_tokens for s in searches), sum(s.n_tokens_whole for s in searches))
    n_whole = [sum(reason is None for reason in s.tried.values()) for s in searches]
    return {
        "searches": len(searches),
        "trials": round(fmean(s.n_trials for s in searches), 1),
        "share": round(spent / whole, 4),
        "share_worst": round(max(s.n_tokens / s.n_tokens_whole for s in searches), 4),
        "whole_runs": round(fmean(n_whole), 1),
        "found": sum(near[s.leader] for s in searches),
        "regret": round(fmean(kept[best] - kept[s.leader] for s in searches), 3),
        "best_tried": len(tried),
        "best_stopped": len(stopped),
    }


def alike(bench: Bench) -> dict[str, float | None]:
    """How two builds of the grid correlate, answer by answer, by `harness.comparison.figures`.

    Builds that score all answers alike correlate with none; None where no two are left.
    """
    runs = list(dict.fromkeys(answers.reference for answers in bench.answers.values()))
    found: dict[str, float | None] = {}
    for metric in (*bench.objectives, *bench.constraints):
        named = bench.baseline.figure(metric.metric)
        assert named is not None
        task, figure = named
        keys = bench.baseline.keys(task)
        rows = np.array([[figure.top(run.by_key[key]) for key in keys] for run in runs])
        rows = rows[rows.std(axis=1) > 0]
        found[metric.metric] = None
        if len(rows) > 1:
            pairs = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
            found[metric.metric] = round(float(pairs.mean()), 3)
    return found


def _within_noise(objective: Objective, best: Reference, run: Reference) -> bool:
    """Whether the paired difference of the objective could be 0."""
    found = best.figure(objective.metric)
    assert found is not None
    task, figure = found
    keys = best.keys(task)
    sign = 1 if objective.direction == "maximize" else -1
    # a ratio's difference, answer by answer: its surplus over the best's own value
    value = best.value(figure, keys)
    assert value is not None
    surplus = [
        sign * (figure.top(run.by_key[key]) - value * figure.bottom(run.by_key[key]))
        - sign * (figure.top(best.by_key[key]) - value * figure.bottom(best.by_key[key]))
        for key in keys
    ]
    estimate = bootstrap_mean(surplus, rng=default_rng())
    return estimate.high is None or estimate.high >= 0


def _key(numbers: Mapping[str, Number]) -> tuple[tuple[str, Number], ...]:
    return tuple(sorted((name, _plain(value)) for name, value in numbers.items()))


def _plain(value: Number) -> Number:
    return float(value) if isinstance(value, float | int) else value


def _recipe(grid: Grid) -> Recipe:
    """A recipe with the grid's space; its ingredients are never opened."""
    names = list(grid.header.space)
    adapters = [n.removeprefix("weight.") for n in names if n.startswith("weight.")] or ["recorded"]
    return Recipe.model_validate(
        {
            "it": "recorded",
            "baseline": "recorded",
            "adapters": adapters,
            "fisher": "recorded",
            "subspace": "recorded",
            "heal": {"adapter": "recorded", "mask": {"mode": "project"}},
            "merge": {k: v for k, v in grid.header.own.items() if v is not None},
            "search": {
                "space": {name: d.model_dump() for name, d in grid.header.space.items()},
                "maximize": grid.header.maximize,
                "subject_to": grid.header.subject_to,
            },
        }
    )


def main(
    folder: Annotated[Path, typer.Argument(help="A recorded grid.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials of each search.")] = 24,
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each kind.")] = 50,
    sampler: Annotated[list[str] | None, typer.Option(help="Samplers by name [tpe].")] = None,
    error_rate: Annotated[
        list[float] | None, typer.Option(help="Error rates of the rungs [the recipe's default].")
    ] = None,
) -> None:
    """Search a recorded grid many times, with and without stopping trials; a JSON line each."""
    grid = Grid(folder)
    default = Search().error_rate
    typer.echo(json.dumps({"builds": len(grid.points), "alike": alike(Bench(grid, default))}))
    for name in sampler or ["tpe"]:
        for rate in error_rate or [default]:
            bench = Bench(grid, rate)
            for stops in (True, False) if rate == (error_rate or [default])[0] else (True,):
                searches = [
                    search(bench, seed=seed, n_trials=trials, sampler=name, stops=stops)
                    for seed in range(seeds)
                ]
                kind = {"sampler": name, "error_rate": rate if stops else None}
                typer.echo(json.dumps(kind | report(bench, searches)))


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    typer.run(main)
