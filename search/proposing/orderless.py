"""Orderless: a trial's sampler whose draws do not hang on the order in which they are stored.

Optuna draws numbers that it samples independently one after the other from one generator, and
stores each at once. A process that is killed between two of them would have the second drawn as
the first. Here every such number has a generator of its own.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.proposing.samplers import sampler_for
from search.recipe import Search


class Orderless(optuna.samplers.BaseSampler):
    """Another sampler, asked anew for each number that it draws by itself."""

    def __init__(self, search: Search, number: int) -> None:
        self._search = search
        self._number = number
        self._joint = sampler_for(search, number)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Which numbers are drawn together."""
        return self._joint.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw those."""
        return self._joint.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one of the others, by a seed that is its own."""
        digest = hashlib.sha256(f"{self._search.seed}\0{param_name}".encode()).digest()
        seed = int.from_bytes(digest[:4], "little")
        alone = sampler_for(self._search.model_copy(update={"seed": seed}), self._number)
        return alone.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Optuna's own step before the first draw."""
        self._joint.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Optuna's own step after the outcome."""
        self._joint.after_trial(study, trial, state, values)
