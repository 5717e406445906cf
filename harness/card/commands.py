"""Commands: what to type to ask a file the same as a run was asked.

A run's header in, command lines out; where a run was asked in a way that the command line cannot
say, there are none.
"""

import shlex
from collections.abc import Iterator, Sequence

from harness.ifeval_set import N_PROMPTS
from harness.prompts import BUILT_IN, load_prompt_set
from harness.runs import RunHeader, TaskSettings
from harness.settings import GREEDY, PROSE


def eval_commands(header: RunHeader, file: str) -> list[str]:
    """`weighin eval` for each group of tasks that one command can ask.

    Args:
        header: The run's.
        file: What the GGUF is called.

    Returns:
        Nothing where a set is the user's own or a half, or where a search cut the waves.
    """
    if header.engine.looks or header.engine.order is not None:
        return []
    groups: dict[str, list[str]] = {}
    for task in header.tasks:
        options = _options(task)
        if options is None:
            return []
        groups.setdefault(options, []).append(task.name)
    shared = "".join(_shared(header))
    return [
        f"weighin eval {shlex.quote(file)} --tasks {','.join(names)}{options}{shared}"
        for options, names in groups.items()
    ]


def _options(task: TaskSettings) -> str | None:
    """A task's own options; None where none would ask the same."""
    size = _size(task.name)
    if size is None or task.n_prompts > size:
        return None
    usual = GREEDY if task.kind == "ifeval" else PROSE
    sampling = task.sampling
    if sampling != usual.model_copy(
        update={"seed": sampling.seed, "max_tokens": sampling.max_tokens}
    ):
        return None
    options = f" --limit {task.n_prompts}" if task.n_prompts < size else ""
    if task.name in BUILT_IN:
        found = load_prompt_set(task.name, limit=task.n_prompts, seed=sampling.seed)
        if found.sha256 != task.prompts_sha256:
            return None
    if task.samples > 1:
        options += f" --samples {task.samples}"
    if sampling.max_tokens != usual.max_tokens:
        options += f" --max-tokens {sampling.max_tokens}"
    return options + (f" --seed {sampling.seed}" if sampling.seed else "")


def _size(name: str) -> int | None:
    """Prompts of a set that every reader has; None of one's own."""
    if name == "ifeval":
        return N_PROMPTS
    return len(load_prompt_set(name).prompts) if name in BUILT_IN else None


def _shared(header: RunHeader) -> Iterator[str]:
    """Options of the engine and of the chat, told in full since machines choose for themselves."""
    engine, chat = header.engine, header.chat
    numbers: Sequence[tuple[str, object]] = (
        ("parallel", engine.parallel),
        ("context", engine.context),
        ("threads", engine.threads),
    )
    yield from (f" --{name} {value}" for name, value in numbers if value is not None)
    if chat.thinking:
        yield " --thinking on"
    if chat.prefill is not None:
        yield f" --prefill {shlex.quote(chat.prefill)}"
