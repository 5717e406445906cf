"""Dampen: let a delta through where the instruct model does not mind.

Tensors in, tensors out, in place. The Fisher is normalised by whoever knows its whole tensor.
Source: the Gemma-4-E4B-Luchador recipe; diagonal Fisher after Matena & Raffel 2021,
https://arxiv.org/abs/2111.09832.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def dampen(
    base: "torch.Tensor",
    delta: "torch.Tensor",
    *,
    s: float,
    fisher: "torch.Tensor | None" = None,
    layer: float = 0.0,
) -> "torch.Tensor":
    """W = base + s * (1 - F) * (1 - F_layer) * D.

    Args:
        base: [n, d_in] float32, weights of IT; overwritten with the outcome.
        delta: [n, d_in] float32; overwritten.
        s: Scale, 0 leaves the base.
        fisher: [n, d_in] float32 in [0, 1]; None means 0 everywhere.
        layer: Importance of the whole layer, in [0, 1].

    Returns:
        [n, d_in] float32.
    """
    if fisher is not None:
        # D - D F in one pass; exactly 0 where F is 1
        delta.addcmul_(delta, fisher, value=-1)
    return base.add_(delta, alpha=s * (1 - layer))


def minmax(values: "torch.Tensor", low: float, high: float) -> "torch.Tensor":
    """Values of a tensor moved to [0, 1] by its extremes; 0 where it is constant.

    Args:
        values: Any shape, float32; overwritten with the outcome.
        low: Smallest value of the whole tensor.
        high: Largest value of the whole tensor.
    """
    if high <= low:
        return values.zero_()
    return values.sub_(low).div_(high - low).clamp_(0, 1)
