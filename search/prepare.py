"""Prepare: what must hold before the first trial of a recipe.

Ingredients open and checked, baseline there, mapping proved; builds nothing else.
Source: DESIGN, Export.
"""

from dataclasses import dataclass
from pathlib import Path

from search.baseline import make_baseline
from search.cache import file_sha256
from search.export.proof import prove_mapping
from search.export.template import Template
from search.ingredients import Ingredients, open_ingredients
from search.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """A recipe ready to build: ingredients open, template matched and proved."""

    recipe: Recipe
    ingredients: Ingredients
    template: Template
    template_sha256: str
    proved: bool
    """Whether the mapping was proved just now."""


def prepare(recipe: Recipe, *, n_threads: int | None = None) -> Prepared:
    """Open a recipe's ingredients, make its baseline where it is missing, prove the mapping.

    Cheap when repeated: hashes and the proof are remembered.

    Raises:
        WeighinError: an ingredient, the template or the mapping is not in order.
    """
    ingredients = open_ingredients(recipe, may_train=True)
    path = Path(recipe.baseline.path)
    imatrix = Path(recipe.baseline.imatrix) if recipe.baseline.imatrix is not None else None
    if not path.exists():
        make_baseline(
            recipe.it, path, type=recipe.baseline.type, imatrix=imatrix, n_threads=n_threads
        )
    template = Template(path, ingredients.it, imatrix)
    proved = prove_mapping(ingredients, template, n_threads)
    return Prepared(recipe, ingredients, template, file_sha256(path), proved)
