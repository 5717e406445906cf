"""Waves: what a run asks, cut into slices, and which of them comes next.

Tasks in; slices of their answers out, in an order that a caller may choose task by task. A slice is
the same whatever was asked before it, so the order among tasks changes no answer. Knows nothing of
models, scores or files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from harness.prompts import Prompt, PromptSet
from harness.settings import Sampling

Turn = Callable[[Sequence[str]], str]
"""Told the tasks that have waves left, the one whose turn it is first; names the one to go on."""


@dataclass(frozen=True)
class Task:
    """One prompt set and how it is asked."""

    prompts: PromptSet
    sampling: Sampling
    samples: int = 1
    """Answers per prompt, each with a seed of its own."""


@dataclass(frozen=True)
class Ask:
    """One answer to be had: a prompt and which sample of it."""

    task: int
    prompt: Prompt
    sample: int


@dataclass(frozen=True)
class Wave:
    """A fixed slice of one task's answers."""

    task: int
    asks: tuple[Ask, ...]


def plan_waves(
    tasks: Sequence[Task], size: int, order: int | None = None, looks: Sequence[float] = ()
) -> list[Wave]:
    """The run's waves: each task's prompts, every sample of each, in slices of at most `size`.

    Args:
        tasks: In the order of the run.
        size: Answers per wave.
        order: Seed of a shuffle within each task; None keeps the prompts' order.
        looks: Shares of the answers up to which the tasks take turns, as in `EngineSettings`;
            without any, a task is done before the next begins.
    """
    asks = [
        [Ask(index, p, s) for p in task.prompts.prompts for s in range(task.samples)]
        for index, task in enumerate(tasks)
    ]
    return [
        Wave(task, tuple(asks[task][position] for position in positions))
        for task, positions in wave_positions([len(own) for own in asks], size, order, looks)
    ]


def wave_positions(
    n_answers: Sequence[int], size: int, order: int | None, looks: Sequence[float]
) -> list[tuple[int, list[int]]]:
    """Which answers of which task each wave holds, by their positions in the prompts' order.

    Args:
        n_answers: Of each task.
        size, order, looks: As for `plan_waves`.
    """
    positions = [list(range(n)) for n in n_answers]
    if order is not None:
        for own in positions:
            Random(order).shuffle(own)
    edges = [[0, *look_counts(n, looks)] for n in n_answers]
    return [
        (task, own[i : min(i + size, edges[task][turn + 1])])
        for turn in range(len(looks) + 1)
        for task, own in enumerate(positions)
        for i in range(edges[task][turn], edges[task][turn + 1], size)
    ]


def look_counts(n_answers: int, looks: Sequence[float]) -> list[int]:
    """Answers of a task that are there at each look, and all of them at the end.

    A look takes the nearest whole number, at least one; small tasks have looks that add nothing.
    """
    return [max(1, round(share * n_answers)) for share in looks] + [n_answers]


def in_turn(tasks: Sequence[str], turn: Turn | None = None) -> Iterator[int]:
    """Which of the planned waves comes next, by its place in the plan.

    Args:
        tasks: Of each planned wave, the task's name.
        turn: Asked before every wave while several tasks have some left; None keeps the plan.
    """
    left = list(range(len(tasks)))
    while left:
        names = tuple(dict.fromkeys(tasks[place] for place in left))
        name = names[0] if turn is None or len(names) == 1 else turn(names)
        place = next(place for place in left if tasks[place] == name)
        left.remove(place)
        yield place
