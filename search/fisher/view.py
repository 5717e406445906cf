"""Fisher view: what a Fisher file holds, by layer and by kind of matrix.

Shares, importances and how heavy the tails are, from the header where there is one. Knows no
command line.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from search.fisher.file import FisherFile, normalised
from search.tensors.names import layer_of

if TYPE_CHECKING:
    from rich.table import Table

BAR_WIDTH = 40


class FisherWeight(BaseModel):
    """One weight's importance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    """Name of the module: q_proj, down_proj, ..."""
    layer: int | None
    """None outside the layers."""
    sum: float
    """Of the mean squared gradients."""
    low: float
    high: float
    mean_gate: float | None
    """Mean of F in [0, 1] by the minmax transform: the mean share of a delta that is dampened
    away. None where all values are equal."""


def view_fisher(path: Path) -> list[FisherWeight]:
    """A Fisher file's weights, in the file's order; reads every value where there is no header.

    Raises:
        IngredientError: no Fisher file, or a value that is negative or not finite.
    """
    file = FisherFile(path)
    found = []
    for name in file.names:
        low, high = file.extremes_of(name)
        total, n_elements = file.sum_of(name), 1
        for length in file.shape(name):
            n_elements *= length
        found.append(
            FisherWeight(
                name=name,
                kind=name.removesuffix(".weight").rsplit(".", 1)[-1],
                layer=layer_of(name),
                sum=total,
                low=low,
                high=high,
                mean_gate=(total / n_elements - low) / (high - low) if high > low else None,
            )
        )
    return found


def by_layer(weights: Sequence[FisherWeight]) -> "Table":
    """A row per layer: the sum of its values, and F_layer in [0, 1] with a bar."""
    from rich.table import Table

    sums: dict[int, float] = {}
    for weight in weights:
        if weight.layer is not None:
            sums[weight.layer] = sums.get(weight.layer, 0.0) + weight.sum
    table = Table("layer", "sum", "F_layer", "")
    for layer, importance in normalised(dict(sorted(sums.items()))).items():
        bar = "█" * round(BAR_WIDTH * importance)
        table.add_row(str(layer), f"{sums[layer]:.3g}", f"{importance:.3f}", bar)
    return table


def by_kind(weights: Sequence[FisherWeight]) -> "Table":
    """A row per kind: its share of all values' sum, and how much of a delta minmax dampens."""
    from rich.table import Table

    whole = sum(weight.sum for weight in weights)
    table = Table("kind", "weights", "share of the sum", "mean F by minmax (min, median, max)")
    for kind in dict.fromkeys(weight.kind for weight in weights):
        rows = [weight for weight in weights if weight.kind == kind]
        gates = [row.mean_gate for row in rows if row.mean_gate is not None]
        share = sum(row.sum for row in rows) / whole if whole > 0 else 0.0
        table.add_row(
            kind,
            str(len(rows)),
            f"{share:.1%}",
            f"{min(gates):.1e}  {median(gates):.1e}  {max(gates):.1e}" if gates else "-",
        )
    return table
