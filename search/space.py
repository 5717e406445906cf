"""The space of a search: which numbers are tried, and which are tried first.

A recipe in, points out: a point is a value for each searched number. Knows Optuna's trials by
their `suggest_` calls alone, and nothing of builds or scores.
"""

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from search.errors import RecipeError
from search.recipe import Choices, Number, Recipe

if TYPE_CHECKING:
    import optuna

FIXED = ("s", "alpha", "rank")
"""Numbers of the recipe's own point, which is tried first."""


def suggest(trial: "optuna.Trial", recipe: Recipe) -> dict[str, Number]:
    """Let the study's sampler propose every number of the space; a trial asked again repeats."""
    return {
        name: _suggest(trial, name, dimension) for name, dimension in recipe.search.space.items()
    }


def first_points(recipe: Recipe) -> list[dict[str, Number]]:
    """What is tried before the sampler proposes: the recipe's own point, or the whole grid.

    Raises:
        RecipeError: A grid over a range without a step.
    """
    if recipe.search.sampler == "grid":
        return grid_points(recipe)
    own = {name: getattr(recipe.merge, name) for name in FIXED if name in recipe.search.space}
    return [own] if inside(recipe, own) else []


def grid_points(recipe: Recipe) -> list[dict[str, Number]]:
    """Every point of a space of choices and steps.

    Raises:
        RecipeError: A range without a step.
    """
    axes: list[list[Number]] = []
    for name, dimension in recipe.search.space.items():
        if isinstance(dimension, Choices):
            axes.append(list(dimension.choices))
        elif dimension.step is None:
            raise RecipeError(f"search.space.{name}: a grid needs a step or choices; give one")
        else:
            n_steps = int((dimension.high - dimension.low) / dimension.step + 1e-9)
            axes.append([dimension.low + i * dimension.step for i in range(n_steps + 1)])
    return [dict(zip(recipe.search.space, point, strict=True)) for point in product(*axes)]


def inside(recipe: Recipe, point: Mapping[str, Number | None]) -> bool:
    """Whether a point lies in the search space."""
    for name, value in point.items():
        dimension = recipe.search.space[name]
        if isinstance(dimension, Choices):
            if value not in dimension.choices:
                return False
        elif value is None or not dimension.low <= float(value) <= dimension.high:
            return False
    return bool(point)


def _suggest(trial: "optuna.Trial", name: str, dimension: Any) -> Number:
    if isinstance(dimension, Choices):
        return cast(Number, trial.suggest_categorical(name, list(dimension.choices)))
    if name == "rank":
        return trial.suggest_int(name, int(dimension.low), int(dimension.high))
    return trial.suggest_float(
        name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
    )
