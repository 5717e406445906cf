"""Masked factors: LoRA factors that learn nothing of a subspace, whatever the optimiser does.

Parameters and an optimiser in, both changed in place; knows nothing of data, losses or trainers.
What is trained is a pair of free factors B' and A'; what the model computes with, and what is
saved, is B = (I - c U U^T) B' and A = A' (I - c V V^T), so that the delta B A is at every step
the merge's own mask (`search.merging.mask`) of B' A'. By the chain rule the optimiser sees masked
gradients, (I - c U U^T) dB and dA (I - c V V^T). Masking gradients alone would not do: Adam
divides by the root of the second moments element by element, and so turns a masked gradient into
a step that is not masked.
Source: gradient projection, Saha et al. 2021, https://arxiv.org/abs/2103.09762, as a
reparametrisation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.errors import TrainingError
from search.subspace.file import SubspaceFile
from search.tensors.names import canonical, layer_of

if TYPE_CHECKING:
    import torch

FREE = "free_factor"
"""Key of B' or A' in the optimiser's state, where it is saved and resumed with the moments."""


@dataclass(frozen=True)
class Side:
    """The mask on one factor: I - c Q^T Q on the side that meets the weight's rows or columns."""

    directions: "torch.Tensor"
    """Q, [R, d] float32, orthonormal rows."""
    strength: float
    """c in (0, 1]."""
    left: bool
    """Whether it acts from the left, on B [d_out, r]; else from the right, on A [r, d_in]."""

    def mask(self, factor: "torch.Tensor") -> "torch.Tensor":
        """The factor less c times its part along the directions, fresh."""
        import torch

        q = self.directions
        if self.strength == 1 and q.shape[0] >= q.shape[1]:
            # every direction is protected; a difference would leave noise of its own size
            return torch.zeros_like(factor)
        for _ in range(2 if self.strength == 1 else 1):
            # a projection is repeated, since rounding leaves some of a large protected part
            if self.left:
                factor = torch.addmm(factor, q.T, q @ factor, alpha=-self.strength)
            else:
                factor = torch.addmm(factor, factor @ q.T, q, alpha=-self.strength)
        return factor


class MaskedFactors:
    """Parameters under their masks."""

    def __init__(self, sides: "Mapping[torch.nn.Parameter, Side]") -> None:
        """Mask the initial values.

        Args:
            sides: The mask of each parameter; parameters that are not masked are not named.
        """
        self._sides = dict(sides)
        # B' and A' until the optimiser's state holds them
        self._initial = {factor: factor.detach().clone() for factor in self._sides}
        for factor, side in self._sides.items():
            factor.data.copy_(side.mask(factor.detach()))

    def mask_gradients(self) -> None:
        """Turn gradients of B and A into those of B' and A'; once per optimiser step."""
        for factor, side in self._sides.items():
            if factor.grad is not None:
                factor.grad = side.mask(factor.grad)

    def attach(self, optimizer: "torch.optim.Optimizer") -> None:
        """Let the optimiser step on the free factors, and the model see the masked ones."""
        optimizer.register_step_pre_hook(self._free)
        optimizer.register_step_post_hook(self._mask)

    def _free(self, optimizer: Any, *_: Any) -> None:
        for factor in self._stepped():
            state = optimizer.state.get(factor, {})
            factor.data.copy_(state[FREE] if FREE in state else self._initial[factor])

    def _mask(self, optimizer: Any, *_: Any) -> None:
        for factor in self._stepped():
            # kept only now: an optimiser fills a state that it finds empty
            optimizer.state[factor][FREE] = factor.detach().clone()
            self._initial.pop(factor, None)
            factor.data.copy_(self._sides[factor].mask(factor.detach()))

    def _stepped(self) -> "list[torch.nn.Parameter]":
        return [factor for factor in self._sides if factor.grad is not None]


def sides_of(
    model: "torch.nn.Module",
    subspace: SubspaceFile,
    rank: int | None,
    strength: Callable[[int | None], float],
) -> "dict[torch.nn.Parameter, Side]":
    """The masks on a PEFT model's factors.

    Args:
        model: A PEFT model with one LoRA adapter.
        subspace: Directions by weight.
        rank: How many of them to protect; None means all.
        strength: c by layer; where it is 0 a factor stays free.

    Returns:
        By parameter; weights without directions are left out.

    Raises:
        TrainingError: the subspace is for weights of other shapes.
    """
    sides: dict[torch.nn.Parameter, Side] = {}
    for name, factor in model.named_parameters():
        weight = weight_of(name)
        if weight is None or weight not in subspace:
            continue
        c = strength(layer_of(weight))
        if c == 0 or rank == 0 or subspace.stored_rank(weight) == 0:
            continue
        left = ".lora_B." in name
        basis = subspace.basis(weight, rank)
        columns = basis.left if left else basis.right
        if columns.shape[0] != factor.shape[0 if left else 1]:
            raise TrainingError(
                f"{subspace.path}: {weight} has directions of length {columns.shape[0]}, the "
                f"model's weight needs {factor.shape[0 if left else 1]}; make it for this model"
            )
        sides[factor] = Side(_orthonormal(columns).to(factor.device), c, left)
    return sides


def weight_of(parameter: str) -> str | None:
    """Canonical name of the weight that a LoRA factor changes; None for other parameters."""
    for kind in (".lora_A.", ".lora_B."):
        if kind in parameter:
            module = parameter.split(kind)[0].removeprefix("base_model.model.")
            return canonical(module + ".weight")
    return None


def _orthonormal(columns: "torch.Tensor") -> "torch.Tensor":
    """Directions as orthonormal rows: what is stored in bfloat16 is orthonormal to two digits."""
    import torch

    rows: torch.Tensor = torch.linalg.qr(columns)[0].T.contiguous()
    return rows
