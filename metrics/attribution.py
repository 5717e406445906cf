"""Attribution: which gates and rates moved H between two texts, in points that add up.

Numbers in, numbers out; knows nothing of texts. H is a product of gates and a weighted mean of six
closenesses. The product is shared out by Shapley's value, which is the mean over all orders in
which its factors could have changed one after another; the mean's share goes to the rates exactly,
since it is a sum of them.
Source: Shapley 1953, A Value for n-Person Games.
"""

import math
from collections.abc import Mapping
from itertools import combinations

from metrics.style import LIMITS, closeness

Rates = Mapping[str, float | None]
"""Per key of `metrics.style.LIMITS` a text's rate; None where the text is too short for it."""
Gates = Mapping[str, float]
"""A text's gates by name, as `metrics.gates.named_gates` gives them."""


def attribute(before: tuple[Rates, Gates], after: tuple[Rates, Gates]) -> dict[str, float]:
    """Share out the difference of two texts' H.

    Args:
        before, after: The rates and the gates of each text; the gates have the same names.

    Returns:
        Points of H per rate and per gate; their sum is H(after) - H(before), but for H's rounding.
    """
    first, second = _terms(before[0]), _terms(after[0])
    rates = math.fsum(first.values()), math.fsum(second.values())
    factors = {name: (before[1][name], after[1][name]) for name in before[1]} | {"": rates}
    moved = {name: 100 * _shapley(name, factors) for name in factors}
    # what a change of one unit in the rates' sum is worth, whatever the change was
    worth = 100 * _shapley("", factors | {"": (0.0, 1.0)})
    parts = {name: worth * (second[name] - first[name]) for name in LIMITS}
    return parts | {name: moved[name] for name in before[1]}


def _terms(rates: Rates) -> dict[str, float]:
    """Each rate's term in the weighted mean; 0 for one that is left out of it."""
    total = math.fsum(LIMITS[name].weight for name in LIMITS if rates[name] is not None)
    return {
        name: 0.0
        if (value := rates[name]) is None
        else limit.weight * closeness(name, value) / total
        for name, limit in LIMITS.items()
    }


def _shapley(name: str, factors: Mapping[str, tuple[float, float]]) -> float:
    """What one factor's change adds to the product, over all orders of the changes."""
    others = [key for key in factors if key != name]
    n = len(factors)
    change = factors[name][1] - factors[name][0]
    total = 0.0
    for size in range(n):
        weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
        for changed in combinations(others, size):
            rest = math.prod(factors[key][key in changed] for key in others)
            total += weight * rest
    return change * total
