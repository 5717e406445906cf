"""A recipe as a card tells it: ingredients with their hashes, numbers, the formula in words.

A recipe and one point of it in, the harness's neutral provenance out. A GGUF that weighin built
carries both; a study's record does as well. Opens no ingredient.
Source: DESIGN, Formulas.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.card.evidence import CardError
from harness.card.provenance import Ingredient, Provenance
from search.build import KEY_PREFIX
from search.export.gguf_file import read_gguf
from search.merging.methods import METHODS
from search.numbers import Numbers
from search.places import short_name, without_paths
from search.recipe import Number, Recipe
from search.recipe_ingredients import Mask
from search.study.record import NO_FOLDER

RECIPE_FILE = "recipe.yaml"
"""What the commands of a card call the recipe."""
COMBINED = {
    "average": "The adapters' deltas D_k = scale_k B_k A_k are summed, each with its weight: D.",
    "ties": "The adapters' deltas are trimmed to their largest entries, a sign is elected for each "
    "place, and those that agree with it are averaged (TIES): D.",
    "dare_ties": "Entries of the adapters' deltas are dropped at random and the rest scaled up, a "
    "sign is elected for each place, and those that agree are averaged (DARE-TIES): D.",
}


def provenance_of(
    recipe: Recipe, numbers: Numbers, hashes: Mapping[str, Any], build_hash: str | None
) -> Provenance:
    """What a card says of a merge.

    Args:
        recipe: Paths may be of any machine; only names are told.
        numbers: The build's, complete.
        hashes: As `Ingredients.hashes` gives them, with `template`.
        build_hash: Shared by equal builds.
    """
    import yaml

    plain = without_paths(recipe.model_dump(mode="json", exclude_defaults=True))
    return Provenance(
        ingredients=tuple(_ingredients(recipe, numbers, hashes)),
        numbers=tuple(_numbers(recipe, numbers)),
        formula=tuple(_formula(recipe, numbers)),
        recipe=yaml.safe_dump(plain, sort_keys=False, allow_unicode=True),
        build_hash=build_hash,
    )


def provenance_in(gguf: Path) -> tuple[Provenance, dict[str, Number]] | None:
    """What a GGUF says of its own making, and its numbers as `weighin build -p` takes them.

    Returns:
        None where weighin did not build it.

    Raises:
        TemplateError: It is no GGUF.
        CardError: What it says of itself is broken.
    """
    header = read_gguf(gguf)
    names = ("recipe", "numbers", "ingredients", "build_hash")
    found = {name: header.value(KEY_PREFIX + name) for name in names}
    if any(text is None for text in found.values()):
        return None
    texts = {name: str(text) for name, text in found.items()}
    try:
        recipe = Recipe.model_validate(json.loads(texts["recipe"]), context={"folder": NO_FOLDER})
        numbers = Numbers.model_validate_json(texts["numbers"])
        hashes = json.loads(texts["ingredients"])
        if not isinstance(hashes, dict):
            raise ValueError("its ingredients are no mapping")
    except (ValidationError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise CardError(
            f"{gguf}: what it says of its own making cannot be read ({reason}); build it again"
        ) from None
    chosen = _chosen(recipe, numbers)
    return provenance_of(recipe, numbers, hashes, texts["build_hash"]), chosen


def build_command(chosen: Mapping[str, Number], file: str) -> str:
    """The command that makes a build anew."""
    asked = "".join(f" -p {shlex.quote(f'{name}={value}')}" for name, value in chosen.items())
    return f"weighin build {RECIPE_FILE}{asked} -o {shlex.quote(file)}"


def check_command(file: str, sha256: str) -> str:
    """The command that says whether a file is the one that was scored."""
    return f"echo {shlex.quote(f'{sha256}  {file}')} | sha256sum --check"


def _chosen(recipe: Recipe, numbers: Numbers) -> dict[str, Number]:
    """The numbers of a build that are others than its recipe's own."""
    own = {**recipe.merge.model_dump(), "strength": 1.0}
    found: dict[str, Number] = {
        name: value
        for name in ("s", "alpha", "rank", "density", "strength", "seed")
        if (value := getattr(numbers, name)) is not None and value != own[name]
    }
    for third in ("first", "middle", "last"):
        value = getattr(numbers, f"s_{third}")
        if value is not None:
            found[f"s.{third}"] = value
    if recipe.fisher is not None and numbers.fisher_transform not in (
        None,
        recipe.fisher.transform,
    ):
        found["fisher.transform"] = numbers.fisher_transform
    for entry, weight in zip(recipe.adapters, numbers.weights, strict=True):
        given = 1 / len(recipe.adapters) if entry.weight is None else entry.weight
        if weight != given:
            found[f"weight.{entry.name}"] = weight
    return found


def _ingredients(
    recipe: Recipe, numbers: Numbers, hashes: Mapping[str, Any]
) -> Iterator[Ingredient]:
    yield Ingredient(
        role="instruct model", key="it", name=short_name(recipe.it), sha256=hashes.get("it")
    )
    if recipe.pt is not None:
        yield Ingredient(
            role="pre-trained model",
            key="pt",
            name=short_name(recipe.pt),
            sha256=hashes.get("pt"),
        )
    of_adapters = hashes.get("adapters") or [None] * len(recipe.adapters)
    for entry, weight, digest in zip(recipe.adapters, numbers.weights, of_adapters, strict=True):
        yield Ingredient(
            role="adapter",
            key=entry.name,
            name=short_name(entry.path),
            sha256=digest,
            detail=f"weight {weight:.4g}{_masked(entry.mask)}",
        )
    if recipe.heal is not None:
        trained = recipe.heal.adapter is None
        yield Ingredient(
            role="heal adapter",
            key="heal",
            name="trained for this recipe" if trained else short_name(recipe.heal.adapter or ""),
            sha256=hashes.get("heal"),
            detail=f"merged onto {recipe.heal.onto.upper()}{_masked(recipe.heal.mask)}",
        )
    if recipe.fisher is not None:
        yield Ingredient(
            role="Fisher",
            key="",
            name=short_name(recipe.fisher.path),
            sha256=hashes.get("fisher"),
            detail=f"transform {numbers.fisher_transform}",
        )
        if recipe.fisher.layers is not None:
            yield Ingredient(
                role="layer importance",
                key="",
                name=short_name(recipe.fisher.layers),
                sha256=hashes.get("layers"),
            )
    if recipe.subspace is not None:
        yield Ingredient(
            role="instruct subspace",
            key="",
            name=short_name(recipe.subspace),
            sha256=hashes.get("subspace"),
        )
    yield Ingredient(
        role="template and baseline",
        key="",
        name=short_name(recipe.baseline.path),
        sha256=hashes.get("template"),
        detail="gives metadata, tokenizer, chat template and tensor types",
    )


def _masked(mask: Mask | None) -> str:
    if mask is None:
        return ""
    what = (
        "without the instruct subspace"
        if mask.mode == "project"
        else "less of the instruct subspace where the layer is important"
    )
    strength = "" if mask.strength == 1 else f", strength {mask.strength:g}"
    return f"; {what}, {'in training' if mask.apply == 'train' else 'at merge time'}{strength}"


def _numbers(recipe: Recipe, numbers: Numbers) -> Iterator[tuple[str, str]]:
    """Those that shape the build."""
    needs = METHODS[recipe.merge.method].needs
    yield "method", recipe.merge.method
    yield "s", f"{numbers.s:g}"
    for third in ("first", "middle", "last"):
        value = getattr(numbers, f"s_{third}")
        if value is not None:
            yield f"s.{third}", f"{value:g}"
    if recipe.heal is not None:
        yield "alpha", f"{numbers.alpha:g}"
    if recipe.subspace is not None:
        yield "rank", "all that are stored" if numbers.rank is None else str(numbers.rank)
        yield "strength", f"{numbers.strength:g}"
    if "density" in needs:
        yield "density", f"{numbers.density:g}"
    if "seed" in needs:
        yield "seed", str(numbers.seed)


def _formula(recipe: Recipe, numbers: Numbers) -> Iterator[str]:
    """The merge step by step; steps that these numbers make idle are left out."""
    if any(numbers.scales):
        yield COMBINED[recipe.merge.method]
        yield (
            "W = W_IT + s D."
            if recipe.fisher is None
            else "W = W_IT + s (1 - F) (1 - F_layer) D, with F the diagonal Fisher and F_layer its "
            "sums by layer, each scaled to 0..1."
        )
    if recipe.heal is not None and numbers.alpha > 0:
        onto = recipe.heal.onto.upper()
        yield (f"Slerp, tensor by tensor, at t = alpha from there to the heal adapter on {onto}.")
    yield "Changed tensors are quantised by ggml to the template's types; the rest is copied."
