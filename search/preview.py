"""Preview: what a merge would do, layer by layer, without building it.

Walks the same steps as the build and sums norms and products over blocks; writes nothing.
"""

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from search.ingredients import Ingredients, open_ingredients
from search.merging.blocks import blocks_of
from search.merging.factors import stack
from search.merging.mask import share_inside
from search.merging.merge import TensorMerge
from search.merging.slerp import Products, products
from search.numbers import Numbers, numbers_for
from search.recipe import Number, Recipe
from search.recipe_ingredients import Mask
from search.tensors.names import layer_of

NO_PRODUCTS = Products()


class LayerPreview(BaseModel):
    """One layer, or all that lies outside the layers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int | None
    """None for embeddings and the last norm."""

    n_touched: int
    """Tensors that the merge changes."""

    moved: float
    """|merged - IT| / |IT|, over the touched tensors, before rounding."""

    cosine: float | None
    """Of merged and IT, over the touched tensors."""

    fuel_norm: float
    """|s D| / |IT|: the adapters' delta at full strength."""

    let_through: float | None
    """Share of that norm that the dampening leaves; None without a delta."""

    fuel_cosine: float | None
    """Of IT with the fuel, and IT."""

    heal_norm: float | None
    """|heal endpoint - IT| / |IT|; None at alpha = 0, where there is no endpoint."""

    heal_cosine: float | None
    """Of the heal endpoint and IT."""

    in_subspace: float | None
    """Share of the heal delta's (or, without heal, the adapters') squared norm, before any mask,
    that lies in the subspace at this rank; None without a subspace or delta."""


class Preview(BaseModel):
    """A recipe at one set of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: Numbers
    layers: tuple[LayerPreview, ...]
    left_out: int
    """Tensors of other towers, which a text GGUF leaves out."""


@dataclass(frozen=True)
class _Sums:
    """Squares and products over some rows; adding is joining rows."""

    merged: Products = NO_PRODUCTS
    fuel: Products = NO_PRODUCTS
    heal: Products = NO_PRODUCTS
    moved: float = 0.0
    heal_moved: float = 0.0
    raw: float = 0.0
    dampened: float = 0.0

    def __add__(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.merged + other.merged,
            self.fuel + other.fuel,
            self.heal + other.heal,
            self.moved + other.moved,
            self.heal_moved + other.heal_moved,
            self.raw + other.raw,
            self.dampened + other.dampened,
        )


def preview(
    recipe: Recipe, numbers: Mapping[str, Number], *, n_threads: int | None = None
) -> Preview:
    """Look at a merge.

    Args:
        recipe: The recipe; its baseline need not exist.
        numbers: As for a build.
        n_threads: Tensors at a time; None means all cores.

    Raises:
        WeighinError: an ingredient or number is not in order.
    """
    from harness.settings import available_cores

    full = numbers_for(recipe, numbers)
    ingredients = open_ingredients(recipe)
    if ingredients.subspace is not None:
        ingredients.subspace.check_rank(full.rank)
    merges = [TensorMerge(ingredients, full, name) for name in ingredients.it.names]
    touched = [merge for merge in merges if merge.touched]
    with ThreadPoolExecutor(n_threads or available_cores()) as pool:
        sums = list(pool.map(lambda merge: _tensor_sums(ingredients, merge), touched))
        shares = list(pool.map(lambda merge: _share(ingredients, full, merge), touched))
    layers: dict[int | None, list[int]] = {}
    for place, merge in enumerate(touched):
        layers.setdefault(layer_of(merge.name), []).append(place)
    order = sorted(layers, key=lambda layer: (layer is None, layer or 0))
    return Preview(
        numbers=full,
        layers=tuple(
            _layer(
                layer,
                full.alpha > 0,
                [sums[place] for place in layers[layer]],
                [share for place in layers[layer] if (share := shares[place]) is not None],
            )
            for layer in order
        ),
        left_out=len(ingredients.it.left_out),
    )


def _tensor_sums(ingredients: Ingredients, merge: TensorMerge) -> _Sums:
    blocks = blocks_of(merge.stored.shape)
    merge.prepare(blocks)
    if merge.blends:
        total = Products()
        for block in blocks:
            total = total + merge.measure(block)
        merge.set_products(total)
    sums = _Sums()
    for block in blocks:
        sums = sums + _block_sums(ingredients, merge, block)
    merge.release()
    return sums


def _block_sums(ingredients: Ingredients, merge: TensorMerge, block: tuple[int, int]) -> _Sums:
    base = ingredients.it.rows(merge.name, *block)
    fuelled, healed = merge.endpoints(block)
    merged = merge.merged(block)
    raw = 0.0
    if merge.steps.fuel is not None:
        raw = float(merge.steps.fuel(*block).square().sum()) * merge.full_scale**2
    return _Sums(
        products(merged, base),
        products(fuelled, base),
        products(healed, base),
        float((merged - base).square().sum()),
        float((healed - base).square().sum()),
        raw,
        float((fuelled - base).square().sum()),
    )


def _share(
    ingredients: Ingredients, numbers: Numbers, merge: TensorMerge
) -> tuple[float, float] | None:
    """Squared norm of the delta before its mask, and the part of it in the subspace."""
    recipe, name = ingredients.recipe, merge.name
    if recipe.subspace is None or ingredients.subspace is None or name not in ingredients.subspace:
        return None
    heal = ingredients.heal or ingredients.heal_at(numbers)
    if heal is not None and name in heal and _merges(recipe.heal):
        delta = heal.factors(name)
    else:
        parts = [
            adapter.factors(name).times(weight)
            for adapter, weight in zip(ingredients.adapters, numbers.weights, strict=True)
            if name in adapter
        ]
        if not parts:
            return None
        delta = stack(parts)
    inside = share_inside(delta, ingredients.subspace.basis(name, numbers.rank))
    whole = delta.squared_norm()
    return None if inside is None else (whole, inside * whole)


def _merges(entry: object) -> bool:
    mask = getattr(entry, "mask", None)
    return isinstance(mask, Mask) and mask.apply == "merge"


def _layer(
    layer: int | None, healed: bool, parts: list[_Sums], shares: list[tuple[float, float]]
) -> LayerPreview:
    total = _Sums()
    for part in parts:
        total = total + part
    base = math.sqrt(total.merged.bb)
    whole = sum(share[0] for share in shares)
    return LayerPreview(
        layer=layer,
        n_touched=len(parts),
        moved=_ratio(total.moved, base) or 0.0,
        cosine=total.merged.cosine,
        fuel_norm=_ratio(total.raw, base) or 0.0,
        let_through=_ratio(total.dampened, math.sqrt(total.raw)),
        fuel_cosine=total.fuel.cosine,
        heal_norm=_ratio(total.heal_moved, base) if healed else None,
        heal_cosine=total.heal.cosine if healed else None,
        in_subspace=sum(share[1] for share in shares) / whole if whole else None,
    )


def _ratio(squared: float, below: float) -> float | None:
    return math.sqrt(squared) / below if below else None


def preview_lines(shown: Preview) -> Iterator[str]:
    """The preview as a table in plain text."""
    yield (
        f"{'layer':>8} {'tensors':>7} {'moved':>8} {'cos':>9} {'|sD|':>8} {'through':>8} "
        f"{'|heal|':>8} {'cos heal':>9} {'in sub':>7}"
    )
    for row in shown.layers:
        name = "outside" if row.layer is None else str(row.layer)
        yield (
            f"{name:>8} {row.n_touched:>7} {row.moved:>8.4f} {_cell(row.cosine, 9, 6)} "
            f"{row.fuel_norm:>8.4f} {_cell(row.let_through, 8, 3)} {_cell(row.heal_norm, 8, 4)} "
            f"{_cell(row.heal_cosine, 9, 6)} {_cell(row.in_subspace, 7, 3)}"
        )
    if shown.left_out:
        yield f"{shown.left_out} tensors of vision and audio towers are left out"


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"
