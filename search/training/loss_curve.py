"""Loss curve: the figures of every optimiser step, as a file and on a terminal.

Numbers in, text out; knows nothing of models.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

COLUMNS = ("step", "epoch", "learning_rate", "grad_norm", "loss")
MOST_POINTS = 120
"""Points of a drawn curve; a step's own loss is noise where there are more."""

WIDTH = 64
HEIGHT = 8


def write_curve(path: Path, steps: Iterable[Mapping[str, float]]) -> None:
    """Write `loss.csv`: one line per step, six digits, in COLUMNS' order."""
    path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for step in steps:
        append_step(path, step)


def append_step(path: Path, step: Mapping[str, float]) -> None:
    """Add a step to a `loss.csv`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(",".join(f"{step[column]:.6g}" for column in COLUMNS) + "\n")


def read_losses(path: Path) -> list[float]:
    """The losses of a `loss.csv`, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def draw_curve(losses: Sequence[float]) -> str:
    """A loss curve as text.

    Args:
        losses: One per step, at least one; where there are more than MOST_POINTS, each point is
            the mean of its share of them.
    """
    from uniplot import plot_to_string

    n = min(MOST_POINTS, len(losses))
    edges = [round(i * len(losses) / n) for i in range(n + 1)]
    plot: str = plot_to_string(
        ys=[sum(losses[a:b]) / (b - a) for a, b in pairwise(edges)],
        xs=[(a + 1 + b) / 2 for a, b in pairwise(edges)],
        title="loss by step",
        lines=True,
        color=False,
        width=WIDTH,
        height=HEIGHT,
    )
    return plot
