"""The space of a search: which numbers are tried, and which are tried first.

A recipe in, points out: a point is a value for each searched number whose condition is met. Knows
Optuna's trials by their `suggest_` calls alone, and nothing of builds or scores.
"""

import math
from collections.abc import Callable, Mapping
from itertools import product
from random import Random
from typing import TYPE_CHECKING, cast

from search.errors import RecipeError
from search.numbers import Numbers, numbers_for
from search.recipe import Choices, Number, Range, Recipe

if TYPE_CHECKING:
    import optuna

DECIMALS = 3
"""A number without a step is rounded to this: no evaluation could tell what lies between."""
MAX_REPEATS = 3
"""Proposals in a row of builds that are known already, after which a point is drawn at random."""
MAX_DRAWS = 1000
"""Random points without a new build among them, after which a space counts as used up."""
NUMBERS_KEY = "numbers"
"""User attribute of a trial: its point, rounded."""

Point = dict[str, Number]


def suggest(trial: "optuna.Trial", recipe: Recipe) -> Point:
    """Let the trial's sampler propose a point; asked again, a trial repeats itself.

    Returns:
        Every number whose condition is met, rounded: to its step, to three decimals, or, on a
        logarithmic range, to three significant digits. The trial keeps it as NUMBERS_KEY.
    """
    point: Point = {}
    for name, dimension in recipe.search.space.items():
        if _wanted(dimension, point):
            point[name] = _suggest(trial, name, dimension)
    trial.set_user_attr(NUMBERS_KEY, point)
    return point


def first_points(recipe: Recipe) -> list[Point]:
    """What is tried before the sampler proposes: the recipe's own point, the baseline's, or a grid.

    A point that the space does not hold is left out.

    Raises:
        RecipeError: A grid over a range without a step.
    """
    if recipe.search.sampler == "grid":
        return grid_points(recipe)
    own = _own_numbers(recipe)
    nothing: dict[str, Number | None] = {
        name: 0.0 if name in SCALES or name == "alpha" else value for name, value in own.items()
    }
    points = [point for wish in (own, nothing) if (point := _placed(recipe, wish)) is not None]
    return [
        point
        for index, point in enumerate(points)
        if point not in points[:index] and (index == 0 or is_baseline_point(recipe, point))
    ]


def own_point(recipe: Recipe) -> Point | None:
    """The recipe's own numbers as a point of its space; None where the space does not hold them."""
    return _placed(recipe, _own_numbers(recipe))


def is_baseline_point(recipe: Recipe, point: Mapping[str, Number]) -> bool:
    """Whether a merge at that point changes nothing, so that its build is the baseline."""
    full = numbers_for(recipe, point)
    return full.alpha == 0 and not any(full.scales)


def grid_points(recipe: Recipe) -> list[Point]:
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
            n_steps = _n_steps(dimension, dimension.step)
            values = [dimension.low + i * dimension.step for i in range(n_steps + 1)]
            axes.append([_rounded(name, dimension, value) for value in values])
    points: list[Point] = []
    for values_of_all in product(*axes):
        point: Point = {}
        for (name, dimension), value in zip(
            recipe.search.space.items(), values_of_all, strict=True
        ):
            if _wanted(dimension, point):
                point[name] = value
        if point not in points:
            points.append(point)
    return points


def fresh_point(recipe: Recipe, is_known: Callable[[Point], bool], seed: int) -> Point | None:
    """A random point of the space whose build is new.

    Args:
        recipe: Its space.
        is_known: Whether the study has the build of a point already.
        seed: Of the draw.

    Returns:
        None where there seems to be none: the space is used up.
    """
    rng = Random(seed)
    for _ in range(MAX_DRAWS):
        point: Point = {}
        for name, dimension in recipe.search.space.items():
            if _wanted(dimension, point):
                point[name] = _draw(name, dimension, rng)
        if not is_known(point):
            return point
    return None


SCALES = ("s", "s.first", "s.middle", "s.last")


def _own_numbers(recipe: Recipe) -> dict[str, Number | None]:
    full = numbers_for(recipe, {})
    return {name: _own_number(recipe, full, name) for name in recipe.search.space}


def _own_number(recipe: Recipe, full: Numbers, name: str) -> Number | None:
    """The recipe's own value of a number, by the name that the space gives it."""
    if name.startswith("weight."):
        names = [adapter.name for adapter in recipe.adapters]
        return full.weights[names.index(name.removeprefix("weight."))]
    own: Number | None = getattr(full, name.replace(".", "_"))
    return full.s if own is None and name in SCALES else own


def _placed(recipe: Recipe, wish: Mapping[str, Number | None]) -> Point | None:
    """The point as the space holds it; None where one of its values lies outside."""
    point: Point = {}
    for name, dimension in recipe.search.space.items():
        if not _wanted(dimension, point):
            continue
        value = wish[name]
        if isinstance(dimension, Choices):
            if value not in dimension.choices:
                return None
            point[name] = dimension.choices[dimension.choices.index(value)]
        elif value is None or not dimension.low <= float(value) <= dimension.high:
            return None
        else:
            point[name] = _rounded(name, dimension, float(value))
    return point or None


def _wanted(dimension: Range | Choices, point: Mapping[str, Number]) -> bool:
    """Whether what was chosen so far meets a number's condition."""
    return all(
        other in point and point[other] in values for other, values in dimension.when.items()
    )


def _suggest(trial: "optuna.Trial", name: str, dimension: Range | Choices) -> Number:
    if isinstance(dimension, Choices):
        return cast(Number, trial.suggest_categorical(name, list(dimension.choices)))
    low, high, step = dimension.low, dimension.high, dimension.step
    if step is not None:
        # Optuna warns of an end that no step reaches, even by 0.6 != 6 * 0.1
        high = float(_rounded(name, dimension, high))
    if name == "rank":
        drawn: float = trial.suggest_int(
            name, int(low), int(high), step=int(step or 1), log=dimension.log
        )
    else:
        drawn = trial.suggest_float(name, low, high, step=step, log=dimension.log)
    return _rounded(name, dimension, drawn)


def _draw(name: str, dimension: Range | Choices, rng: Random) -> Number:
    if isinstance(dimension, Choices):
        return rng.choice(dimension.choices)
    low, high = dimension.low, dimension.high
    if dimension.log:
        drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        drawn = rng.uniform(low, high)
    return _rounded(name, dimension, drawn)


def _rounded(name: str, dimension: Range, value: float) -> Number:
    """The value that stands for all those around it, within the range."""
    low, high, step = dimension.low, dimension.high, dimension.step
    if step is not None:
        n = min(_n_steps(dimension, step), max(0, round((value - low) / step)))
        # a sum of steps such as 0.1 + 0.2 gets its plain name back
        value = round(low + n * step, 12)
    elif dimension.log:
        value = float(f"{value:.{DECIMALS}g}")
    else:
        value = round(value, DECIMALS)
    value = min(high, max(low, value))
    return int(value) if name == "rank" else value


def _n_steps(dimension: Range, step: float) -> int:
    return int((dimension.high - dimension.low) / step + 1e-9)
