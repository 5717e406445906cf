"""Benchmarks: lm-eval's tasks on a GGUF, beside the project's own prompt sets.

Names of tasks in, figures and a folder of answers out. What a task asks and how it scores is
lm-eval's; the model is `harness.lm_eval_model`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.prompts import BUILT_IN
from harness.runs import write_whole
from harness.settings import EngineSettings
from metrics.errors import WeighinError
from metrics.stats import Estimate

FOLDER = "lm_eval"
"""In a run's folder: `results.json`, and a `samples_TASK.jsonl` for each task."""

Z_95 = 1.959964
"""Standard errors from the middle of a normal 95 % interval to its ends."""

OWN_TASKS = ("ifeval", *BUILT_IN)


def is_benchmark(name: str) -> bool:
    """Whether a task's name is for lm-eval: neither a prompt set nor a file of prompts."""
    path = Path(name)
    return name not in OWN_TASKS and (path.suffix == ".yaml" or not _names_a_file(path))


class Benchmarks:
    """Tasks of lm-eval, their data loaded."""

    def __init__(self, names: Sequence[str]) -> None:
        """Find the tasks and load their data, before a model is loaded for them.

        Args:
            names: lm-eval's tasks, groups and tags, or YAML files of tasks.

        Raises:
            WeighinError: A name that lm-eval does not know, or data that cannot be had.
        """
        from lm_eval.tasks import TaskManager

        self._manager = TaskManager()
        for name in names:
            if name not in self._manager.all_tasks and not Path(name).is_file():
                raise WeighinError(
                    f"no task {name!r}: expected some of {', '.join(OWN_TASKS)}, a .jsonl file, or "
                    "what `lm_eval ls tasks` lists"
                )
        try:
            loaded = self._manager.load(list(names))
        except (OSError, ImportError, ValueError) as error:
            said = " ".join(str(error).split())
            raise WeighinError(f"lm-eval cannot load {', '.join(names)}: {said}") from error
        groups = [loaded["groups"][name] for name in names if name in loaded["groups"]]
        inside = {task.task_name for group in groups for task in group.get_all_tasks()}
        alone = [task for name, task in loaded["tasks"].items() if name not in inside]
        self._tasks = [*groups, *alone]

    def run(
        self,
        model: Path,
        folder: Path,
        *,
        settings: EngineSettings,
        apply_chat_template: bool = False,
        limit: int | None = None,
        seed: int = 0,
    ) -> dict[str, Estimate]:
        """Run the tasks and keep every answer.

        Args:
            model: The GGUF.
            folder: The run's folder.
            settings: Of the engine; a wave does not apply.
            apply_chat_template: Ask through the GGUF's chat template.
            limit: The first documents of each task, as lm-eval takes them.
            seed: Of tasks that sample.

        Returns:
            By `task.metric`, with the normal interval that lm-eval's standard error gives.

        Raises:
            WeighinError: The model cannot be run, a task asks for what the engine has not, or the
                folder cannot be written.
        """
        from lm_eval import simple_evaluate

        from harness.lm_eval_model import WeighinLM

        given = settings.model_dump(exclude_defaults=True, exclude={"wave", "order", "context"})
        lm = WeighinLM(str(model), max_length=settings.context, seed=seed, **given)
        try:
            results: dict[str, Any] = simple_evaluate(
                model=lm,
                tasks=self._tasks,
                task_manager=self._manager,
                limit=limit,
                apply_chat_template=apply_chat_template,
            )
        finally:
            lm.close()
        _keep(results, folder / FOLDER)
        return figures(results)


def figures(results: dict[str, Any]) -> dict[str, Estimate]:
    """lm-eval's results as estimates.

    Args:
        results: What `simple_evaluate` returns.

    Returns:
        By `task.metric`, or `task.metric.filter` where a filter was applied first; what is no
        number is left out.
    """
    found = {}
    for task, row in results["results"].items():
        n = row.get("sample_len") or results["n-samples"].get(task, {}).get("effective", 0)
        for key, value in row.items():
            metric, comma, name = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = row.get(f"{metric}_stderr,{name}")
            half = Z_95 * error if isinstance(error, int | float) else None
            label = f"{task}.{metric}" if name == "none" else f"{task}.{metric}.{name}"
            found[label] = Estimate(
                value=float(value),
                low=None if half is None else value - half,
                high=None if half is None else value + half,
                n=int(n),
            )
    return found


def _keep(results: dict[str, Any], folder: Path) -> None:
    """Write the results and, task by task, what was asked and answered."""
    from lm_eval.utils import handle_non_serializable

    def text(value: Any, indent: int | None = None) -> str:
        return (
            json.dumps(value, default=handle_non_serializable, ensure_ascii=False, indent=indent)
            + "\n"
        )

    folder.mkdir(parents=True, exist_ok=True)
    for task, samples in results.pop("samples").items():
        write_whole(folder / f"samples_{task}.jsonl", "".join(text(row) for row in samples))
    write_whole(folder / "results.json", text(results, indent=2))


def _names_a_file(path: Path) -> bool:
    return path.suffix == ".jsonl" or path.is_file()
