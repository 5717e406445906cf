"""One trial: numbers -> build -> run -> comparison with the baseline.

Knows the order of these steps and where a study keeps their outcomes; nothing of Optuna, of how
tensors are merged or how texts are scored. Every step leaves its outcome on disk under a name
that depends on what went in, so that a trial done before costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.compare import compare_runs
from harness.comparison import Comparison
from harness.evaluate import Chat, Task
from harness.prompts import load_prompt_set
from harness.runs import Run
from harness.settings import EngineSettings
from harness.tasks import task_of
from harness.weigh import weigh
from search.prepare import Prepared
from search.recipe import Number, Recipe


@dataclass(frozen=True)
class Bench:
    """Where a study weighs its builds: the recipe made ready, the questions, a folder."""

    ready: Prepared
    tasks: tuple[Task, ...]
    folder: Path
    """The study's: `baseline/`, `runs/` and `builds/` lie in it."""

    @property
    def baseline_gguf(self) -> Path:
        """IT's own build."""
        return Path(self.ready.recipe.baseline.path)

    def build_path(self, build: str) -> Path:
        """Where the build of that name is, or was."""
        return self.folder / "builds" / f"{build}.gguf"

    def run_folder(self, build: str) -> Path:
        """Where the build of that name was run."""
        return self.folder / "runs" / build

    def baseline_run(self) -> Run:
        """The baseline's run, made on first use and gone on with where it was stopped."""
        return self.weigh(self.baseline_gguf, self.folder / "baseline", "baseline")

    def weigh(self, gguf: Path, folder: Path, title: str) -> Run:
        """Run one GGUF on the study's questions and score it; what is there already is kept."""
        if (folder / "summary.json").is_file():
            return Run.open(folder)
        asked = self.ready.recipe.evaluate
        return weigh(
            gguf,
            self.tasks,
            folder,
            settings=EngineSettings(parallel=asked.parallel),
            chat=Chat(thinking=asked.thinking),
            title=title,
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    build: str
    """`build_hash` of the build."""
    sha256: str
    """Of the GGUF that was scored."""
    gguf: Path
    run: Run
    comparison: Comparison


def tasks_of_recipe(recipe: Recipe, ifeval_data: Path | None = None) -> tuple[Task, ...]:
    """The questions that every build is asked.

    Args:
        recipe: Its `evaluate` section names them.
        ifeval_data: A local copy of IFEval.
    """
    seed = recipe.evaluate.seed
    tasks = []
    for name, wanted in recipe.evaluate.tasks.items():
        prompts = load_prompt_set(
            wanted.prompts or name, ifeval_data=ifeval_data, limit=wanted.limit, seed=seed
        )
        prompts = prompts.model_copy(update={"name": name})
        samples = wanted.samples if prompts.kind == "prose" else None
        tasks.append(task_of(prompts, seed=seed, samples=samples, max_tokens=wanted.max_tokens))
    return tuple(tasks)


def weigh_numbers(bench: Bench, chosen: Mapping[str, Number], title: str) -> Outcome:
    """Build what the numbers say, run it, and compare it with the baseline.

    Args:
        bench: The study's.
        chosen: The trial's numbers.
        title: What to call it on the screen.

    Raises:
        WeighinError: The build or the run failed; what is whole on disk stays.
    """
    from search.build import build, build_hash

    name = build_hash(bench.ready, chosen)[:16]
    gguf, folder = bench.build_path(name), bench.run_folder(name)
    gguf.parent.mkdir(parents=True, exist_ok=True)
    if not (folder / "summary.json").is_file() and not gguf.is_file():
        build(bench.ready, chosen, gguf)
    run = bench.weigh(gguf, folder, title)
    return Outcome(
        build=name,
        sha256=run.header().model.sha256,
        gguf=gguf,
        run=run,
        comparison=compare_runs(bench.baseline_run(), run),
    )
