"""Squares: sums over examples of squared gradients of linear weights, by hooks on the modules.

A module's input `a` and the gradient `g` of its output give the weight's gradient for one example,
g^T a over that example's tokens, which is squared at once and never kept. Knows nothing of losses,
prompts or files.
Source: Goodfellow 2015, Efficient per-example gradient computations,
https://arxiv.org/abs/1510.01799; several uses of one weight are summed before they are squared.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

BLOCK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 26}
"""Elements of a gradient that are formed at once: what the processor's cache holds, or enough to
keep a GPU busy. A constant, since other blocks may round differently."""

SUM_BYTES = 4
"""A sum is a float32."""


@dataclass(frozen=True)
class Target:
    """A weight whose importance is asked for, and the modules that use it."""

    name: str
    """Canonical name of the weight."""
    shape: tuple[int, int]
    uses: tuple["nn.Module", ...]
    """nn.Linear or nn.Embedding modules that hold it; several where it is tied."""

    @property
    def n_elements(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]


@dataclass
class _Call:
    """One call of a module in the forward pass."""

    module: "nn.Module"
    given: "torch.Tensor | None"
    """Input: activations, or token ids of an embedding."""
    gradient: "torch.Tensor | None" = None


@dataclass
class _Pending:
    """Calls of one weight's modules whose gradients are awaited."""

    target: Target
    calls: list[_Call] = field(default_factory=list)
    n_arrived: int = 0


class SquareSums:
    """Sums of squared per-example gradients of a group of weights."""

    def __init__(
        self, targets: Sequence[Target], device: str, start: "Mapping[str, torch.Tensor] | None"
    ) -> None:
        """Begin at zero, or where an earlier session stopped.

        Args:
            targets: The group.
            device: Where the sums lie: cpu or cuda.
            start: Sums so far by name, float32 in the weights' shapes; None means none.
        """
        import torch

        self.targets = tuple(targets)
        self.sums: dict[str, torch.Tensor] = {
            target.name: torch.zeros(target.shape, dtype=torch.float32, device=device)
            if start is None
            else start[target.name].to(device)
            for target in targets
        }
        self._block = BLOCK_ELEMENTS["cuda" if device.startswith("cuda") else "cpu"]

    @contextmanager
    def watching(self, lengths: Sequence[int]) -> Iterator[None]:
        """Add the gradients of the forward and backward pass that runs inside.

        Args:
            lengths: Tokens per example of the batch; what is beyond them is padding. Every watched
                module must get all tokens of all examples, example by example.
        """
        waiting = {target.name: _Pending(target) for target in self.targets}
        handles = []
        for target in self.targets:
            for module in target.uses:
                hook = partial(self._on_forward, waiting[target.name], lengths)
                handles.append(module.register_forward_hook(hook))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        # a call that the loss does not depend on brings no gradient, so its weight still waits
        for pending in waiting.values():
            if pending.n_arrived < len(pending.calls):
                self._add(pending, lengths)

    def _on_forward(
        self,
        pending: _Pending,
        lengths: Sequence[int],
        module: "nn.Module",
        inputs: tuple[Any, ...],
        output: "torch.Tensor",
    ) -> "torch.Tensor":
        # the graph begins at the first watched modules: below them nothing is kept or computed
        if not output.requires_grad:
            output = output.detach().requires_grad_()
        call = _Call(module, inputs[0].detach())
        pending.calls.append(call)
        output.register_hook(partial(self._on_gradient, pending, lengths, call))  # type: ignore[no-untyped-call]
        return output

    def _on_gradient(
        self, pending: _Pending, lengths: Sequence[int], call: _Call, gradient: "torch.Tensor"
    ) -> None:
        call.gradient = gradient
        pending.n_arrived += 1
        if pending.n_arrived == len(pending.calls):
            self._add(pending, lengths)

    def _add(self, pending: _Pending, lengths: Sequence[int]) -> None:
        calls = [call for call in pending.calls if call.gradient is not None]
        pending.calls, pending.n_arrived = [], 0
        total = self.sums[pending.target.name]
        for example in range(len(lengths)):
            pieces = [_piece(call, example, lengths) for call in calls]
            if all(piece.is_lookup for piece in pieces):
                _add_lookups(total, pieces)
                continue
            with _exact_in_tf32(calls):
                _add_products(total, pieces, self._block)
        for call in calls:  # the graph, and with it its hooks, lives until the pass ends
            call.given = call.gradient = None


@dataclass(frozen=True)
class _Piece:
    """One call's part of one example's gradient."""

    given: "torch.Tensor"
    """[T, d_in] float32, or [T] ids."""
    gradient: "torch.Tensor"
    """[T, d_out] float32; of an embedding [T, d_in]."""
    is_lookup: bool


def _piece(call: _Call, example: int, lengths: Sequence[int]) -> _Piece:
    from torch import nn

    assert call.given is not None and call.gradient is not None
    n_examples = len(lengths)
    gradient = call.gradient.reshape(n_examples, -1, call.gradient.shape[-1])
    rows = lengths[example] * (gradient.shape[1] // max(lengths))
    gradient = gradient[example, :rows].float()
    if not isinstance(call.module, nn.Embedding):
        given = call.given.reshape(n_examples, -1, call.given.shape[-1])[example, :rows].float()
        return _Piece(given, gradient, is_lookup=False)
    ids = call.given.reshape(n_examples, -1)[example, :rows]
    scale = getattr(call.module, "embed_scale", None)
    if scale is not None:  # Gemma's embeddings multiply what they look up
        gradient = gradient * float(scale.to(call.module.weight.dtype))
    if call.module.padding_idx is not None:  # autograd gives this row no gradient
        gradient = gradient * (ids != call.module.padding_idx)[:, None]
    return _Piece(ids, gradient, is_lookup=True)


@contextmanager
def _exact_in_tf32(calls: Sequence[_Call]) -> Iterator[None]:
    """Let a GPU multiply in TF32, which holds bfloat16 exactly and still sums in float32."""
    import torch

    gradients = [call.gradient for call in calls if call.gradient is not None]
    before = torch.get_float32_matmul_precision()
    if all(gradient.is_cuda and gradient.dtype == torch.bfloat16 for gradient in gradients):
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _add_products(total: "torch.Tensor", pieces: Sequence[_Piece], block: int) -> None:
    """Add one example's squared gradient, block of rows by block of rows."""
    step = max(1, block // total.shape[1])
    for start in range(0, total.shape[0], step):
        stop = min(start + step, total.shape[0])
        products = [piece for piece in pieces if not piece.is_lookup]
        gradient = products[0].gradient[:, start:stop].T @ products[0].given
        for piece in products[1:]:
            gradient.addmm_(piece.gradient[:, start:stop].T, piece.given)
        for piece in pieces:
            if piece.is_lookup:
                inside = (piece.given >= start) & (piece.given < stop)
                gradient.index_add_(0, piece.given[inside] - start, piece.gradient[inside])
        total[start:stop].addcmul_(gradient, gradient)


def _add_lookups(total: "torch.Tensor", pieces: Sequence[_Piece]) -> None:
    """The same for a weight that is only looked up: all other rows' gradients are zero."""
    import torch

    if not pieces:
        return
    ids = torch.cat([piece.given for piece in pieces])
    rows, places = torch.unique(ids, return_inverse=True)
    gradient = torch.zeros((len(rows), total.shape[1]), dtype=torch.float32, device=total.device)
    gradient.index_add_(0, places, torch.cat([piece.gradient for piece in pieces]))
    total.index_add_(0, rows, gradient.square_())
