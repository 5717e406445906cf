"""Bench: where a study weighs its builds: the recipe made ready, the questions, a folder.

Knows what builds and runs are called and where they lie, how every run of a study is asked, and
the baseline's run; nothing of Optuna, of how tensors are merged or how texts are scored. Names
depend on what went in, so that what was done before is found again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.comparison.compare import compare_runs
from harness.comparison.records import Comparison
from harness.console import note
from harness.evaluate import Chat
from harness.machine import this_machine
from harness.prompts import Half, half, load_prompt_set, take
from harness.runs import Completion, Run
from harness.settings import EngineSettings, default_threads
from harness.tasks import task_of
from harness.waves import Task, Turn
from harness.weigh import weigh
from metrics.errors import WeighinError
from search.errors import StudyError
from search.prepare import Prepared
from search.proposing.space import is_baseline_point
from search.recipe import Number, Recipe
from search.study.artifacts import Artifacts
from search.study.objective import Constraint, Objective
from search.study.study import Study, TrialRow

if TYPE_CHECKING:
    from search.trials.reference import Reference

BASELINE = "baseline"
"""Name of the baseline's run, and of the build of a point that changes nothing."""

BUILD_DIGITS = 16
QUESTIONS_DIGITS = 8


@dataclass(frozen=True)
class Bench:
    """Where a study weighs its builds: the recipe made ready, the questions, a folder."""

    ready: Prepared
    tasks: tuple[Task, ...]
    folder: Path
    """The study's: `baseline/`, `runs/` and `builds/` lie in it."""
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    artifacts: Artifacts | None = None
    """Where runs are kept for other machines."""
    held_back: tuple[Task, ...] = ()
    """What the search does not see, to confirm its choice on."""
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
        from search.trials.rungs import looks_for

        asked = self.recipe.evaluate
        n_answers = sum(len(task.prompts.prompts) * task.samples for task in self.tasks)
        return EngineSettings(parallel=asked.parallel, looks=looks_for(n_answers), order=asked.seed)

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

    def make_baseline_run(self, check: Callable[[], None], title: str = BASELINE) -> Run:
        """Make the baseline's run, or go on with it; another one in its place is moved aside.

        Args:
            check: Called after every wave; raises where the work must end.
            title: What to call it on the screen.
        """
        folder = self.folder / BASELINE
        if (folder / "run.json").is_file() and not self._is_of_this(Run.open(folder)):
            aside = folder.with_name(f"{BASELINE}-{_identity(Run.open(folder))}")
            folder.rename(aside)
        return self.weigh(
            self.baseline_gguf, folder, title, settings=self.settings, after_wave=_only(check)
        )

    def weigh(
        self,
        gguf: Path,
        folder: Path,
        title: str,
        *,
        settings: EngineSettings | None = None,
        after_wave: Callable[[Run, Sequence[Completion]], str | None] | None = None,
        turn: Turn | None = None,
    ) -> Run:
        """Run one GGUF on the study's questions and score it; what is there already is kept.

        Args:
            gguf: The file.
            folder: The run's.
            title: What to call it on the screen.
            settings: Of the engine; by default those that the baseline was run with.
            after_wave: Told of every wave; a reason from it ends the run there.
            turn: Names the task that goes on, after every wave.
        """
        if (folder / "summary.json").is_file():
            return Run.open(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if _is_begun_elsewhere(folder):
            note(f"{title}: begun on another kind of machine, so it is begun anew")
            shutil.rmtree(folder)
        return weigh(
            gguf,
            self.tasks,
            folder,
            settings=settings or self.settings_of_baseline(),
            chat=self.chat,
            title=title,
            after_wave=after_wave,
            turn=turn,
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

    def keep(self, run: Run, study: Study) -> dict[str, tuple[str, str]]:
        """Put a run that is no trial's into the artifact store; its files by name, none without.

        Raises:
            StorageError: The store refuses.
        """
        if self.artifacts is None:
            return {}
        return self.artifacts.keep(run.folder, study.optuna_study(), study.storage)

    def reference(self, run: Run) -> "Reference":
        """A whole run's scores, read once."""
        from search.trials.reference import Reference

        key = str(run.folder)
        if key not in self._references:
            self._references[key] = Reference(run.scores())
        return self._references[key]

    def settings_of_baseline(self) -> EngineSettings:
        """As the baseline was run: how many answers share a batch hangs on a machine's memory."""
        engine = self.baseline_run().header().engine
        return self.settings.model_copy(update={"parallel": engine.parallel, "wave": engine.wave})

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


def _is_begun_elsewhere(folder: Path) -> bool:
    """Whether a run that is not whole cannot be gone on with here, with the same bytes."""
    if not (folder / "run.json").is_file():
        return False
    header = Run.open(folder).header()
    # what llama.cpp says of itself is known once a model is loaded; the rest tells machines apart
    here = this_machine(header.machine.system_info)
    return here != header.machine or header.engine.threads != default_threads()


def _identity(run: Run) -> str:
    """A short hash of a run's header, to move it aside under."""
    text = run.header().model_dump_json(exclude={"usage", "versions"})
    return hashlib.sha256(text.encode()).hexdigest()[:QUESTIONS_DIGITS]
