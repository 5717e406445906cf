"""Subspace: the top singular directions of one matrix.

A matrix in, directions out; knows nothing of checkpoints or files. Small matrices go through
LAPACK's SVD in float64. Large ones go through randomised block Krylov iteration: power iterations
from a Gaussian start of which every iterate is kept, so that few are needed. It is believed only
where Wedin's bound says that its angles are small; a spectrum too flat for that, a full
fine-tune's, is done exactly, by the eigenvectors of the smaller Gram matrix in float64.
Source: Halko, Martinsson and Tropp 2011, https://arxiv.org/abs/0909.4061; Musco and Musco 2015,
https://arxiv.org/abs/1504.05477; Wedin 1972 for the bound.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from search.merging.blocks import blocks_of

if TYPE_CHECKING:
    import torch

EXACT_UP_TO = 1024
"""Smaller side up to which a matrix goes through the SVD: under a second on one core."""

OVERSAMPLING = 16
"""Random directions over the rank asked for."""

KRYLOV_SHARE = 0.25
"""Share of the smaller side that the iterates may fill: as far as they cost a quarter of what the
Gram matrix does."""

SEPARATED = 0.01
"""Relative gap between two neighbouring singular values from which on the subspace above it is a
matter of the matrix, and has to be found."""

ANGLE = 5e-4
"""Largest sine of the angle between a separated subspace and what is found, as bounded."""


class Floor(Protocol):
    """Tells directions from noise."""

    def kept(
        self,
        values: "torch.Tensor",
        left: "torch.Tensor",
        right: "torch.Tensor",
        rows: "torch.Tensor",
        columns: "torch.Tensor",
    ) -> int:
        """How many of the top directions are none; `RoundingFloor.kept`."""


@dataclass(frozen=True)
class Directions:
    """What is kept of one matrix."""

    left: "torch.Tensor"
    """U^T, [r, d_out] float32, orthonormal rows; in each the entry of largest size is positive."""
    values: "torch.Tensor"
    """Singular values, [r] float32, falling."""
    right: "torch.Tensor"
    """V^T, [r, d_in] float32, orthonormal rows."""
    captured: float | None
    """Share of the matrix's squared norm; None for a matrix of zeros."""
    error: float
    """|D V - U S| or |D^T U - V S|, the larger, relative to |S|, of what is kept, as it is
    stored; 0 where nothing is. A subspace over a gap g in the singular values is off by an angle
    of at most error * |S| / g."""

    @property
    def rank(self) -> int:
        """Directions on each side."""
        return len(self.values)


def factorise(
    delta: "torch.Tensor",
    rank: int,
    floor: Floor,
    *,
    rng: "torch.Generator",
    exact_up_to: int = EXACT_UP_TO,
) -> Directions:
    """The top singular directions of a matrix.

    Args:
        delta: [d_out, d_in] float32.
        rank: How many at most, from 1 on.
        floor: Tells how many directions are none of noise; the rest is left out.
        rng: For the start of the iteration.
        exact_up_to: Smaller side up to which the SVD is used.
    """
    import torch

    matrix = _Matrix.of(delta, floor)
    if matrix.squared_norm == 0:
        return no_directions(matrix.shape, None)
    if min(matrix.shape) <= exact_up_to:
        left, values, right = torch.linalg.svd(matrix.tall.double(), full_matrices=False)
        left, values, right = left[:, :rank], values[:rank], right[:rank].T
    else:
        found = _krylov(matrix, rank, rng)
        left, values, right = _ritz(matrix, _gram(matrix, rank) if found is None else found)
    kept = matrix.kept(values, left, right)
    if kept == 0:
        return no_directions(matrix.shape, 0.0)
    left, values, right = left[:, :kept], values[:kept], right[:, :kept]
    captured = min(1.0, float(values.square().sum()) / matrix.squared_norm)
    if matrix.turned:
        left, right = right, left
    largest = left.abs().argmax(0, keepdim=True)
    signs = left.gather(0, largest).sign()
    left, right = (left * signs).float(), (right * signs).float()
    values = values.float()
    error = matrix.error(left, values, right)
    return Directions(left.T.contiguous(), values, right.T.contiguous(), captured, error)


def no_directions(shape: tuple[int, ...], captured: float | None) -> Directions:
    """What is kept of a matrix [d_out, d_in] that holds nothing, or nothing but rounding."""
    import torch

    left, right = torch.zeros(0, shape[0]), torch.zeros(0, shape[1])
    return Directions(left, torch.zeros(0), right, captured, error=0.0)


def peak_bytes(shape: tuple[int, ...], rank: int) -> int:
    """About what `factorise` holds at once at most, the matrix included.

    Args:
        shape: (d_out, d_in).
        rank: As asked for.
    """
    large, small = max(shape[0], shape[1]), min(shape[0], shape[1])
    if small <= EXACT_UP_TO:
        # the matrix in float64, LAPACK's copy, and U
        return large * small * (4 + 3 * 8) + small * small * 5 * 8
    iterates = int(1.5 * KRYLOV_SHARE * small) * (large + small) * 8
    gram = 4 * small * small * 8
    return large * small * 4 + max(iterates, gram) + 4 * min(rank, small) * (large + small) * 8


@dataclass(frozen=True)
class _Matrix:
    """A matrix turned so that it is tall, float32; products with it are in float64, by blocks of
    rows, so that no second copy of it is needed."""

    tall: "torch.Tensor"
    turned: bool
    """Whether `tall` is the transpose."""
    rows: "torch.Tensor"
    """Squared norms of the rows of `tall`, float64."""
    columns: "torch.Tensor"
    floor: Floor

    @classmethod
    def of(cls, delta: "torch.Tensor", floor: Floor) -> "_Matrix":
        import torch

        turned = delta.shape[0] < delta.shape[1]
        tall = delta.T if turned else delta
        rows = torch.zeros(tall.shape[0], dtype=torch.float64)
        columns = torch.zeros(tall.shape[1], dtype=torch.float64)
        for start, stop in blocks_of(tuple(tall.shape)):
            squares = tall[start:stop].double().square_()
            rows[start:stop] = squares.sum(1)
            columns += squares.sum(0)
        return cls(tall, turned, rows, columns, floor)

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in), before turning."""
        d_out, d_in = self.tall.shape
        return (d_in, d_out) if self.turned else (d_out, d_in)

    @property
    def squared_norm(self) -> float:
        return float(self.rows.sum())

    def kept(self, values: "torch.Tensor", left: "torch.Tensor", right: "torch.Tensor") -> int:
        """How many directions, of `tall`, are above the floor."""
        if self.turned:
            return self.floor.kept(values, right, left, self.columns, self.rows)
        return self.floor.kept(values, left, right, self.rows, self.columns)

    def blocks(self) -> "Iterator[tuple[slice, torch.Tensor]]":
        for start, stop in blocks_of(tuple(self.tall.shape)):
            yield slice(start, stop), self.tall[start:stop].double()

    def times(self, right: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.cat([block @ right for _, block in self.blocks()])

    def transposed_times(self, left: "torch.Tensor") -> "torch.Tensor":
        import torch

        found = torch.zeros(self.tall.shape[1], left.shape[1], dtype=torch.float64)
        for rows, block in self.blocks():
            found.addmm_(block.T, left[rows])
        return found

    def error(self, left: "torch.Tensor", values: "torch.Tensor", right: "torch.Tensor") -> float:
        """`Directions.error` of columns as they are stored, before turning."""
        s = values.double()
        u, v = (right.double(), left.double()) if self.turned else (left.double(), right.double())
        forward = (self.times(v) - u * s).norm()
        backward = (self.transposed_times(u) - v * s).norm()
        return float(max(forward, backward) / s.norm())


def _krylov(matrix: _Matrix, rank: int, rng: "torch.Generator") -> "torch.Tensor | None":
    """Right directions, [n, r] float64, of those above the floor; None where they do not settle.

    The iterates are the blocks of a Lanczos process on D^T D, so that a direction's residual is
    what leads from the last block out of their span.
    """
    import torch

    m, n = matrix.tall.shape
    width = rank + OVERSAMPLING
    limit = int(n * KRYLOV_SHARE)
    if 2 * width > limit:
        return None
    start = torch.randn(m, width, generator=rng, dtype=torch.float64)
    block = torch.linalg.qr(matrix.transposed_times(start)).Q
    basis = block[:, :0]
    images = torch.zeros(m, 0, dtype=torch.float64)
    before = 0.0
    while True:
        image = matrix.times(block)
        basis = torch.cat([basis, block], 1)
        images = torch.cat([images, image], 1)
        block, remainder = _outside(matrix.transposed_times(image), basis)
        squares, turn = torch.linalg.eigh(images.T @ images)
        # a Gram matrix tells nothing of values under the root of its precision
        values = squares.flip(0)[:width].clamp_(min=float(squares[-1]) * 1e-16).sqrt()
        turn = turn.flip(1)[:, :width]
        tops = turn[:, :rank]
        kept = matrix.kept(values[:rank], images @ tops / values[:rank], basis @ tops)
        residuals = (remainder @ turn[-width:, : kept + 1]).norm(dim=0) / values[: kept + 1]
        excess = _excess(values[: kept + 1].tolist(), residuals.tolist())
        steps_left = (limit - basis.shape[1]) // width
        # one block alone may not see a weak direction yet
        if basis.shape[1] > width:
            if excess <= 1:
                directions: torch.Tensor = basis @ turn[:, :kept]
                return directions
            if excess * (excess / before) ** steps_left > 1:
                return None
        before = excess or math.inf


def _excess(values: list[float], residuals: list[float]) -> float:
    """How many times too large the error still is; 1 or less is good.

    Args:
        values: Those above the floor, falling, and the next one.
        residuals: |D^T u - s v| of each; D v - s u is zero.
    """
    worst = 0.0
    summed = 0.0
    for (value, residual), (below, blur) in pairwise(zip(values, residuals, strict=True)):
        # no separated neighbours may hide in one blurred value
        worst = max(worst, residual / value / (SEPARATED / 4))
        summed += residual**2
        if value - below >= SEPARATED / 2 * value:
            gap = value - below - blur
            angle = math.sqrt(summed) / gap if gap > 0 else math.inf
            worst = max(worst, angle / ANGLE)
    return worst


def _outside(block: "torch.Tensor", basis: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """What of a block lies outside a basis: orthonormal columns Q and R with Q R = that part."""
    import torch

    remainder = None
    for _ in range(2):  # twice is enough, also where nearly nothing lies outside
        block = block - basis @ (basis.T @ block)
        block = block - basis @ (basis.T @ block)
        block, factor = torch.linalg.qr(block)
        remainder = factor if remainder is None else factor @ remainder
    assert remainder is not None
    return block, remainder


def _gram(matrix: _Matrix, rank: int) -> "torch.Tensor":
    """Right directions, [n, rank] float64, largest first, by D^T D."""
    import torch
    from scipy.linalg import eigh

    n = matrix.tall.shape[1]
    gram = torch.zeros(n, n, dtype=torch.float64)
    for _, block in matrix.blocks():
        gram.addmm_(block.T, block)
    first = max(0, n - rank)
    _, vectors = eigh(
        gram.numpy(), subset_by_index=(first, n - 1), overwrite_a=True, check_finite=False
    )
    return torch.from_numpy(vectors).flip(1)


def _ritz(
    matrix: _Matrix, right: "torch.Tensor"
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Left directions, values and right directions within the span of given right ones."""
    import torch

    left, values, turn = torch.linalg.svd(matrix.times(right), full_matrices=False)
    return left, values, right @ turn.T
