"""Proposal: the numbers of one trial, the same whenever and by whomever they are asked for.

A trial's number in, its point out: one that is given (the recipe's own, the grid's, a fresh one
after too many repeats) or one that the sampler draws. Knows nothing of who works on the trial.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from search.proposing.samplers import trial_seed
from search.proposing.space import MAX_REPEATS, Point, first_points, fresh_point, suggest
from search.study.study import Study, TrialRow

if TYPE_CHECKING:
    import optuna

FIXED = "fixed_params"
"""Optuna's own attribute for a point that is given."""


def propose(
    study: Study, number: int, trial_id: int, is_known: Callable[[Point], bool]
) -> "tuple[optuna.Trial, Point] | None":
    """The trial and its point.

    Args:
        study: What its trials have shown so far guides the sampler.
        number: The trial's.
        trial_id: The storage's name of it.
        is_known: Whether a point's build has been weighed already.

    Returns:
        None where the space is used up.
    """
    import optuna

    from search.proposing.orderless import Orderless

    if FIXED not in study.storage.get_trial(trial_id).system_attrs:
        given = first_points(study.recipe)
        point = given[number] if number < len(given) else None
        if point is None and _repeats_before(study.rows(), number) >= MAX_REPEATS:
            seed = trial_seed(study.recipe.search.seed, number)
            point = fresh_point(study.recipe, is_known, seed)
            if point is None:
                return None
        if point is not None:
            study.storage.set_trial_system_attr(trial_id, FIXED, point)
    sampler = Orderless(study.recipe.search, number)
    trial = optuna.Trial(study.optuna_study(sampler), trial_id)
    return trial, suggest(trial, study.recipe)


def _repeats_before(rows: Sequence[TrialRow], number: int) -> int:
    """Trials right before this one, without a gap, that repeated others."""
    n = 0
    for row in reversed([row for row in rows if row.number < number]):
        if row.repeats is None:
            break
        n += 1
    return n
