"""Style: the prose-style score H, one number from six rates and five gates.

Numbers in, number out; knows nothing of texts. H measures style and form, not plot or sense. It is

    H = 100 G sum_k(w_k u_k) / sum_k(w_k),  u_k = exp(-excess_k / tau_k)

where excess is how far a rate lies beyond what human prose shows, the sums run over the rates that
are defined, and G is the product of the gates. Nothing is gained by being more than human. A limit
is where the outer tenth of the human passages begins, with two exceptions: for slop it is their
mean under a lexicon mined without their author, and the upper ends of rhythm and diversity are the
most that any passage has. A weight says how well
a rate tells models from people and how hard it is to fake, which is why rhythm, that a few short
sentences move, has the least.

Calibrated by `benchmarks/calibrate_prose.py`; see docs/metrics.md for the figures.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

DECIMALS = 6
"""H is rounded, so that the last bit of a platform's exp() cannot be seen."""


class Limit(NamedTuple):
    """What one rate counts for, and where human prose ends."""

    weight: float
    """w: share of H; the six add up to 1."""

    low: float
    """Below this the rate is less than human; -inf where less is never worse."""

    high: float
    """Above this the rate is more than human."""

    tau: float
    """Excess at which u has fallen to 1/e, in the rate's unit."""


LIMITS: Mapping[str, Limit] = {
    "slop": Limit(weight=0.40, low=-math.inf, high=12.0, tau=60.0),
    "rep3g": Limit(weight=0.20, low=-math.inf, high=2.5, tau=6.0),
    "contrast": Limit(weight=0.15, low=-math.inf, high=1.4, tau=4.0),
    "rhythm": Limit(weight=0.05, low=0.60, high=1.2, tau=0.4),
    "diversity": Limit(weight=0.10, low=0.67, high=0.78, tau=0.06),
    "openers": Limit(weight=0.10, low=-math.inf, high=0.12, tau=0.15),
}


def closeness(name: str, value: float) -> float:
    """u: 1 within the human range of a rate, falling exponentially beyond it.

    Args:
        name: A key of LIMITS.
        value: The rate, in its own unit.
    """
    limit = LIMITS[name]
    excess = max(0.0, value - limit.high, limit.low - value)
    return math.exp(-excess / limit.tau)


def style_score(rates: Mapping[str, float | None], gate: float) -> float:
    """H, 0 to 100; higher is closer to human prose.

    Args:
        rates: Per key of LIMITS the text's rate; None where the text is too short for it, which
            leaves that rate out of the sum.
        gate: G, the product of the gates, in [0, 1].
    """
    defined = {name: value for name, value in rates.items() if value is not None}
    total = math.fsum(LIMITS[name].weight for name in defined)
    if total == 0 or gate == 0:
        return 0.0
    weighted = math.fsum(
        LIMITS[name].weight * closeness(name, value) for name, value in defined.items()
    )
    return round(100 * gate * weighted / total, DECIMALS)
