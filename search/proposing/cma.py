"""CMA-ES as a sampler that keeps nothing: its state follows from the trials that ended.

Trials in, numbers out; the algorithm is the package `cmaes`. Optuna's own CmaEsSampler keeps its
state in the study's storage as a pickle, which a storage from elsewhere could use to run code, and
does not look at constraints. Here every proposal goes through the generations anew, which takes
milliseconds, and a generation is ranked by feasibility first (Deb 2000,
https://doi.org/10.1016/S0045-7825(99)00389-8).
Source: Hansen 2016, https://arxiv.org/abs/1604.00772.
"""

import math
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

Array = NDArray[np.float64]

SIGMA = 1 / 6
"""First step size, as a share of each range."""


class CmaSampler(optuna.samplers.BaseSampler):
    """One proposal by CMA-ES; choices, and numbers with a condition, are drawn at random."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """The ranges that every trial so far had."""
        space = optuna.search_space.IntersectionSearchSpace().calculate(study)
        return {
            name: distribution
            for name, distribution in sorted(space.items())
            if isinstance(distribution, FloatDistribution | IntDistribution)
            and not distribution.single()
        }

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """A draw from the distribution that the generations so far lead to."""
        if len(search_space) < 2:
            return {}
        from cmaes import CMA

        n_ranges = len(search_space)
        bounds = np.tile([0.0, 1.0], (n_ranges, 1))
        optimizer = CMA(mean=np.full(n_ranges, 0.5), sigma=SIGMA, bounds=bounds, seed=self._seed)
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        size = optimizer.population_size
        for start in range(0, len(ended) - size + 1, size):
            generation = sorted(ended[start : start + size], key=lambda t: _merit(t, study))
            optimizer.tell(
                [(_to_unit(t.params, search_space), rank) for rank, t in enumerate(generation)]
            )
        return _from_unit(optimizer.ask(), search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random draw."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _merit(trial: FrozenTrial, study: optuna.Study) -> tuple[float, float]:
    """Smaller is better: how far a trial breaks its constraints, then its value."""
    broken = sum(value for value in trial.constraints.values() if value > 0)
    assert trial.value is not None
    minimize = study.direction == optuna.study.StudyDirection.MINIMIZE
    return broken, trial.value if minimize else -trial.value


def _to_unit(params: dict[str, Any], space: dict[str, BaseDistribution]) -> Array:
    found: list[float] = []
    for name, distribution in space.items():
        low, high, log = _ends(distribution)
        value = math.log(params[name]) if log else params[name]
        found.append((value - low) / (high - low))
    return np.array(found, dtype=np.float64)


def _from_unit(unit: Array, space: dict[str, BaseDistribution]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for share, (name, distribution) in zip(unit, space.items(), strict=True):
        low, high, log = _ends(distribution)
        value = low + float(share) * (high - low)
        value = math.exp(value) if log else value
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.step is not None:
            n = round((value - distribution.low) / distribution.step)
            value = distribution.low + n * distribution.step
        value = min(distribution.high, max(distribution.low, value))
        found[name] = int(value) if isinstance(distribution, IntDistribution) else value
    return found


def _ends(distribution: BaseDistribution) -> tuple[float, float, bool]:
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        return math.log(low), math.log(high), True
    return low, high, False
