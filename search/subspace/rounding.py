"""Rounding: the singular directions that storing a matrix in few bits makes out of nothing.

Values in, a count of directions out; knows nothing of files. What is no larger than rounding can
make it is no direction of IT - PT but of the grids that the two were rounded to.
Source: the largest singular value of a random matrix is near the largest norm of a row plus that
of a column, in standard deviations ((sqrt(m) + sqrt(n)) sigma where all are alike; Marchenko and
Pastur 1967; Bandeira and van Handel 2016, https://arxiv.org/abs/1408.6185). That rounding to a
grid of spacing q has variance q^2 / 12 is the usual model of it. Much of a small delta is swallowed
whole by the grid, and PT's own rounding is in it only if IT was not made from PT as stored; so
what a row or column holds beside the kept directions bounds its rounding too. That is ours.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BITS = {"BF16": 8, "F16": 11, "F32": 24}
"""Significant bits of a value, the coarsest first."""

EDGE_MARGIN = 4.0
"""Standard deviations over the largest singular value's mean: it exceeds them once in a million
rounded matrices (Tracy and Widom's law), from 8 rows on."""

ARITHMETIC = 8 * 2.0**-24
"""Relative error of the arithmetic that made a delta, float32 at best: a few roundings' worth."""


class Rounding:
    """Row and column sums of the squared grid spacing of a matrix, gathered block by block."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Start with nothing seen of a matrix of this shape, [d_out, d_in]."""
        import torch

        self._rows = torch.zeros(shape[0], dtype=torch.float64)
        self._columns = torch.zeros(shape[1], dtype=torch.float64)
        self._kinds = ["BF16", "F16"]

    def add(self, start: int, block: "torch.Tensor") -> None:
        """Take in rows from `start` on, [n, d_in] float32."""
        import torch

        kinds = {"BF16": torch.bfloat16, "F16": torch.float16}
        self._kinds = [
            kind for kind in self._kinds if torch.equal(block.to(kinds[kind]).float(), block)
        ]
        # a value's leading bit is worth 2^floor(log2 |x|); frexp's exponent is one more
        _, exponents = torch.frexp(block.abs().clamp_(min=torch.finfo(torch.float32).tiny))
        squares = torch.exp2(2.0 * (exponents.double() - 1))
        self._rows[start : start + len(block)] = squares.sum(1)
        self._columns += squares.sum(0)

    @property
    def kind(self) -> str:
        """The coarsest type that holds every value exactly: what they were rounded to, whatever
        they are stored in."""
        return self._kinds[0] if self._kinds else "F32"

    @property
    def unit(self) -> float:
        """Largest relative error of rounding to that type."""
        return 2.0 ** -BITS[self.kind]

    @property
    def rows(self) -> "torch.Tensor":
        """Variance of each row's rounding, summed over the row, [d_out] float64."""
        return self._rows * ((2 * self.unit) ** 2 / 12)

    @property
    def columns(self) -> "torch.Tensor":
        """The same of each column, [d_in] float64."""
        return self._columns * ((2 * self.unit) ** 2 / 12)


@dataclass(frozen=True)
class RoundingFloor:
    """Tells a matrix's directions from what may be rounding."""

    unit: float
    """Largest relative error of rounding to the type that the matrix's values came in."""
    sides: tuple[Rounding, ...] = ()
    """IT's and PT's rounding; none for a matrix that is no difference."""

    def kept(
        self,
        values: "torch.Tensor",
        left: "torch.Tensor",
        right: "torch.Tensor",
        rows: "torch.Tensor",
        columns: "torch.Tensor",
    ) -> int:
        """How many of a matrix's top directions are above rounding.

        Args:
            values: [r] its largest singular values, falling.
            left: [d_out, r] float64, its left singular vectors.
            right: [d_in, r] float64, its right ones.
            rows: [d_out] float64, squared norms of its rows.
            columns: [d_in] float64, of its columns.

        Returns:
            The least count of directions such that the next is within what may be rounding of the
            rest.
        """
        # values that were computed, and are themselves rounded, are off by so much
        own = (self.unit + ARITHMETIC) * float(rows.sum()) ** 0.5
        own *= len(rows) ** -0.5 + len(columns) ** -0.5
        count = 0
        while True:
            squares = values[:count].square()
            bound = own + self._edge(
                rows - left[:, :count].square() @ squares,
                columns - right[:, :count].square() @ squares,
            )
            above = int((values > bound).sum())
            if above <= count:
                return count
            count = above

    def _edge(self, rows: "torch.Tensor", columns: "torch.Tensor") -> float:
        """Largest singular value of the rounding in what is left of each row and column."""
        import torch

        if not self.sides:
            return 0.0
        rows = torch.minimum(rows, torch.stack([side.rows for side in self.sides]).sum(0))
        columns = torch.minimum(columns, torch.stack([side.columns for side in self.sides]).sum(0))
        edge = math.sqrt(max(0.0, float(rows.max()))) + math.sqrt(max(0.0, float(columns.max())))
        return edge * (1 + EDGE_MARGIN / (math.sqrt(len(rows)) + math.sqrt(len(columns))))
