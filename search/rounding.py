"""Rounding: the singular values that storing a matrix in few bits makes out of nothing.

Values in, a bound out; knows nothing of files. What lies under the bound is no direction of
IT - PT but of the grids that the two were rounded to.
Source: the largest singular value of a random matrix is near the largest norm of a row plus that
of a column, in standard deviations ((sqrt(m) + sqrt(n)) sigma where all are alike; Marchenko and
Pastur 1967; Bandeira and van Handel 2016, https://arxiv.org/abs/1408.6185). That rounding to a
grid of spacing q has variance q^2 / 12 is the usual model of it. Where the rest of the spectrum is
too small to hold PT's rounding, PT's rounding is taken not to be there; that is ours.
"""

from collections.abc import Sequence
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

    @property
    def energy(self) -> float:
        """Squared norm that the rounding is expected to have."""
        return float(self.rows.sum())


@dataclass(frozen=True)
class RoundingFloor:
    """The singular value under which a matrix's directions are taken to be rounding."""

    unit: float
    """Largest relative error of rounding to the type that the matrix's values came in."""
    it: Rounding | None = None
    """IT's rounding, which a delta surely has; None for a matrix that is no difference."""
    pt: Rounding | None = None
    """PT's, which it has only if IT was not made from PT as stored."""

    def __call__(
        self, values: Sequence[float], squared_norm: float, shape: tuple[int, ...]
    ) -> float:
        """The bound for one matrix.

        Args:
            values: Its largest singular values, falling.
            squared_norm: Its squared Frobenius norm.
            shape: (d_out, d_in).

        Returns:
            A bound in the values' own unit: the matrix's own rounding, as far as its values are
            themselves rounded, plus IT's and PT's.
        """
        own = self.unit + ARITHMETIC
        relative = own * squared_norm**0.5 * (shape[0] ** -0.5 + shape[1] ** -0.5)
        if self.it is None or self.pt is None:
            return relative
        share = 1.0
        while True:
            bound = relative + self._edge(self.it, self.pt, share)
            rest = squared_norm - sum(value**2 for value in values if value > bound)
            # what remains without the kept directions must have room for PT's rounding
            room = (rest - self.it.energy) / self.pt.energy if self.pt.energy > 0 else 0.0
            if max(0.0, room) >= share:
                return bound
            share = max(0.0, room)

    @staticmethod
    def _edge(it: Rounding, pt: Rounding, share: float) -> float:
        rows, columns = it.rows + share * pt.rows, it.columns + share * pt.columns
        edge = float(rows.max()) ** 0.5 + float(columns.max()) ** 0.5
        return edge * (1 + EDGE_MARGIN / (len(rows) ** 0.5 + len(columns) ** 0.5))
