"""One trial: numbers -> build -> screen -> run -> comparison with the baseline.

Knows the order of these steps and where a study keeps their outcomes; nothing of Optuna, of how
tensors are merged or how texts are scored. Every step leaves its outcome on disk under a name
that depends on what went in, so that a trial done before costs nothing.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.compare import compare_runs
from harness.comparison import Comparison
from harness.evaluate import Chat, Task
from harness.prompts import Half, half, load_prompt_set, take
from harness.runs import Completion, Run
from harness.settings import EngineSettings
from harness.tasks import task_of
from harness.weigh import weigh
from metrics.errors import WeighinError
from search.artifacts import Artifacts
from search.builds import remove_parts
from search.cache import file_sha256
from search.errors import StudyError
from search.objective import Constraint, Objective
from search.prepare import Prepared
from search.recipe import Number, Recipe
from search.space import is_baseline_point
from search.study import TrialRow
from search.work import Assignment, Outcome

if TYPE_CHECKING:
    import optuna

    from search.reference import Reference

BASELINE = "baseline"
"""Name of the baseline's run, and of the build of a point that changes nothing."""

BUILD_DIGITS = 16
QUESTIONS_DIGITS = 8

SCREENED = "screened"
"""Attribute of a trial: what its screening said."""

BUILD_TRIES = 2
"""Another worker may sweep a build away just before it is read; it is then made again."""


@dataclass(frozen=True)
class Bench:
    """Where a study weighs its builds: the recipe made ready, the questions, a folder."""

    ready: Prepared
    tasks: tuple[Task, ...]
    folder: Path
    """The study's: `baseline/`, `runs/` and `builds/` lie in it."""
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    storage: "optuna.storages.BaseStorage | None" = None
    """The study's; None keeps runs out of the artifact store."""
    artifacts: Artifacts | None = None
    _references: dict[str, "Reference"] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        """The study's."""
        return self.ready.recipe

    @property
    def baseline_gguf(self) -> Path:
        """IT's own build."""
        return Path(self.recipe.baseline.path)

    @cached_property
    def settings(self) -> EngineSettings:
        """What is asked of the engine for every run of the study."""
        from search.rungs import LOOKS

        asked = self.recipe.evaluate
        return EngineSettings(parallel=asked.parallel, looks=LOOKS, order=asked.seed)

    @property
    def chat(self) -> Chat:
        """How conversations are rendered."""
        return Chat(thinking=self.recipe.evaluate.thinking)

    @cached_property
    def questions(self) -> str:
        """A short hash of everything besides the GGUF that shapes a run."""
        asked = [
            [[t.prompts.sha256, t.sampling.model_dump(mode="json"), t.samples] for t in self.tasks],
            self.settings.model_dump(mode="json"),
            self.recipe.evaluate.thinking,
        ]
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
        return digest.hexdigest()[:QUESTIONS_DIGITS]

    def build_name(self, numbers: Mapping[str, Number]) -> str:
        """A name that equal builds share; `baseline` where the numbers change nothing."""
        from search.build import build_hash

        if is_baseline_point(self.recipe, numbers):
            return BASELINE
        return build_hash(self.ready, numbers)[:BUILD_DIGITS]

    def build_path(self, build: str) -> Path:
        """Where the build of that name is, or was."""
        if build == BASELINE:
            return self.baseline_gguf
        return self.folder / "builds" / f"{build}.gguf"

    def run_name(self, build: str) -> str:
        """What the run of a build on the study's questions is called."""
        return BASELINE if build == BASELINE else f"{build}-{self.questions}"

    def run_folder(self, run: str) -> Path:
        """Where the run of that name is."""
        return self.folder / BASELINE if run == BASELINE else self.folder / "runs" / run

    def baseline_run(self) -> Run:
        """The baseline's run.

        Raises:
            StudyError: It is not there, or is of another file or other questions.
        """
        run = self.baseline_if_whole()
        if run is None:
            raise StudyError(
                f"{self.folder / BASELINE}: no whole run of the baseline; weighin search makes it"
            )
        return run

    def baseline_if_whole(self) -> Run | None:
        """The baseline's run where it is whole and of this very file and these questions."""
        folder = self.folder / BASELINE
        if not (folder / "summary.json").is_file():
            return None
        run = Run.open(folder)
        return run if self._is_of_this(run) else None

    def make_baseline_run(self, check: Callable[[], None]) -> Run:
        """Make the baseline's run, or go on with it; another one in its place is moved aside.

        Args:
            check: Called after every wave; raises where the work must end.
        """
        folder = self.folder / BASELINE
        if (folder / "run.json").is_file() and not self._is_of_this(Run.open(folder)):
            aside = folder.with_name(f"{BASELINE}-{_identity(Run.open(folder))}")
            folder.rename(aside)
        return self.weigh(
            self.baseline_gguf, folder, BASELINE, settings=self.settings, after_wave=_only(check)
        )

    def weigh(
        self,
        gguf: Path,
        folder: Path,
        title: str,
        *,
        settings: EngineSettings | None = None,
        after_wave: Callable[[Run, Sequence[Completion]], str | None] | None = None,
    ) -> Run:
        """Run one GGUF on the study's questions and score it; what is there already is kept.

        Args:
            gguf: The file.
            folder: The run's.
            title: What to call it on the screen.
            settings: Of the engine; by default those that the baseline was run with.
            after_wave: Told of every wave; a reason from it ends the run there.
        """
        if (folder / "summary.json").is_file():
            return Run.open(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return weigh(
            gguf,
            self.tasks,
            folder,
            settings=settings or self._settings_of_baseline(),
            chat=self.chat,
            title=title,
            after_wave=after_wave,
        )

    def compare(self, run: Run) -> Comparison:
        """A whole run against the baseline's."""
        return compare_runs(self.baseline_run(), run)

    def require_figures(self, baseline: Run) -> None:
        """Refuse an objective or limit that what is asked has no figure for.

        Raises:
            RecipeError: It has none.
        """
        itself = compare_runs(baseline, baseline)
        for figure in self.objectives:
            figure.value(itself)
        for limit in self.constraints:
            limit.violation(itself)

    def run_of(self, row: TrialRow) -> Run:
        """A trial's run, brought from the artifact store where it was made elsewhere.

        Raises:
            StudyError: It is neither here nor there.
        """
        assert row.run is not None
        folder = self.run_folder(row.run)
        if not (folder / "run.json").is_file():
            self.fetch(row.run, row.files, f"trial {row.number} on {row.host}")
        return Run.open(folder)

    def fetch(self, run: str, files: Mapping[str, tuple[str, str]], of: str) -> None:
        """Bring a run from the artifact store.

        Raises:
            StudyError: It is not there.
            StorageError: The store cannot be read.
        """
        if self.artifacts is None or not files:
            raise StudyError(
                f"{self.run_folder(run)}: the run of {of} is not here; share the study's folder "
                "between the machines, or start the study with --artifacts s3://BUCKET"
            )
        self.run_folder(run).parent.mkdir(parents=True, exist_ok=True)
        self.artifacts.fetch(files, self.run_folder(run))

    def weigh_trial(self, given: Assignment) -> Outcome:
        """Build what the numbers say, run it, and compare it with the baseline.

        Raises:
            WeighinError: The build or the run failed; what is whole on disk stays.
        """
        if given.build == BASELINE:
            baseline = self.baseline_run()
            return self._outcome(baseline, cost=(0, 0.0))
        folder = self.run_folder(self.run_name(given.build))
        for left in reversed(range(BUILD_TRIES)):
            gguf = self.build_path(given.build)
            try:
                return self._weigh_build(given, gguf, folder)
            except WeighinError:
                if not left or gguf.is_file():
                    raise
        raise AssertionError("unreachable")

    def reference(self, run: Run) -> "Reference":
        """A whole run's scores, read once."""
        from search.reference import Reference

        key = str(run.folder)
        if key not in self._references:
            self._references[key] = Reference(run.scores())
        return self._references[key]

    def _weigh_build(self, given: Assignment, gguf: Path, folder: Path) -> Outcome:
        whole = (folder / "summary.json").is_file()
        began = time.monotonic()
        if not whole or self._wants_screen(given):
            self._build(given, gguf)
        build_s = time.monotonic() - began
        given.check()
        screened = self._screen(given, gguf)
        if screened is not None and screened[1] > 0:
            text, violation, reason = screened
            return Outcome(
                values=None,
                violations={text: violation},
                sha256=file_sha256(gguf),
                run=None,
                stopped=reason,
                seconds=build_s,
            )
        outcome = (
            self._outcome(Run.open(folder)) if whole else self._run(given, gguf, folder, build_s)
        )
        if screened is not None:
            outcome = replace(outcome, violations={screened[0]: screened[1], **outcome.violations})
        return self._kept(given, outcome)

    def _build(self, given: Assignment, gguf: Path) -> None:
        from search.build import build

        gguf.parent.mkdir(parents=True, exist_ok=True)
        if given.dead is not None:
            remove_parts(gguf, given.dead)
        if not gguf.is_file():
            build(self.ready, given.numbers, gguf)

    def _wants_screen(self, given: Assignment) -> bool:
        return self.recipe.search.screen is not None and self._screened(given) is None

    def _screened(self, given: Assignment) -> tuple[str, float, str] | None:
        """What the trial's screening said, if it was screened before it was interrupted."""
        if self.storage is None:
            return None
        found = self.storage.get_trial(given.trial_id).user_attrs.get(SCREENED)
        return None if found is None else (found[0], found[1], found[2])

    def _screen(self, given: Assignment, gguf: Path) -> tuple[str, float, str] | None:
        """How far a build is from the baseline: the limit's text, the violation and its reason."""
        limits = self.recipe.search.screen
        if limits is None:
            return None
        known = self._screened(given)
        if known is not None:
            return known
        from search.screen import screen

        found = screen(
            self.baseline_run(), self.baseline_gguf, gguf, limits, self._settings_of_baseline()
        )
        if self.storage is not None:
            self.storage.set_trial_user_attr(
                given.trial_id, SCREENED, [found.text, found.violation, found.reason]
            )
        return found.text, found.violation, found.reason

    def _run(self, given: Assignment, gguf: Path, folder: Path, build_s: float) -> Outcome:
        from search.rungs import Rungs, score_wave

        rungs = Rungs(
            self.objectives,
            self.constraints,
            self.reference(self.baseline_run()),
            [self.reference(run) for run in self._to_beat(given.leaders)],
            others=[self.reference(self.run_of(row)) for row in self._comparable(given.references)],
            looks=self.settings.looks,
            error_rate=self.recipe.search.error_rate,
        )
        reason: str | None = None

        def after_wave(run: Run, completions: Sequence[Completion]) -> str | None:
            nonlocal reason
            reason = rungs.see(score_wave(run, completions))
            if reason is None:
                given.check()
            return reason

        run = self.weigh(gguf, folder, f"trial {given.number}", after_wave=after_wave)
        header = run.header()
        cost = (header.usage.n_tokens, header.usage.seconds + build_s)
        if reason is None:
            return self._outcome(run, cost=cost)
        told = rungs.told
        return Outcome(
            values=told.values,
            violations=told.violations,
            sha256=header.model.sha256,
            run=run.name,
            stopped=reason,
            n_tokens=cost[0],
            seconds=cost[1],
        )

    def _to_beat(self, leaders: Sequence[TrialRow]) -> list[Run]:
        """The leaders' runs, and the baseline's where none of them beats it."""
        baseline = self.baseline_run()
        itself = self.compare(baseline)
        own = [objective.value(itself) for objective in self.objectives]
        signs = [1 if objective.direction == "maximize" else -1 for objective in self.objectives]
        rows = self._comparable(leaders)
        beaten = any(
            row.values is not None
            and all(s * v > s * o for s, v, o in zip(signs, row.values, own, strict=True))
            for row in rows
        )
        runs = [self.run_of(row) for row in rows]
        if len(self.objectives) == 1:
            return runs if beaten else [baseline]
        return runs if beaten else [*runs, baseline]

    def _comparable(self, rows: Sequence[TrialRow]) -> list[TrialRow]:
        """Rows with a run of their own on these very questions."""
        return [row for row in rows if (row.run or "").endswith(f"-{self.questions}")]

    def _outcome(self, run: Run, *, cost: tuple[int, float] | None = None) -> Outcome:
        """A whole run's figures."""
        comparison = self.compare(run)
        header = run.header()
        n_tokens, seconds = cost or (header.usage.n_tokens, header.usage.seconds)
        return Outcome(
            values=tuple(objective.value(comparison) for objective in self.objectives),
            violations={c.text: c.violation(comparison) for c in self.constraints},
            sha256=header.model.sha256,
            run=run.name,
            n_tokens=n_tokens,
            seconds=seconds,
        )

    def _kept(self, given: Assignment, outcome: Outcome) -> Outcome:
        """The outcome, its run in the artifact store."""
        if self.artifacts is None or self.storage is None or outcome.run is None:
            return outcome
        trial = self.storage.get_trial(given.trial_id)
        files = self.artifacts.keep(self.run_folder(outcome.run), trial, self.storage)
        return replace(outcome, files=files)

    def _settings_of_baseline(self) -> EngineSettings:
        """As the baseline was run: how many answers share a batch hangs on a machine's memory."""
        engine = self.baseline_run().header().engine
        return self.settings.model_copy(update={"parallel": engine.parallel})

    def _is_of_this(self, run: Run) -> bool:
        header = run.header()
        asked = [(t.prompts.name, t.prompts.sha256, t.sampling, t.samples) for t in self.tasks]
        found = [(t.name, t.prompts_sha256, t.sampling, t.samples) for t in header.tasks]
        engine, settings = header.engine, self.settings
        return (
            header.model.sha256 == self.ready.template_sha256
            and asked == found
            and header.chat.thinking == self.recipe.evaluate.thinking
            and (engine.looks, engine.order) == (settings.looks, settings.order)
            and settings.parallel in (None, engine.parallel)
        )


def tasks_of_recipe(
    recipe: Recipe, ifeval_data: Path | None = None, which: Half = "search"
) -> tuple[Task, ...]:
    """The questions that every build is asked.

    Args:
        recipe: Its `evaluate` section names them; a limit counts prompts of the half. Without
            `confirm` the search sees all of a set.
        ifeval_data: A local copy of IFEval.
        which: The half to search by, or the one that is held back to confirm the choice.

    Raises:
        WeighinError: No such set, a half without prompts, or nothing is held back.
    """
    asked = recipe.evaluate
    if which == "confirm" and not asked.confirm:
        raise WeighinError("`evaluate.confirm` is false: no prompts are held back to confirm on")
    tasks = []
    for name, wanted in asked.tasks.items():
        prompts = load_prompt_set(wanted.prompts or name, ifeval_data=ifeval_data)
        if asked.confirm:
            prompts = half(prompts, which, seed=asked.seed)
        if wanted.limit is not None:
            prompts = take(prompts, wanted.limit, seed=asked.seed)
        prompts = prompts.model_copy(update={"name": name})
        samples = wanted.samples if prompts.kind == "prose" else None
        tasks.append(
            task_of(prompts, seed=asked.seed, samples=samples, max_tokens=wanted.max_tokens)
        )
    return tuple(tasks)


def _only(check: Callable[[], None]) -> Callable[[Run, Sequence[Completion]], str | None]:
    def after_wave(_run: Run, _completions: Sequence[Completion]) -> None:
        check()

    return after_wave


def _identity(run: Run) -> str:
    """A short hash of a run's header, to move it aside under."""
    text = run.header().model_dump_json(exclude={"usage", "versions"})
    return hashlib.sha256(text.encode()).hexdigest()[:QUESTIONS_DIGITS]
