"""Average: adapters summed in delta space, so that ranks may differ.

Factors in, factors out; factors themselves are never averaged, since mean(B) @ mean(A) is not
the mean of the deltas.
Source: task arithmetic, Ilharco et al. 2022, https://arxiv.org/abs/2212.04089.
"""

from collections.abc import Sequence

from search.merging.factors import Factors, stack


def average(deltas: Sequence[Factors], weights: Sequence[float]) -> Factors:
    """D = sum_k w_k * B_k @ A_k, as one product.

    Args:
        deltas: At least one, of one shape, each with its scale inside.
        weights: One per delta; 1 / K for a plain average. Not normalised.

    Returns:
        Factors of the sum; their rank is the sum of the ranks.
    """
    return stack([delta.times(weight) for delta, weight in zip(deltas, weights, strict=True)])
