"""Samplers: which of Optuna's algorithms proposes a trial's numbers, by name and by seed.

A recipe's `search` section and a trial's number in, an Optuna sampler out; knows nothing of what
the numbers mean. A sampler lives for one trial: its seed comes from the study's seed and the
trial's number, so that a study stopped anywhere proposes what an unstopped one would have.
"""

import hashlib
import warnings
from typing import TYPE_CHECKING

from search.recipe import Search

if TYPE_CHECKING:
    import optuna


def trial_seed(seed: int, number: int) -> int:
    """A 32-bit seed for one trial of a study.

    Args:
        seed: The study's.
        number: The trial's.
    """
    digest = hashlib.sha256(f"{seed}\0{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def sampler_for(search: Search, number: int) -> "optuna.samplers.BaseSampler":
    """The sampler that proposes one trial.

    Args:
        search: The recipe's; names the sampler.
        number: The trial's number in the study.
    """
    import optuna

    seed = trial_seed(search.seed, number)
    samplers = optuna.samplers
    with warnings.catch_warnings():
        # several samplers have been "experimental" for years; the recipe names its choice
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case "tpe":
                return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
            case "gp":
                return samplers.GPSampler(seed=seed)
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed)
            case "random" | "grid":
                # a grid's points are all waiting already, so nothing is drawn
                return samplers.RandomSampler(seed=seed)
