"""Loss curve: the figures of every optimiser step, as a file and on a terminal.

Numbers in, text out; knows nothing of models.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

COLUMNS = ("step", "epoch", "learning_rate", "grad_norm", "loss")
BLOCKS = " ▁▂▃▄▅▆▇█"
HEIGHT = 8
WIDTH = 60


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


def draw_curve(losses: Sequence[float], *, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """A loss curve in block characters.

    Args:
        losses: One per step, at least one; where there are more than `width`, each column shows
            the mean of its share of them.
        width: Columns at most.
        height: Lines.

    Returns:
        Lines, the highest loss at the top, with the scale on the left.
    """
    n = min(width, len(losses))
    edges = [round(i * len(losses) / n) for i in range(n + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    reach = (high - low) or 1.0
    # eighths of a line, at least one, so that the lowest column is seen
    levels = [1 + round((mean - low) / reach * (8 * height - 1)) for mean in means]
    lines = []
    for line in range(height, 0, -1):
        label = {height: f"{high:.3f}", 1: f"{low:.3f}"}.get(line, "")
        cells = (BLOCKS[max(0, min(8, level - 8 * (line - 1)))] for level in levels)
        lines.append(f"{label:>9} {''.join(cells)}")
    lines.append(f"{'step':>9} 1{len(losses):>{max(1, n - 1)}}")
    return lines
