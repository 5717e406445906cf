"""The study: Optuna proposes numbers, a bench weighs them, Optuna is told.

Knows Optuna and what a study keeps; nothing of models. The study's storage is Optuna's own
(SQLite by default). Each trial's sampler is seeded from the study's seed and the trial's number,
so that a study stopped anywhere proposes what one that was never stopped would have.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.evaluate import Task
from metrics.errors import WeighinError
from search.errors import RecipeError
from search.objective import Constraint, Objective, constraints_of, parse_objectives
from search.recipe import Number, Recipe
from search.samplers import sampler_for
from search.space import first_points, suggest
from search.trial import Bench, Outcome

if TYPE_CHECKING:
    import optuna

MAX_FAILURES = 3
"""Failed trials in a row that stop a study."""


@dataclass(frozen=True)
class TrialRow:
    """One trial as the table, the JSON and the search for the best see it."""

    number: int
    state: str
    """Optuna's: complete, running, fail, pruned, waiting."""
    params: dict[str, Number]
    values: tuple[float, ...] | None
    """One per objective."""
    violations: dict[str, float]
    """By constraint; above 0 breaks it."""
    build: str | None
    sha256: str | None
    run: str | None
    """The run's folder within the study's."""
    error: str | None
    """Why it failed."""

    @property
    def feasible(self) -> bool:
        """Whether every constraint is kept."""
        return self.values is not None and all(v <= 0 for v in self.violations.values())


@dataclass(frozen=True)
class Study:
    """A study that can be gone on with."""

    name: str
    recipe: Recipe
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    optuna: "optuna.Study"

    def rows(self) -> list[TrialRow]:
        """Every trial in order."""
        return [_row(trial) for trial in self.optuna.get_trials(deepcopy=False)]

    def ranked(self) -> list[TrialRow]:
        """The trials that ended, from best to worst by the first objective; equals in order."""
        sign = 1 if self.objectives[0].direction == "minimize" else -1
        ended = [(row.values[0], row) for row in self.rows() if row.values is not None]
        return [row for _, row in sorted(ended, key=lambda pair: sign * pair[0])]

    def best(self) -> TrialRow | None:
        """The best of the ranked trials that keeps every constraint; None if none does."""
        return next((row for row in self.ranked() if row.feasible), None)


def open_study(recipe: Recipe, *, name: str, storage: str, fingerprint: str) -> Study:
    """Open a study, or make it.

    Args:
        recipe: What is searched; its objective and constraints are checked here.
        name: The study's name in the storage.
        storage: Optuna storage URL.
        fingerprint: Hash of everything that a trial's outcome depends on besides its numbers.

    Raises:
        RecipeError: Nothing to search, an objective or constraint that cannot be read, or a study
            of that name that was made for something else.
    """
    import optuna

    if not recipe.search.space:
        raise RecipeError("nothing to search: `search.space` names no number; add s or alpha")
    objectives = parse_objectives(recipe.search.maximize)
    constraints = constraints_of(recipe)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[objective.direction for objective in objectives],
        load_if_exists=True,
    )
    known = study.user_attrs.get("fingerprint")
    if known is None:
        study.set_user_attr("fingerprint", fingerprint)
        with warnings.catch_warnings():
            # the names are for optuna-dashboard; Optuna still calls the method experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.metric for objective in objectives])
        for point in first_points(recipe):
            study.enqueue_trial(point)
    elif known != fingerprint:
        raise RecipeError(
            f"study {name}: was made for another recipe, ingredients, prompts or baseline; "
            "undo the change, or name another study with --out"
        )
    return Study(name, recipe, objectives, constraints, study)


def run_trials(
    study: Study,
    n_trials: int,
    weigh: Callable[[dict[str, Number], int], Outcome],
) -> Iterator[TrialRow]:
    """Run trials until the study has `n_trials`; yields each as it ends.

    A trial that a killed process left running is gone on with under its own number, so that no
    proposal is lost or made twice.

    Args:
        study: The open study.
        n_trials: Trials in all, those of earlier sessions included.
        weigh: Turns a trial's numbers and its number in the study into an outcome.
    """
    import optuna

    while True:
        trials = study.optuna.get_trials(deepcopy=False)
        left = [t for t in trials if t.state == optuna.trial.TrialState.RUNNING]
        ended = sum(t.state.is_finished() for t in trials)
        waiting = any(t.state == optuna.trial.TrialState.WAITING for t in trials)
        done = ended >= n_trials or (study.recipe.search.sampler == "grid" and not waiting)
        if not left and done:
            return
        number = left[0].number if left else ended
        study.optuna.sampler = sampler_for(study.recipe.search, number)
        trial = optuna.Trial(study.optuna, left[0]._trial_id) if left else study.optuna.ask()
        numbers = suggest(trial, study.recipe)
        try:
            outcome = weigh(numbers, trial.number)
        except WeighinError as error:
            trial.set_user_attr("error", str(error))
            failed = _row(study.optuna.tell(trial, state=optuna.trial.TrialState.FAIL))
            yield failed
            _stop_if_hopeless(study.rows(), error)
            continue
        yield _row(study.optuna.tell(trial, _record(study, trial, outcome)))


def sweep_builds(bench: Bench, study: Study) -> None:
    """Delete the builds that the recipe does not ask to keep; never the leader's."""
    keep = study.recipe.search.keep
    if keep == "all":
        return
    best = study.best()
    kept = {best.build} if best is not None else set()
    if isinstance(keep, int):
        kept |= {row.build for row in study.ranked()[:keep]}
    for path in (bench.folder / "builds").glob("*.gguf"):
        if path.stem not in kept:
            path.unlink()


def fingerprint_of(recipe: Recipe, tasks: Sequence[Task]) -> str:
    """Hash of what every trial of a study shares: the merge, the questions and the baseline.

    The number of trials, the sampler and what is kept are left out: they may change on the way.
    """
    import json

    parts: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json", exclude={"search": {"trials", "keep", "sampler"}}),
        "tasks": [[t.prompts.sha256, t.sampling.model_dump(mode="json"), t.samples] for t in tasks],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _record(study: Study, trial: "optuna.Trial", outcome: Outcome) -> list[float]:
    """Keep with the trial what became of it; returns its objective values."""
    for constraint in study.constraints:
        # a trial that was killed after this line has its constraints already
        if constraint.text not in trial.constraints:
            trial.set_constraint(constraint.text, constraint.violation(outcome.comparison))
    trial.set_user_attr("build", outcome.build)
    trial.set_user_attr("sha256", outcome.sha256)
    trial.set_user_attr("run", outcome.run.folder.name)
    return [objective.value(outcome.comparison) for objective in study.objectives]


def _stop_if_hopeless(rows: Sequence[TrialRow], error: WeighinError) -> None:
    """Stop a study whose last trials all failed: the next would too."""
    ended = [row.state for row in rows if row.state in ("complete", "fail", "pruned")]
    if ended[-MAX_FAILURES:] == ["fail"] * MAX_FAILURES:
        raise WeighinError(f"{MAX_FAILURES} trials failed in a row, the last: {error}") from None


def _row(trial: "optuna.trial.FrozenTrial") -> TrialRow:
    return TrialRow(
        number=trial.number,
        state=trial.state.name.lower(),
        params=dict(trial.params),
        values=None if trial.values is None else tuple(trial.values),
        violations=dict(trial.constraints),
        build=trial.user_attrs.get("build"),
        sha256=trial.user_attrs.get("sha256"),
        run=trial.user_attrs.get("run"),
        error=trial.user_attrs.get("error"),
    )
