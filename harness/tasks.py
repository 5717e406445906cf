"""Tasks: prompt sets joined with the way in which each is asked.

Names and limits in, tasks out. IFEval-like sets are asked greedily, prose is sampled with seeds;
whatever a user overrides is recorded in the run.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.prompts import PromptSet, load_prompt_set
from harness.runs import Run
from harness.settings import GREEDY, PROSE, Sampling
from harness.waves import Task
from metrics.errors import WeighinError


def task_of(
    prompts: PromptSet,
    *,
    seed: int = 0,
    samples: int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> Task:
    """One prompt set, asked as its kind is asked unless something is overridden.

    Args:
        prompts: What is asked.
        seed: Of the sampling.
        samples: Answers per prompt; only prose takes more than one.
        max_tokens: New tokens per answer.
        temperature: 0 is greedy.

    Raises:
        WeighinError: Several samples of a greedy task, which would all be the same.
    """
    sampling: Sampling = GREEDY if prompts.kind == "ifeval" else PROSE
    changes: dict[str, object] = {"seed": seed}
    if max_tokens is not None:
        changes["max_tokens"] = max_tokens
    if temperature is not None:
        changes["temperature"] = temperature
    sampling = Sampling.model_validate(sampling.model_dump() | changes)
    n_samples = 1 if samples is None else samples
    if n_samples > 1 and sampling.temperature == 0:
        raise WeighinError(
            f"task {prompts.name}: {n_samples} samples of a greedy task would all be the same; "
            "set a temperature or samples: 1"
        )
    return Task(prompts=prompts, sampling=sampling, samples=n_samples)


def split_names(names: str) -> list[str]:
    """The names in a comma-separated option."""
    return [name.strip() for name in names.split(",") if name.strip()]


def load_tasks(
    names: Sequence[str],
    *,
    ifeval_data: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    samples: int | None = None,
    max_tokens: int | None = None,
) -> list[Task]:
    """The tasks that a command names.

    Args:
        names: Built-in sets, `ifeval`, or JSON Lines files.
        ifeval_data: A local copy of IFEval.
        limit: Prompts per set, a balanced subset.
        seed: Of the subset and of the sampling.
        samples: Answers per prose prompt.
        max_tokens: New tokens per answer, for every task.

    Raises:
        WeighinError: An unknown or repeated name, an empty or broken set.
    """
    tasks = []
    for name in names:
        prompts = load_prompt_set(name, ifeval_data=ifeval_data, limit=limit, seed=seed)
        own = samples if prompts.kind == "prose" else None
        tasks.append(task_of(prompts, seed=seed, samples=own, max_tokens=max_tokens))
    labels = [task.prompts.name for task in tasks]
    repeated = {label for label in labels if labels.count(label) > 1}
    if repeated:
        raise WeighinError(f"task {sorted(repeated)[0]} is named twice; name each set once")
    if not tasks:
        raise WeighinError("no task named; expected some of ifeval, mini, prose, or a .jsonl file")
    return tasks


def tasks_of_run(run: Run) -> list[Task]:
    """The tasks that a run was asked, to ask another model the same.

    Raises:
        RunError: The run's prompts are gone or changed.
    """
    pairs = zip(run.prompt_sets(), run.header().tasks, strict=True)
    return [Task(prompts=p, sampling=t.sampling, samples=t.samples) for p, t in pairs]
