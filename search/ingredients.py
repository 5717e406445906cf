"""Ingredients: everything a recipe names, open and checked against each other.

Opens files and reads headers; values are read later, by whoever merges. Knows no formulas.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from search import cache
from search.errors import IngredientError
from search.fisher.file import FisherFile, read_layer_importance
from search.merging.adapter import Adapter, open_adapter
from search.merging.methods import METHODS
from search.numbers import Numbers
from search.recipe import Recipe
from search.subspace.file import SubspaceFile
from search.tensors.checkpoint import Checkpoint, open_checkpoint
from search.tensors.tensorfile import TensorFile
from search.training.trained_heal import TrainedHeal


@dataclass(frozen=True)
class Ingredients:
    """A recipe's files, open."""

    recipe: Recipe
    it: Checkpoint
    pt: Checkpoint | None
    """Open only where the heal endpoint stands on it."""
    adapters: tuple[Adapter, ...]
    heal: Adapter | None
    """The heal adapter where the recipe names one."""
    fisher: FisherFile | None
    subspace: SubspaceFile | None
    trained: TrainedHeal | None = None
    """The heal adapters where the recipe has them trained."""

    @cached_property
    def layer_importance(self) -> dict[int, float]:
        """F_layer in [0, 1] by layer; empty without a Fisher."""
        entry = self.recipe.fisher
        if self.fisher is None or entry is None:
            return {}
        if entry.layers is not None:
            return read_layer_importance(Path(entry.layers), self.it.n_layers)
        return self.fisher.layer_importance()

    @property
    def read_s(self) -> float:
        """Thread-seconds spent reading the ingredients' files so far."""
        files: list[TensorFile] = [
            *self.it.files.values(),
            *(self.pt.files.values() if self.pt is not None else ()),
        ]
        files += [adapter.file for adapter in self.adapters]
        heals = self.trained.opened() if self.trained is not None else [self.heal]
        files += [
            owner.file
            for owner in (*heals, self.fisher, self.subspace)
            if owner is not None and owner.file is not None
        ]
        return sum(file.read_s for file in files)

    def heal_at(self, numbers: Numbers) -> Adapter | None:
        """The heal adapter for these numbers, trained now where it is to be and is not yet.

        Returns:
            None where there is no heal endpoint, or at alpha = 0.
        """
        if numbers.alpha == 0:
            return None
        return self.heal if self.trained is None else self.trained.adapter(numbers)

    def differs_in_pt(self, name: str) -> bool:
        """Whether the heal endpoint starts from another tensor than IT's."""
        if self.pt is None:
            return False
        return self.pt.tensor_hashes[name] != self.it.tensor_hashes[name]

    def hashes(self, numbers: Numbers) -> dict[str, Any]:
        """Hash of every ingredient that these numbers use."""
        found: dict[str, Any] = {"it": self.it.sha256}
        if any(numbers.scales):
            found["adapters"] = [adapter.sha256 for adapter in self.adapters]
            if self.recipe.fisher is not None:
                found["fisher"] = cache.file_sha256(Path(self.recipe.fisher.path))
                if self.recipe.fisher.layers is not None:
                    found["layers"] = cache.file_sha256(Path(self.recipe.fisher.layers))
        if numbers.alpha > 0 and self.recipe.heal is not None:
            if self.trained is not None:
                # known before it is trained, so that a build's name costs no training
                found["heal_training"] = self.trained.key(numbers)
            elif self.heal is not None:
                found["heal"] = self.heal.sha256
            if self.pt is not None:
                found["pt"] = self.pt.sha256
        if self.recipe.subspace is not None and self.recipe.masks:
            found["subspace"] = cache.file_sha256(Path(self.recipe.subspace))
        return found


def open_ingredients(recipe: Recipe, *, may_train: bool = False) -> Ingredients:
    """Open what a recipe names.

    Args:
        recipe: The recipe.
        may_train: Whether a heal adapter that the recipe has trained may be trained now.

    Raises:
        IngredientError: something is missing, broken, or made for other weights.
    """
    it = open_checkpoint(recipe.it)
    pt = None
    if recipe.heal is not None and recipe.heal.onto == "pt":
        assert recipe.pt is not None
        pt = open_checkpoint(recipe.pt)
        check_same_shapes(it, pt)
    fisher = FisherFile(Path(recipe.fisher.path)) if recipe.fisher is not None else None
    subspace = (
        SubspaceFile(Path(recipe.subspace))
        if recipe.subspace is not None and recipe.masks
        else None
    )
    heal, trained = recipe.heal, None
    if heal is not None and heal.train is not None:
        trained = TrainedHeal(recipe, pt or it, may_train=may_train)
    ingredients = Ingredients(
        recipe,
        it,
        pt,
        tuple(open_adapter(entry.path, it) for entry in recipe.adapters),
        open_adapter(heal.adapter, pt or it) if heal is not None and heal.adapter else None,
        fisher,
        subspace,
        trained,
    )
    if trained is not None:
        trained.check()
    if fisher is not None:
        _check_fisher(ingredients, fisher)
    if subspace is not None:
        _check_subspace(ingredients, subspace)
    return ingredients


def check_same_shapes(it: Checkpoint, pt: Checkpoint) -> None:
    """Refuse a PT whose tensors are not IT's, by name and shape.

    Raises:
        IngredientError: the first tensor that differs.
    """
    missing = sorted(set(it.names) ^ set(pt.names))
    if missing:
        raise IngredientError(
            f"{pt.folder} and {it.folder} do not have the same tensors: {missing[0]} is in one "
            "only; is this the model that IT came from?"
        )
    for name in it.names:
        ours, theirs = it.stored(name), pt.stored(name)
        if ours.shape != theirs.shape:
            raise IngredientError(
                f"{name} is {list(theirs.shape)} in {pt.folder} and {list(ours.shape)} in "
                f"{it.folder}; is this the model that IT came from?"
            )


def build_key(hashes: dict[str, Any], numbers: Numbers, recipe: Recipe, template: str) -> str:
    """A hash that equal builds share: numbers that change nothing are left out of it.

    Args:
        hashes: `Ingredients.hashes`.
        numbers: Complete numbers.
        recipe: For the method, the masks and where heal stands.
        template: SHA-256 of the template.
    """
    matter = numbers.model_dump()
    of_adapters = {"s", "s_first", "s_middle", "s_last", "weights", "density", "seed"}
    if not any(numbers.scales):
        for name in (*of_adapters, "fisher_transform"):
            matter.pop(name, None)
    for name in {"density", "seed"} - set(METHODS[recipe.merge.method].needs):
        matter.pop(name, None)
    fuel_masked = any(entry.mask is not None for entry in recipe.adapters) and any(numbers.scales)
    heal_masked = recipe.heal is not None and recipe.heal.mask is not None and numbers.alpha > 0
    if not (fuel_masked or heal_masked):
        matter.pop("rank", None)
        matter.pop("strength", None)
    shape = {
        "method": recipe.merge.method if any(numbers.scales) else None,
        "onto": recipe.heal.onto if recipe.heal is not None and numbers.alpha > 0 else None,
        "masks": [
            entry.mask.model_dump() if entry.mask is not None else None
            for entry in (*recipe.adapters, *((recipe.heal,) if recipe.heal is not None else ()))
        ],
    }
    if not (fuel_masked or heal_masked):
        shape["masks"] = []
        hashes = {key: value for key, value in hashes.items() if key != "subspace"}
    line = json.dumps([hashes, matter, shape, template], sort_keys=True)
    return hashlib.sha256(line.encode()).hexdigest()


def _check_fisher(ingredients: Ingredients, fisher: FisherFile) -> None:
    if fisher.header is not None and fisher.header.weights_sha256 != ingredients.it.sha256:
        raise IngredientError(
            f"{fisher.path} was made for other weights ({fisher.header.weights_sha256[:12]}) than "
            f"{ingredients.it.folder} ({ingredients.it.sha256[:12]}); make it for these"
        )
    changed = {name for adapter in ingredients.adapters for name in adapter.names}
    covered = changed & set(fisher.names)
    if not covered:
        raise IngredientError(f"{fisher.path} covers none of the tensors that the adapters change")
    for name in covered:
        if fisher.shape(name) != ingredients.it.stored(name).shape:
            raise IngredientError(
                f"{fisher.path}: {name} is {list(fisher.shape(name))}, the weight is "
                f"{list(ingredients.it.stored(name).shape)}; make it for this model"
            )


def _check_subspace(ingredients: Ingredients, subspace: SubspaceFile) -> None:
    header = subspace.header
    if header.it_sha256 != ingredients.it.sha256:
        raise IngredientError(
            f"{subspace.path} was made for other weights ({header.it_sha256[:12]}) than "
            f"{ingredients.it.folder} ({ingredients.it.sha256[:12]}); make it for these"
        )
    pt = ingredients.pt
    if pt is not None and header.pt_sha256 is not None and header.pt_sha256 != pt.sha256:
        raise IngredientError(
            f"{subspace.path} was made against another PT ({header.pt_sha256[:12]}) than "
            f"{pt.folder} ({pt.sha256[:12]}); make it for this one"
        )
    masked = {name for adapter in ingredients.adapters for name in adapter.names}
    masked |= set(ingredients.heal.names) if ingredients.heal is not None else set()
    if ingredients.trained is not None:
        masked |= {name for name in ingredients.it.names if ingredients.trained.covers(name)}
    if not masked & set(subspace.names):
        raise IngredientError(f"{subspace.path} covers none of the tensors that adapters change")
