"""Factors: a weight delta kept as a product of two thin matrices.

Values in, values out; knows no files. A delta of rank R for a [d_out, d_in] weight is
`left @ right`, so its rows can be had a block at a time.
Source: LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def product(left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
    """A matrix product in float32, by numpy's BLAS.

    OpenBLAS, which numpy brings, is a fifth to a third faster here than torch's MKL on AMD
    processors, and this product is most of a merge's arithmetic.
    """
    import torch

    return torch.from_numpy(left.numpy() @ right.numpy())


@dataclass(frozen=True)
class Factors:
    """One delta; scales and weights are already in `left`."""

    left: "torch.Tensor"
    """[d_out, R] float32."""
    right: "torch.Tensor"
    """[R, d_in] float32."""

    @property
    def shape(self) -> tuple[int, int]:
        """(d_out, d_in) of the delta."""
        return self.left.shape[0], self.right.shape[1]

    def rows(self, start: int, stop: int) -> "torch.Tensor":
        """Rows of the delta, [stop - start, d_in] float32, fresh."""
        return product(self.left[start:stop], self.right)

    def times(self, weight: float) -> "Factors":
        """The delta times a number."""
        return Factors(self.left * weight, self.right)

    def squared_norm(self) -> float:
        """Squared Frobenius norm, without forming the delta: tr(L^T L R R^T)."""
        gram_left = self.left.T @ self.left
        gram_right = self.right @ self.right.T
        return float((gram_left.double() * gram_right.double()).sum())

    def dot(self, other: "Factors") -> float:
        """Inner product of two deltas of one shape."""
        inner_left = self.left.T @ other.left
        inner_right = self.right @ other.right.T
        return float((inner_left.double() * inner_right.double()).sum())


def stack(parts: Sequence[Factors]) -> Factors:
    """The sum of deltas as one product: factors side by side, never added.

    Args:
        parts: At least one, all of one shape; ranks may differ.

    Returns:
        Factors whose rank is the sum of the ranks.
    """
    import torch

    if len(parts) == 1:
        return parts[0]
    return Factors(
        torch.cat([part.left for part in parts], dim=1),
        torch.cat([part.right for part in parts], dim=0),
    )
