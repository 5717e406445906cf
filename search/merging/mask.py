"""Mask: take the instruct subspace out of a delta.

Factors in, factors out: for a low-rank delta the projection acts on the thin matrices alone, so
no full matrix is formed. Knows nothing of files.
Source: this project's recipe (DESIGN), in the manner of gradient projection, Saha et al. 2021,
https://arxiv.org/abs/2103.09762.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.errors import IngredientError
from search.merging.factors import Factors, product

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Basis:
    """Top singular directions of IT - PT for one weight."""

    left: "torch.Tensor"
    """U, [d_out, r] float32, orthonormal columns."""
    right: "torch.Tensor"
    """V, [d_in, r] float32, orthonormal columns."""

    @property
    def rank(self) -> int:
        """Directions on each side."""
        return self.left.shape[1]


def mask(delta: Factors, basis: Basis, strength: float) -> Factors:
    """D' = (I - c U U^T) D (I - c V V^T).

    Args:
        delta: For a [d_out, d_in] weight.
        basis: Of the same weight; rank 0 changes nothing.
        strength: c in [0, 1]; 1 projects, 0 returns the delta.

    Returns:
        Factors of the same rank.

    Raises:
        IngredientError: the basis is for a weight of another shape.
    """
    _check(delta, basis)
    if strength == 0 or basis.rank == 0:
        return delta
    inner_left = product(basis.left.T, delta.left)
    inner_right = product(delta.right, basis.right)
    left = delta.left - strength * product(basis.left, inner_left)
    right = delta.right - strength * product(inner_right, basis.right.T)
    return Factors(left, right)


def share_inside(delta: Factors, basis: Basis) -> float | None:
    """Share of a delta's squared norm in the directions that a full mask removes.

    Returns:
        1 - |D'|^2 / |D|^2 with c = 1, in [0, 1]; None for a zero delta.
    """
    whole = delta.squared_norm()
    if whole == 0:
        return None
    rest = mask(delta, basis, 1.0).squared_norm()
    return min(1.0, max(0.0, 1 - rest / whole))


def _check(delta: Factors, basis: Basis) -> None:
    shape = (basis.left.shape[0], basis.right.shape[0])
    if delta.shape != shape:
        raise IngredientError(
            f"the subspace is for a weight of {list(shape)}, the delta for {list(delta.shape)}; "
            "make the subspace for this model"
        )
