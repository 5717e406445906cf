"""Reading: the logits of a model at chosen places of texts that are given.

Token sequences in, rows of logits out, one micro-batch at a time; what several sequences begin with
is read once. Which tokens share a batch depends on the sequences alone, so two models read the same
sequences in the same batches. Knows nothing of what the logits are for.
Source: a token that belongs to several sequences, as in llama.cpp's `tools/perplexity`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.engine.llama import Context

N_SLOTS = 64
"""Sequences that share one batch, at most."""


@dataclass(frozen=True)
class Passage:
    """A token sequence of which a part is asked for."""

    tokens: Sequence[int]
    """At least two."""
    first: int
    """The first token that is asked for, given those before it: 1 to `len(tokens)`."""


class Target(NamedTuple):
    """A token of a passage that is asked for."""

    passage: int
    """Index of the passage."""
    place: int
    """Index of the token in it."""
    token: int


@dataclass(frozen=True)
class Page:
    """The outcome of one decode call."""

    targets: list[Target]
    rows: NDArray[np.intp]
    """[n_targets], the row that predicts each target; passages that share a beginning share it."""
    logits: NDArray[np.float32]
    """[n_rows, n_vocab], a view that the next page overwrites."""


@dataclass
class Node:
    """A token to be read, once for all the passages that begin with it and what is before it."""

    token: int
    position: int
    slots: list[int]
    """Sequences that it belongs to."""
    targets: list[Target] = field(default_factory=list)
    """What follows it and is asked for."""


@dataclass(frozen=True)
class Group:
    """Passages that are in the cache together."""

    prefix: Sequence[int]
    """Tokens that all of them begin with and that the group before has left in the cache."""
    kept_slot: int
    """Where it has left them."""
    n_slots: int
    nodes: list[Node]
    """What is to be read, parents before children."""


def read_pages(context: Context, passages: Sequence[Passage]) -> Iterator[Page]:
    """Read passages and give the logits for every token that is asked for.

    Args:
        context: With shared cells (`unified`) and `N_SLOTS` sequences, as long as the longest
            passage and one batch; it may be asked for a batch of outputs.
        passages: In any order, which changes nothing.

    Yields:
        Page after page; every asked token is a target of exactly one.

    Raises:
        EngineError: llama.cpp refused a batch.
    """
    for group in plan_groups(passages, n_batch=context.n_batch):
        _make_room(context, group)
        size = context.n_batch
        for start in range(0, len(group.nodes), size):
            nodes = group.nodes[start : start + size]
            for node in nodes:
                context.add_shared(node.slots, node.position, node.token, output=bool(node.targets))
            asked = [node.targets for node in nodes if node.targets]
            logits = context.decode()
            if asked:
                targets = [target for targets in asked for target in targets]
                rows = np.repeat(np.arange(len(asked)), [len(targets) for targets in asked])
                yield Page(targets, rows, logits)


def plan_groups(
    passages: Sequence[Passage], *, n_batch: int, n_slots: int = N_SLOTS
) -> Iterator[Group]:
    """Sort passages so that common beginnings are neighbours, and cut them into groups.

    A group's fresh tokens fit one batch; only a passage that is longer than a batch by itself is
    read in several. What the group before has left in the cache is not read again.

    Args:
        passages: In any order.
        n_batch: Most tokens in one decode call.
        n_slots: Most sequences in a group.
    """
    inputs = [tuple(p.tokens[:-1]) for p in passages]
    asked = [i for i, p in enumerate(passages) if p.first < len(p.tokens)]
    order = sorted(asked, key=lambda i: (inputs[i], i))
    cached: Sequence[int] = ()
    kept_slot = 0
    start = 0
    while start < len(order):
        end, n_prefix = _extent(passages, inputs, order, start, cached, n_batch, n_slots)
        nodes, n_used = _tree(passages, inputs, order[start:end], n_prefix)
        last = inputs[order[end - 1]]
        yield Group(last[:n_prefix], kept_slot, n_used, nodes)
        cached, kept_slot = last, n_used - 1
        start = end


def _extent(
    passages: Sequence[Passage],
    inputs: Sequence[tuple[int, ...]],
    order: Sequence[int],
    start: int,
    cached: Sequence[int],
    n_batch: int,
    n_slots: int,
) -> tuple[int, int]:
    """Where a group that begins at `start` ends, and how much of it is in the cache already."""
    first = order[start]
    n_prefix = min(_shared(cached, inputs[first]), passages[first].first - 1)
    n_tokens = len(inputs[first])
    n_used = 1
    for end in range(start + 1, len(order)):
        before, here = inputs[order[end - 1]], inputs[order[end]]
        shared = _shared(before, here)
        # logits at a cached token are gone, so nothing that is asked for may lie in the prefix
        n_prefix_here = min(n_prefix, shared, passages[order[end]].first - 1)
        n_tokens += len(here) - shared
        n_used += shared < len(before)
        if n_tokens - n_prefix_here > n_batch or n_used > n_slots:
            return end, n_prefix
        n_prefix = n_prefix_here
    return len(order), n_prefix


def _tree(
    passages: Sequence[Passage],
    inputs: Sequence[tuple[int, ...]],
    members: Sequence[int],
    n_prefix: int,
) -> tuple[list[Node], int]:
    """The group's tokens behind its prefix, and how many sequences they need."""
    nodes: list[Node] = []
    path: list[Node] = []
    slot = -1
    before: tuple[int, ...] | None = None
    for index in members:
        here = inputs[index]
        shared = n_prefix if before is None else _shared(before, here)
        if before is None or shared < len(before):
            # it leaves the last path somewhere: a sequence of its own from there on
            slot += 1
            del path[shared - n_prefix :]
            for node in path:
                node.slots.append(slot)
        fresh = [Node(here[at], at, [slot]) for at in range(shared, len(here))]
        path += fresh
        nodes += fresh
        passage = passages[index]
        for place in range(passage.first, len(passage.tokens)):
            target = Target(index, place, passage.tokens[place])
            path[place - 1 - n_prefix].targets.append(target)
        before = here
    return nodes, slot + 1


def _make_room(context: Context, group: Group) -> None:
    """Leave the group's prefix in the cache, in all its sequences, and nothing else."""
    n_prefix = len(group.prefix)
    if n_prefix == 0:
        context.clear()
    elif context.rewind(group.kept_slot, n_prefix):
        for slot in range(group.n_slots):
            if slot != group.kept_slot:
                context.copy(group.kept_slot, slot)
        if group.kept_slot >= group.n_slots:
            context.drop(group.kept_slot)
    else:
        slots = range(group.n_slots)
        for start in range(0, n_prefix, context.n_batch):
            for at in range(start, min(start + context.n_batch, n_prefix)):
                context.add_shared(slots, at, group.prefix[at], output=False)
            context.decode()


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens that both begin with."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(i for i in range(n) if a[i] != b[i])
