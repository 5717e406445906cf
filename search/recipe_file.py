"""A recipe's file: YAML read, and every mistake in it told by its line.

A path in, a recipe out. Knows the schema, and what a searched number may be; nothing of
ingredients.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.yamlfile import read_yaml
from search.errors import RecipeError
from search.numbers import numbers_for
from search.recipe import KIND_TAGS, Choices, Merge, Recipe, Screen, Search
from search.recipe_evaluate import Evaluate, Task
from search.recipe_ingredients import AdapterEntry, Baseline, Fisher, Heal, Mask
from search.training.settings import Training


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Args:
        path: YAML file; relative paths in it are relative to its folder.

    Raises:
        RecipeError: not readable, not YAML, an unknown key or a bad value; the message names
            file, line and key.
    """
    document = read_yaml(path, RecipeError)
    if not isinstance(document.value, dict):
        raise RecipeError(f"{path}:1: a recipe is a mapping such as `it: FOLDER`")
    try:
        recipe = Recipe.model_validate(document.value, context={"folder": path.resolve().parent})
    except ValidationError as error:
        # a misspelt key explains the missing one beside it, so it is named first
        found = error.errors(include_url=False)
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        location = tuple(part for part in first["loc"] if part not in KIND_TAGS)
        where = ".".join(str(part) for part in location)
        message = _plain(first["type"], first["msg"], location)
        line = document.line(location)
        raise RecipeError(f"{path}:{line}: {where + ': ' if where else ''}{message}") from None
    for name, dimension in recipe.search.space.items():
        # what may be searched must be allowed at both ends, or at every choice
        ends = (
            dimension.choices if isinstance(dimension, Choices) else (dimension.low, dimension.high)
        )
        for value in ends:
            try:
                numbers_for(recipe, {name: value})
            except RecipeError as error:
                line = document.line(("search", "space", name))
                raise RecipeError(f"{path}:{line}: search.space: {error}") from None
    return recipe


def _plain(kind: str, message: str, location: tuple[Any, ...]) -> str:
    if kind == "extra_forbidden":
        return f"unknown key {location[-1]!r}; {_nearest(location)}"
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ")


def _nearest(location: tuple[Any, ...]) -> str:
    owners: dict[str, type[BaseModel]] = {
        "baseline": Baseline,
        "adapters": AdapterEntry,
        "fisher": Fisher,
        "heal": Heal,
        "train": Training,
        "mask": Mask,
        "merge": Merge,
        "search": Search,
        "screen": Screen,
        "evaluate": Evaluate,
        "tasks": Task,
    }
    above = [part for part in location[:-1] if part in owners]
    known = list((owners[above[-1]] if above else Recipe).model_fields)
    close = get_close_matches(str(location[-1]), known, n=1)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)
