"""Subspace view: what a subspace file holds, by kind of matrix and by layer, and its spectra.

Reads ranks, shares and singular values; no directions. Knows no command line.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from search.subspace.file import SubspaceFile
from search.tensors.names import layer_of

if TYPE_CHECKING:
    from rich.table import Table

PLOT_WIDTH = 64
PLOT_HEIGHT = 6


class WeightView(BaseModel):
    """One weight's directions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: str
    """Name of the module: q_proj, down_proj, ..."""
    layer: int | None
    """None outside the layers."""
    rank: int
    """Directions stored."""
    captured: float | None
    """Share of the squared norm in them; None for a zero matrix, or where the file is silent."""
    error: float | None
    """Relative error of the factorisation, as checked."""
    values: tuple[float, ...] | None
    """Singular values, falling; None where the file has none."""


def view_subspace(path: Path) -> list[WeightView]:
    """A subspace file's weights, in the file's order.

    Raises:
        IngredientError: no subspace file.
    """
    file = SubspaceFile(path)
    return [
        WeightView(
            name=name,
            kind=name.removesuffix(".weight").rsplit(".", 1)[-1],
            layer=layer_of(name),
            rank=file.stored_rank(name),
            captured=file.header.captured.get(name),
            error=file.header.errors.get(name),
            values=file.values(name),
        )
        for name in file.names
    ]


def kinds_of(weights: Sequence[WeightView]) -> list[str]:
    """Kinds of matrices, in order of their first weight."""
    return list(dict.fromkeys(weight.kind for weight in weights))


def by_kind(weights: Sequence[WeightView]) -> "Table":
    """A row per kind: ranks kept, shares captured, largest error."""
    from rich.table import Table

    table = Table("kind", "weights", "rank kept", "captured (min, median, max)", "largest error")
    for kind in kinds_of(weights):
        rows = [weight for weight in weights if weight.kind == kind]
        ranks = [row.rank for row in rows]
        shares = [row.captured for row in rows if row.captured is not None]
        errors = [row.error for row in rows if row.error is not None]
        table.add_row(
            kind,
            str(len(rows)),
            str(ranks[0]) if len(set(ranks)) == 1 else f"{min(ranks)} to {max(ranks)}",
            f"{min(shares):.1%}  {median(shares):.1%}  {max(shares):.1%}" if shares else "-",
            f"{max(errors):.1e}" if errors else "-",
        )
    return table


def by_layer(weights: Sequence[WeightView]) -> "Table":
    """A row per layer, a column per kind: rank kept and share captured."""
    from rich.table import Table

    kinds = kinds_of(weights)
    table = Table("layer", *kinds)
    layers = sorted({-1 if weight.layer is None else weight.layer for weight in weights})
    for layer in layers:
        cells = {}
        for weight in weights:
            if weight.layer == layer or (weight.layer is None and layer == -1):
                share = "" if weight.captured is None else f" {weight.captured:.0%}"
                cells[weight.kind] = f"{weight.rank}{share}"
        table.add_row("-" if layer == -1 else str(layer), *(cells.get(kind, "") for kind in kinds))
    return table


def spectra(weights: Sequence[WeightView]) -> list[str]:
    """A plot per kind: the largest, median and smallest singular value of each number over the
    layers, on a logarithmic axis. Kinds without any are left out."""
    from uniplot import plot_to_string

    plots: list[str] = []
    for kind in kinds_of(weights):
        rows = [weight.values for weight in weights if weight.kind == kind and weight.values]
        if not rows:
            continue
        longest = max(len(row) for row in rows)
        columns = [[row[place] for row in rows if len(row) > place] for place in range(longest)]
        curves = [[choose(column) for column in columns] for choose in (max, median, min)]
        plots.append(
            plot_to_string(
                ys=curves if len(rows) > 1 else curves[:1],
                xs=[range(1, longest + 1)] * (3 if len(rows) > 1 else 1),
                title=f"{kind}: singular values of {len(rows)} weights (largest, median, smallest)",
                y_as_log=True,
                lines=True,
                color=False,
                width=PLOT_WIDTH,
                height=PLOT_HEIGHT,
            )
        )
    return plots
