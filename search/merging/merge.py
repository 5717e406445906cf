"""Merge: one tensor's way through the recipe, a block of rows at a time.

Ingredients and numbers in, merged rows out; knows nothing of GGUF or of threads. Every method
may be called from several threads once `prepare` has returned.
Source: DESIGN, Formulas; each step's module names its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from search.errors import BuildError
from search.fisher.file import Gate
from search.ingredients import Ingredients
from search.merging.dampen import dampen
from search.merging.factors import Factors
from search.merging.mask import mask
from search.merging.methods import METHODS, DeltaRows, Parts
from search.merging.slerp import Products, blend, coefficients, products
from search.numbers import Numbers
from search.recipe_ingredients import AdapterEntry, Heal, Mask
from search.tensors.names import layer_of
from search.tensors.tensorfile import all_finite

if TYPE_CHECKING:
    import torch

KEPT_BYTES = 1 << 28
"""Endpoints of the slerp are kept between its two passes up to this size, else made twice."""

Rows = Callable[[int, int], "torch.Tensor"]


@dataclass(frozen=True)
class Steps:
    """The pieces of one tensor's merge, for whoever wants to look at them singly."""

    fuel: DeltaRows | None
    """The adapters' combined delta, before dampening; None where it is zero."""
    gate: Gate | None
    """F in [0, 1] by rows; None where nothing dampens."""
    scale: float
    """s * (1 - F_layer)."""
    heal: Factors | None
    """The heal adapter's delta, masked."""


class TensorMerge:
    """One tensor's merge at one set of numbers."""

    def __init__(self, ingredients: Ingredients, numbers: Numbers, name: str) -> None:
        self.name = name
        self.stored = ingredients.it.stored(name)
        self._from = ingredients
        self._numbers = numbers
        alpha = numbers.alpha
        fuelled = any(
            name in adapter and weight != 0
            for adapter, weight in zip(ingredients.adapters, numbers.weights, strict=True)
        )
        self._scale = numbers.scale(layer_of(name), ingredients.it.n_layers)
        self._fuelled = fuelled and self._scale != 0 and alpha < 1
        self._heal = ingredients.heal_at(numbers)
        healed = self._heal is not None and name in self._heal
        self._heal_differs = alpha > 0 and ingredients.differs_in_pt(name)
        self._healed = healed
        self.touched = self._fuelled or self._healed or self._heal_differs
        """Whether the outcome can differ from IT's tensor."""
        self.blends = self.touched and 0 < alpha < 1
        """Whether inner products over the whole tensor are needed first."""

    def prepare(self, blocks: list[tuple[int, int]]) -> None:
        """Read factors, mask them, find thresholds; done once, before rows are asked for."""
        self.steps = self.open_steps(blocks)
        self._a, self._b = self._endpoint_a(), self._endpoint_b()
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        n_elements = self.stored.n_rows * self.stored.row_size
        self._keeps = 8 * n_elements <= KEPT_BYTES
        self._by = (1 - self._numbers.alpha, self._numbers.alpha)

    def release(self) -> None:
        """Let go of factors and rows; hundreds of tensors' factors would fill the memory."""
        del self.steps, self._a, self._b, self._kept

    def open_steps(self, blocks: list[tuple[int, int]]) -> Steps:
        """The pieces of the merge, factors read and masked."""
        fuel, gate, scale = None, None, 0.0
        if self._fuelled:
            fuel = METHODS[self._from.recipe.merge.method].rows(self.fuel_parts(blocks))
            fisher, entry = self._from.fisher, self._from.recipe.fisher
            if fisher is not None and entry is not None and self.name in fisher:
                transform = self._numbers.fisher_transform
                assert transform is not None
                gate = fisher.gate(self.name, transform)
            layer = layer_of(self.name)
            importance = self._from.layer_importance.get(layer, 0.0) if layer is not None else 0.0
            scale = self._scale * (1 - importance)
        heal = None
        if self._healed:
            assert self._heal is not None
            assert self._from.recipe.heal is not None
            heal = self.masked(self._heal.factors(self.name), self._from.recipe.heal)
        return Steps(fuel, gate, scale, heal)

    def fuel_parts(self, blocks: list[tuple[int, int]]) -> Parts:
        """The adapters' masked deltas of this tensor, with their weights."""
        deltas, weights, places = [], [], []
        for place, adapter in enumerate(self._from.adapters):
            weight = self._numbers.weights[place]
            if self.name in adapter and weight != 0:
                entry = self._from.recipe.adapters[place]
                deltas.append(self.masked(adapter.factors(self.name), entry))
                weights.append(weight)
                places.append(place)
        numbers = self._numbers
        return Parts(self.name, deltas, weights, places, numbers.density, numbers.seed, blocks)

    def masked(self, delta: Factors, entry: AdapterEntry | Heal) -> Factors:
        """A delta less what its mask takes out."""
        subspace = self._from.subspace
        if entry.mask is None or entry.mask.apply != "merge" or subspace is None:
            return delta
        if self.name not in subspace or self._numbers.rank == 0:
            return delta
        strength = self.mask_strength(entry.mask)
        return mask(delta, subspace.basis(self.name, self._numbers.rank), strength)

    def mask_strength(self, entry: Mask) -> float:
        """c of a mask on this tensor: 1 or the layer's importance, times the strengths."""
        strength = entry.strength * self._numbers.strength
        if entry.mode == "project":
            return strength
        layer = layer_of(self.name)
        return strength * (
            self._from.layer_importance.get(layer, 0.0) if layer is not None else 0.0
        )

    def measure(self, block: tuple[int, int]) -> Products:
        """Inner products of the two endpoints over a block."""
        a, b = self._a(*block), self._b(*block)
        if self._keeps:
            self._kept[block[0]] = (a, b)
        return products(a, b)

    def set_products(self, over: Products) -> None:
        """Fix the slerp's coefficients, once all blocks are measured."""
        self._by = coefficients(self._numbers.alpha, over)

    @property
    def kind(self) -> "torch.dtype":
        """The checkpoint's own type."""
        import torch

        kinds = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        return kinds[self.stored.dtype]

    @property
    def full_scale(self) -> float:
        """`s` of this tensor's layer, before any dampening."""
        return self._scale

    def endpoints(self, block: tuple[int, int]) -> "tuple[torch.Tensor, torch.Tensor]":
        """Rows of IT with the dampened delta, and of the slerp's other end."""
        return self._a(*block), self._b(*block)

    def merged(self, block: tuple[int, int]) -> "torch.Tensor":
        """Merged rows before rounding, [n, ...] float32."""
        if self._by == (1.0, 0.0):
            return self._a(*block)
        if self._by == (0.0, 1.0):
            return self._b(*block)
        kept = self._kept.pop(block[0], None)
        a, b = kept if kept is not None else (self._a(*block), self._b(*block))
        return blend(a, b, self._by)

    def rows(self, block: tuple[int, int]) -> "torch.Tensor":
        """Merged rows, rounded once to the checkpoint's own type.

        Returns:
            [n, ...] float32, of values that the type holds exactly.

        Raises:
            BuildError: a value that the type cannot hold.
        """
        import torch

        rounded = self.merged(block).to(self.kind).to(torch.float32)
        if not all_finite(rounded):
            raise BuildError(
                f"{self.name}: the merge leaves the range of {self.stored.dtype}; lower s, or look "
                "for a broken adapter"
            )
        return rounded

    def _endpoint_a(self) -> Rows:
        """IT with the dampened delta."""
        base = partial(self._from.it.rows, self.name)
        fuel, gate, scale = self.steps.fuel, self.steps.gate, self.steps.scale
        if fuel is None or scale == 0:
            return base

        def rows(start: int, stop: int) -> "torch.Tensor":
            fisher = gate(start, stop) if gate is not None else None
            return dampen(base(start, stop), fuel(start, stop), s=scale, fisher=fisher)

        return rows

    def _endpoint_b(self) -> Rows:
        """PT or IT with the heal delta."""
        pt = self._from.pt if self._from.pt is not None else self._from.it
        base, heal = partial(pt.rows, self.name), self.steps.heal
        if heal is None:
            return base
        return lambda start, stop: base(start, stop).add_(heal.rows(start, stop))
