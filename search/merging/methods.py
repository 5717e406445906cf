"""Methods: how several adapters' deltas become one, and what each way needs.

One registry; each entry makes a source of delta rows for one tensor. Knows no files.
Sources: average.py, ties.py and dare.py name theirs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.merging.average import average
from search.merging.dare import block_rng, drop
from search.merging.factors import Factors
from search.merging.ties import elect, threshold, trim

if TYPE_CHECKING:
    import torch

DeltaRows = Callable[[int, int], "torch.Tensor"]
"""The combined delta's rows from start to stop, [n, d_in] float32, fresh."""


@dataclass(frozen=True)
class Parts:
    """What a method is given for one tensor."""

    tensor: str
    deltas: Sequence[Factors]
    """Of the adapters that change this tensor."""
    weights: Sequence[float]
    adapters: Sequence[int]
    """Place of each in the recipe, from 0."""
    density: float
    seed: int
    blocks: Sequence[tuple[int, int]]
    """The blocks of rows that will be asked for, all of the tensor."""


@dataclass(frozen=True)
class Method:
    """One way to combine."""

    rows: Callable[[Parts], DeltaRows]
    needs: tuple[str, ...]
    """Numbers that it reads beside the weights; others do not change its build."""


def _average_rows(parts: Parts) -> DeltaRows:
    return average(parts.deltas, parts.weights).rows


def _ties_rows(parts: Parts) -> DeltaRows:
    limits = [_limit(delta, parts) for delta in parts.deltas]

    def rows(start: int, stop: int) -> "torch.Tensor":
        trimmed = [
            trim(delta.rows(start, stop), limit)
            for delta, limit in zip(parts.deltas, limits, strict=True)
        ]
        return elect(trimmed, parts.weights)

    return rows


def _dare_ties_rows(parts: Parts) -> DeltaRows:
    def rows(start: int, stop: int) -> "torch.Tensor":
        dropped = [
            drop(
                delta.rows(start, stop),
                parts.density,
                rng=block_rng(parts.seed, adapter, parts.tensor, start),
            )
            for delta, adapter in zip(parts.deltas, parts.adapters, strict=True)
        ]
        return elect(dropped, parts.weights)

    return rows


def _limit(delta: Factors, parts: Parts) -> float:
    return threshold(_Blocks(delta, parts.blocks), parts.density, delta.shape[0] * delta.shape[1])


@dataclass(frozen=True)
class _Blocks:
    """A delta's blocks, made anew on every walk."""

    delta: Factors
    blocks: Sequence[tuple[int, int]]

    def __iter__(self) -> "Iterator[torch.Tensor]":
        return (self.delta.rows(start, stop) for start, stop in self.blocks)


METHODS: dict[str, Method] = {
    "average": Method(_average_rows, ()),
    "ties": Method(_ties_rows, ("density",)),
    "dare_ties": Method(_dare_ties_rows, ("density", "seed")),
}
"""By the recipe's `merge.method`. A weighted sum is `average` with weights."""
