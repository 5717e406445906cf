"""The study: its trials as rows, what it is bound to, which of them lead.

Knows Optuna's studies and what is kept with them; nothing of models, of how trials are weighed or
of who works on them. The study's storage is Optuna's own.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.errors import RecipeError, StudyError
from search.proposing.samplers import check_sampler
from search.proposing.space import first_points
from search.recipe import Number, Recipe
from search.study.artifacts import absolute_place
from search.study.fingerprint import Parts, changes, told
from search.study.objective import (
    Constraint,
    Objective,
    constraints_of,
    nondominated,
    parse_objectives,
)
from search.study.record import DATABASE, Change, StudyRecord, read_record
from search.study.storage import open_storage, storage_errors, without_password

if TYPE_CHECKING:
    import optuna

RECORD = "study"
"""Attribute that holds the study's record."""
BUDGET = "n_trials"
"""Attribute that holds how many trials are wanted in all."""


@dataclass(frozen=True)
class TrialRow:
    """One trial as the table, the JSON and the search for the best see it."""

    number: int
    state: str
    """Optuna's: complete, running, fail, pruned, waiting."""
    params: dict[str, Number]
    """The numbers that were built; rounded, so not always Optuna's own."""
    values: tuple[float, ...] | None
    """One per objective; estimates where it was stopped."""
    violations: dict[str, float]
    """By constraint; above 0 breaks it."""
    build: str | None
    """First digits of the build's hash."""
    sha256: str | None
    """Of the GGUF that was scored."""
    run: str | None
    """Name of the run's folder."""
    stopped: str | None
    """Why it ended before its last answer."""
    repeats: int | None
    """The trial that had this build before; this one cost nothing and counts for nothing."""
    error: str | None
    """Why it failed."""
    failure: str | None
    """The kind of that reason."""
    n_tokens: int
    """Generated for it."""
    seconds: float
    """Spent building and generating."""
    host: str | None
    """The machine that ended it."""
    leaders: tuple[int, ...] | None
    """The trials that it had to beat when it began."""
    references: tuple[int, ...] | None
    """Other whole trials, by which its answers were foretold."""
    files: dict[str, tuple[str, str]]
    """Its run's files in the artifact store: id and SHA-256 by name."""

    @property
    def whole(self) -> bool:
        """Whether every answer was given, so that its figures are no estimates."""
        return self.state == "complete" and self.stopped is None

    @property
    def feasible(self) -> bool:
        """Whether every constraint is kept."""
        return self.values is not None and all(v <= 0 for v in self.violations.values())


@dataclass(frozen=True)
class Study:
    """A study that can be gone on with."""

    name: str
    record: StudyRecord
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    storage: "optuna.storages.BaseStorage"
    id: int
    """Its number in the storage."""
    url: str
    """Of the storage, to name it in an error."""

    @property
    def recipe(self) -> Recipe:
        """What is searched."""
        return self.record.recipe

    @property
    def n_trials(self) -> int:
        """How many trials are wanted in all, repeats aside."""
        return int(self.attribute(BUDGET))

    def optuna_study(self, sampler: "optuna.samplers.BaseSampler | None" = None) -> "optuna.Study":
        """Optuna's own view of it, opened anew, so that it remembers no trial."""
        import optuna

        return optuna.load_study(study_name=self.name, storage=self.storage, sampler=sampler)

    def attribute(self, name: str) -> Any:
        """One of the study's attributes; None where it is not there."""
        return self.storage.get_study_user_attrs(self.id).get(name)

    def set(self, name: str, value: Any) -> None:
        """Set one of them."""
        self.storage.set_study_user_attr(self.id, name, value)

    def trials(self) -> list["optuna.trial.FrozenTrial"]:
        """Optuna's trials in order, waiting ones included."""
        return self.storage.get_all_trials(self.id, deepcopy=False)

    def rows(self) -> list[TrialRow]:
        """Every trial that was begun, in order."""
        rows = (row_of(trial) for trial in self.trials())
        return [row for row in rows if row.state != "waiting"]

    def ranked(self) -> list[TrialRow]:
        """The whole trials, from best to worst by the first objective; equals in order."""
        sign = 1 if self.objectives[0].direction == "minimize" else -1
        ended = [(row.values[0], row) for row in self.rows() if row.whole and row.values]
        return [row for _, row in sorted(ended, key=lambda pair: sign * pair[0])]

    def best(self) -> TrialRow | None:
        """The best of the ranked trials that keeps every constraint; None if none does."""
        return next((row for row in self.ranked() if row.feasible), None)

    def leaders(self) -> list[TrialRow]:
        """What a trial has to beat: the best, or with several objectives the front."""
        best = self.best()
        if best is None or len(self.objectives) == 1:
            return [] if best is None else [best]
        kept = [row for row in self.ranked() if row.feasible]
        points = [row.values for row in kept if row.values is not None]
        return [kept[index] for index in nondominated(points, self.objectives)]

    def require_unchanged(self) -> None:
        """Refuse to go on where somebody has changed what the study is bound to.

        Raises:
            StudyError: What, and that this process must begin anew.
        """
        now = StudyRecord.parse(self.attribute(RECORD), f"study {self.name}").parts
        found = changes(self.record.parts, now)
        if found:
            raise StudyError(
                f"study {self.name} was changed while this process worked on it ({told(found)}); "
                "start it again"
            )


def open_study(
    recipe: Recipe,
    *,
    name: str,
    storage: str,
    parts: Parts,
    n_trials: int,
    default_storage: bool = False,
    artifacts: str | None = None,
    ifeval_data: Path | None = None,
    accept: bool = False,
) -> Study:
    """Open a study, or make it.

    Args:
        recipe: What is searched; its objective, constraints and sampler are checked here.
        name: The study's name in the storage.
        storage: Storage URL.
        parts: What the study is bound to, by `parts_of`.
        n_trials: Trials wanted in all.
        default_storage: Whether the storage is the file beside the results, which is not recorded
            by its place, so that the folder can be moved.
        artifacts: Where runs are kept for other machines; None keeps what was said before.
        ifeval_data: A local copy of IFEval that the prompts come from.
        accept: Go on although parts have changed; what did is recorded.

    Raises:
        RecipeError: Nothing to search, an objective or constraint that cannot be read.
        StudyError: A study of that name that is bound to something else.
        StorageError: The storage cannot be reached.
    """
    if not recipe.search.space:
        raise RecipeError("nothing to search: `search.space` names no number; add s or alpha")
    objectives = parse_objectives(recipe.search.maximize)
    constraints = constraints_of(recipe)
    check_sampler(recipe.search, len(objectives))
    first_points(recipe)
    opened = open_storage(storage)
    with storage_errors(storage):
        study_id = _make(opened, name, objectives)
        known = opened.get_study_user_attrs(study_id).get(RECORD)
        fresh = StudyRecord(
            name=name,
            storage=None if default_storage else without_password(_absolute(storage)),
            artifacts=None if artifacts is None else absolute_place(artifacts),
            ifeval_data=None if ifeval_data is None else str(ifeval_data.resolve()),
            recipe=recipe,
            parts=parts,
        )
        if known is None:
            if opened.get_n_trials(study_id):
                raise StudyError(
                    f"study {name}: was made by an earlier weighin, and cannot be gone on with; "
                    "name another study with --out"
                )
            record = fresh
        else:
            record = _bound(
                StudyRecord.parse(known, f"study {name}"), fresh, opened, study_id, accept
            )
        if known is None or record.model_dump(mode="json") != known:
            opened.set_study_user_attr(study_id, RECORD, record.model_dump(mode="json"))
        opened.set_study_user_attr(study_id, BUDGET, n_trials)
    return Study(name, record, objectives, constraints, opened, study_id, storage)


def load_study(place: str | Path, storage: str | None = None) -> Study:
    """Open a study that exists, without the recipe's file.

    Args:
        place: The study's folder, or with `storage` its name.
        storage: Storage URL; by default what is recorded in the folder.

    Raises:
        StudyError: No such study.
        StorageError: The storage cannot be reached.
    """
    folder = Path(place)
    if storage is None:
        beside = read_record(folder)
        name, storage = beside.name, beside.storage or default_url(folder)
    else:
        name = folder.name
    if storage == default_url(folder) and not (folder / DATABASE).is_file():
        raise StudyError(f"{folder}: {DATABASE} is gone; name the storage with --storage")
    opened = open_storage(storage)
    with storage_errors(storage):
        try:
            study_id = opened.get_study_id_from_name(name)
        except KeyError:
            found = ", ".join(study.study_name for study in opened.get_all_studies())
            raise StudyError(
                f"no study {name!r} in {without_password(storage)}; "
                f"{'known are ' + found if found else 'it holds none'}; start one with "
                "weighin search"
            ) from None
        known = opened.get_study_user_attrs(study_id).get(RECORD)
    record = StudyRecord.parse(known, f"study {name}")
    objectives = parse_objectives(record.recipe.search.maximize)
    return Study(name, record, objectives, constraints_of(record.recipe), opened, study_id, storage)


def default_url(folder: Path) -> str:
    """The storage of a study that names none: a file in its folder."""
    return f"sqlite:///{(folder / DATABASE).absolute()}"


def row_of(trial: "optuna.trial.FrozenTrial") -> TrialRow:
    """Optuna's trial with what is kept beside it."""
    kept = trial.user_attrs
    leaders, references = kept.get("leaders"), kept.get("references")
    return TrialRow(
        number=trial.number,
        state=trial.state.name.lower(),
        params=dict(kept.get("numbers", trial.params)),
        values=None if trial.values is None else tuple(trial.values),
        violations=dict(trial.constraints),
        build=kept.get("build"),
        sha256=kept.get("sha256"),
        run=kept.get("run"),
        stopped=kept.get("stopped"),
        repeats=kept.get("repeats"),
        error=kept.get("error"),
        failure=kept.get("failure"),
        n_tokens=kept.get("n_tokens", 0),
        seconds=kept.get("seconds", 0.0),
        host=kept.get("host"),
        leaders=None if leaders is None else tuple(leaders),
        references=None if references is None else tuple(references),
        files={name: (place, digest) for name, (place, digest) in kept.get("files", {}).items()},
    )


def _make(
    storage: "optuna.storages.BaseStorage", name: str, objectives: Sequence[Objective]
) -> int:
    """The study's number in the storage; several processes may ask at once."""
    import optuna

    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[objective.direction for objective in objectives],
        load_if_exists=True,
    )
    if [d.name.lower() for d in study.directions] != [o.direction for o in objectives]:
        raise StudyError(
            f"study {name}: was made for {len(study.directions)} objectives in other directions; "
            "name another study with --out"
        )
    with warnings.catch_warnings():
        # the names are for optuna-dashboard; Optuna still calls the method experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.metric for objective in objectives])
    return storage.get_study_id_from_name(name)


def _bound(
    known: StudyRecord,
    fresh: StudyRecord,
    storage: "optuna.storages.BaseStorage",
    study_id: int,
    accept: bool,
) -> StudyRecord:
    """The record of a study that goes on.

    Raises:
        StudyError: Parts have changed, and that was not asked for.
    """
    found = changes(known.parts, fresh.parts)
    if found and not accept:
        raise StudyError(
            f"study {known.name}: {told(found)}; undo that, name another study with --out, or go "
            "on with --accept-changes"
        )
    n_begun = sum(t.state.name != "WAITING" for t in storage.get_all_trials(study_id))
    change = (Change(at_trial=n_begun, what=tuple(found)),) if found else ()
    return fresh.model_copy(
        update={
            "changes": known.changes + change,
            "artifacts": known.artifacts if fresh.artifacts is None else fresh.artifacts,
        }
    )


def _absolute(url: str) -> str:
    """A SQLite URL by the file's absolute path, so that it holds in every folder."""
    prefix = "sqlite:///"
    path = url.removeprefix(prefix)
    if not url.startswith(prefix) or path.startswith(("/", ":memory:")) or not path:
        return url
    return prefix + str(Path(path).absolute())
