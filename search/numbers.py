"""Numbers: one point of the search, complete and within its ranges.

Chosen values put over a recipe's own; knows nothing of tensors.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search.errors import RecipeError
from search.recipe import S_MAX, Number, Recipe

NUMBER_NAMES = ("s", "alpha", "rank", "density", "strength")
"""Plain numbers of a recipe; `weight.NAME` and `s.first|middle|last` come on top."""


class Numbers(BaseModel):
    """One point of the search, complete: what the recipe says, and what was chosen over it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    s: Annotated[float, Field(ge=0, le=S_MAX)]
    s_first: Annotated[float, Field(ge=0, le=S_MAX)] | None = None
    """Scale of the first third of the layers, where it differs."""
    s_middle: Annotated[float, Field(ge=0, le=S_MAX)] | None = None
    s_last: Annotated[float, Field(ge=0, le=S_MAX)] | None = None
    alpha: Annotated[float, Field(ge=0, le=1)]
    rank: Annotated[int, Field(ge=0)] | None
    density: Annotated[float, Field(gt=0, le=1)]
    strength: Annotated[float, Field(ge=0, le=1)]
    """Factor on every mask's strength."""
    fisher_transform: Literal["minmax", "rank", "log"] | None
    weights: tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
    """One per adapter, in the recipe's order."""
    seed: int

    def scale(self, layer: int | None, n_layers: int) -> float:
        """`s` for a layer; tensors outside the layers take `s` itself."""
        if layer is None:
            return self.s
        thirds = (self.s_first, self.s_middle, self.s_last)
        own = thirds[min(2, 3 * layer // max(1, n_layers))]
        return self.s if own is None else own

    @property
    def scales(self) -> tuple[float, ...]:
        """Every scale in use."""
        thirds = (self.s_first, self.s_middle, self.s_last)
        return (self.s, *(own for own in thirds if own is not None))


def numbers_for(recipe: Recipe, chosen: Mapping[str, Number]) -> Numbers:
    """A recipe's numbers with the chosen ones put over them.

    Args:
        chosen: `s`, `alpha`, `rank`, `density`, `strength`, `seed`, `s.first`, `s.middle`,
            `s.last`, `fisher.transform`, or `weight.NAME` of an adapter. A rank may be a whole
            float.

    Raises:
        RecipeError: an unknown name, a value outside its range, or one that the recipe has no
            use for (alpha above 0 without heal, rank without subspace).
    """
    names = [adapter.name for adapter in recipe.adapters]
    weights = [
        1 / len(names) if adapter.weight is None else adapter.weight for adapter in recipe.adapters
    ]
    values: dict[str, Any] = {
        **recipe.merge.model_dump(include={"s", "alpha", "rank", "density", "seed"}),
        "strength": 1.0,
        "fisher_transform": recipe.fisher.transform if recipe.fisher is not None else None,
    }
    thirds = {"s.first": "s_first", "s.middle": "s_middle", "s.last": "s_last"}
    for name, value in chosen.items():
        if name.startswith("weight.") and name.removeprefix("weight.") in names:
            weights[names.index(name.removeprefix("weight."))] = float(value)
        elif name == "fisher.transform" and recipe.fisher is not None:
            values["fisher_transform"] = value
        elif name in thirds:
            values[thirds[name]] = value
        elif name in NUMBER_NAMES or name == "seed":
            values[name] = value
        else:
            known = ", ".join([*NUMBER_NAMES, *thirds, *(f"weight.{name}" for name in names)])
            raise RecipeError(f"unknown number {name!r}; this recipe has {known}")
    try:
        numbers = Numbers.model_validate({**values, "weights": tuple(weights)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{name}={first['input']}: {first['msg'].lower()}") from None
    if numbers.alpha > 0 and recipe.heal is None:
        raise RecipeError(f"alpha={numbers.alpha:g} needs a heal adapter; add `heal` to the recipe")
    if numbers.rank is not None and recipe.subspace is None:
        raise RecipeError(f"rank={numbers.rank} needs a subspace; add `subspace` to the recipe")
    return numbers


def parse_numbers(texts: Sequence[str]) -> dict[str, Number]:
    """Numbers as a command line gives them: `s=0.3`.

    Raises:
        RecipeError: no `=`, or a name given twice.
    """
    chosen: dict[str, Number] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise RecipeError(f"{text!r} is no number; write NAME=VALUE, such as s=0.3")
        if name in chosen:
            raise RecipeError(f"{name} is given twice")
        try:
            chosen[name] = float(value)
        except ValueError:
            chosen[name] = value
    return chosen
