"""TIES: trim each delta, elect a sign, and average those who agree.

Tensors in, tensors out; the threshold of a whole tensor can be had from a histogram of blocks.
Source: Yadav et al. 2023, https://arxiv.org/abs/2306.01708, as mergekit's `ties` has it
(density, sign by weighted sum, weights normalised over those who agree).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BUCKETS = 1 << 16


def threshold(blocks: Iterable["torch.Tensor"], density: float, size: int) -> float:
    """Smallest magnitude that trimming to a density keeps.

    Args:
        blocks: The tensor's blocks, float32; walked twice where they are a list or a fresh
            iterable each time.
        density: Share to keep, in (0, 1].
        size: Elements in all.

    Returns:
        The int(density * size)-th largest magnitude, the largest where that is none, and 0 where
        everything is kept. Exact: bit patterns of positive floats sort as the floats do, so one
        histogram of the upper and one of the lower 16 bits find it. All that tie with it are
        kept, where mergekit keeps some of them.
    """
    import torch

    n_keep = max(1, int(density * size))
    if n_keep >= size:
        return 0.0
    upper = torch.zeros(BUCKETS, dtype=torch.int64)
    for block in blocks:
        upper += torch.bincount(_bits(block) >> 16, minlength=BUCKETS)
    bucket, above = _nth_from_top(upper, n_keep)
    lower = torch.zeros(BUCKETS, dtype=torch.int64)
    for block in blocks:
        bits = _bits(block)
        lower += torch.bincount(bits[bits >> 16 == bucket] & 0xFFFF, minlength=BUCKETS)
    rest, _ = _nth_from_top(lower, n_keep - above)
    pattern = torch.tensor([(bucket << 16) | rest], dtype=torch.int32)
    return float(pattern.view(torch.float32))


def trim(delta: "torch.Tensor", at_least: float) -> "torch.Tensor":
    """A delta with every magnitude below the threshold set to 0."""
    return delta * (delta.abs() >= at_least)


def elect(deltas: Sequence["torch.Tensor"], weights: Sequence[float]) -> "torch.Tensor":
    """Weighted mean over the deltas that agree with the elected sign.

    Args:
        deltas: Trimmed, of one shape, float32.
        weights: One per delta.

    Returns:
        The same shape: sum of w d over those whose sign is that of the weighted sum, divided by
        the sum of their weights (by 1 where nobody agrees or the weights cancel).
    """
    import torch

    total = torch.zeros_like(deltas[0])
    for delta, weight in zip(deltas, weights, strict=True):
        total.add_(delta, alpha=weight)
    sign = torch.where(total >= 0, 1.0, -1.0)
    merged = torch.zeros_like(total)
    divisor = torch.zeros_like(total)
    for delta, weight in zip(deltas, weights, strict=True):
        agrees = (torch.sign(delta * weight) == sign).to(delta.dtype)
        merged.add_(delta * agrees, alpha=weight)
        divisor.add_(agrees, alpha=weight)
    return merged / torch.where(divisor == 0, 1.0, divisor)


def _bits(block: "torch.Tensor") -> "torch.Tensor":
    import torch

    return block.abs().reshape(-1).contiguous().view(torch.int32).to(torch.int64)


def _nth_from_top(counts: "torch.Tensor", n: int) -> tuple[int, int]:
    """Bucket that holds the n-th from the top, and how many lie above that bucket."""
    from_top = counts.flip(0).cumsum(0)
    place = int((from_top >= n).nonzero()[0])
    above = int(from_top[place - 1]) if place else 0
    return len(counts) - 1 - place, above
