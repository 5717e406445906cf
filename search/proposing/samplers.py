"""Samplers: which algorithm proposes a trial's numbers, by name and by seed.

A recipe's `search` section and a trial's number in, an Optuna sampler out; knows nothing of what
the numbers mean. A sampler lives for one trial: its seed comes from the study's seed and the
trial's number, so that a study stopped anywhere proposes what an unstopped one would have.
"""

import hashlib
import warnings
from typing import TYPE_CHECKING

from search.errors import RecipeError
from search.recipe import Range, Search

if TYPE_CHECKING:
    import optuna

NSGA2_POPULATION = 12
"""Trials of a generation; Optuna's own 50 are more than a whole study here has."""


def trial_seed(seed: int, number: int) -> int:
    """A 32-bit seed for one trial of a study.

    Args:
        seed: The study's.
        number: The trial's.
    """
    digest = hashlib.sha256(f"{seed}\0{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def check_sampler(search: Search, n_objectives: int) -> None:
    """Refuse a sampler that cannot propose for this study.

    Raises:
        RecipeError: CMA-ES with several objectives, or with fewer than two ranges.
    """
    if search.sampler != "cmaes":
        return
    n_ranges = sum(isinstance(d, Range) and not d.when for d in search.space.values())
    if n_objectives > 1 or n_ranges < 2:
        found = f"{n_objectives} objectives" if n_objectives > 1 else f"{n_ranges} such ranges"
        raise RecipeError(
            f"sampler cmaes: wants one objective and two ranges without `when`, found {found}; "
            "take tpe or nsga2"
        )


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
                return samplers.TPESampler(
                    seed=seed,
                    multivariate=True,
                    group=any(dimension.when for dimension in search.space.values()),
                    constant_liar=True,
                )
            case "gp":
                return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
            case "cmaes":
                from search.proposing.cma import CmaSampler

                return CmaSampler(seed)
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=NSGA2_POPULATION)
            case "random" | "grid":
                # a grid's points are all waiting already, so nothing is drawn
                return samplers.RandomSampler(seed=seed)
