"""DARE: drop most of a delta at random and scale up the rest.

Tensor in, tensor out; whoever calls decides which random numbers a block of rows gets, so that
the outcome does not depend on threads.
Source: Yu et al. 2023, https://arxiv.org/abs/2311.03099.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def block_rng(seed: int, adapter: int, tensor: str, row: int) -> "np.random.Generator":
    """The generator of one block: a function of what the block is, not of when it is merged."""
    import zlib

    import numpy as np

    key = np.random.SeedSequence([seed, adapter, zlib.crc32(tensor.encode()), row])
    return np.random.Generator(np.random.Philox(key))


def drop(delta: "torch.Tensor", density: float, *, rng: "np.random.Generator") -> "torch.Tensor":
    """Keep each element with probability `density`, divided by it.

    Args:
        delta: Any shape, float32.
        density: In (0, 1]; 1 returns the delta.
        rng: Source of the draws.

    Returns:
        The same shape, with the delta as its expected value.
    """
    import numpy as np
    import torch

    if density >= 1:
        return delta
    kept = torch.from_numpy(rng.random(tuple(delta.shape), dtype=np.float32) < density)
    return delta * kept / density
