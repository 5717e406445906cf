"""Reading given tokens, on a model that knows all that it has read: every logit names its past."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.engine.likelihood import likelihoods, score_tokens
from harness.engine.reading import N_SLOTS, Passage, plan_groups, read_pages

N_VOCAB = 11


def row_after(past: tuple[int, ...]) -> NDArray[np.float32]:
    """Logits that depend on every token read so far."""
    seed = np.random.default_rng([len(past), *past])
    return seed.normal(size=N_VOCAB).astype(np.float32)


class RememberingContext:
    """Keeps each sequence's tokens and refuses what llama.cpp refuses."""

    def __init__(self, *, n_batch: int, n_cells: int = 10**6, rewinds: bool = True) -> None:
        self.n_batch = n_batch
        self.n_cells = n_cells
        self.rewinds = rewinds
        self.past: dict[int, tuple[int, ...]] = {}
        self.batch: list[tuple[tuple[int, ...], bool]] = []
        self.n_read = 0
        self.n_decodes = 0

    def clear(self) -> None:
        self.past = {}

    def drop(self, sequence: int) -> None:
        self.past.pop(sequence, None)

    def copy(self, source: int, target: int) -> None:
        self.past[target] = self.past[source]

    def rewind(self, sequence: int, n_tokens: int) -> bool:
        if not self.rewinds:
            self.clear()
            return False
        self.past = {sequence: self.past[sequence][:n_tokens]}
        return True

    def add_shared(
        self, sequences: Sequence[int], position: int, token: int, *, output: bool
    ) -> None:
        assert len(sequences) <= N_SLOTS
        pasts = {self.past.get(s, ()) for s in sequences}
        assert len(pasts) == 1, "sequences that share a token have the same past"
        (past,) = pasts
        assert position == len(past), "a sequence is read in order, without a gap"
        for sequence in sequences:
            self.past[sequence] = (*past, token)
        self.batch.append(((*past, token), output))

    def decode(self) -> NDArray[np.float32]:
        assert 0 < len(self.batch) <= self.n_batch
        cells = {past[: n + 1] for past in self.past.values() for n in range(len(past))}
        assert len(cells) <= self.n_cells
        rows = [row_after(past) for past, output in self.batch if output]
        self.n_read += len(self.batch)
        self.n_decodes += 1
        self.batch = []
        return np.array(rows, np.float32).reshape(-1, N_VOCAB)


def read(passages: Sequence[Passage], context: Any) -> Any:
    return likelihoods(passages, read_pages(context, passages))


def alone(passage: Passage) -> tuple[list[float], list[bool]]:
    """What the definition says, one token at a time."""
    values, greedy = [], []
    for place in range(passage.first, len(passage.tokens)):
        row = row_after(tuple(passage.tokens[:place])).astype(np.float64)
        token = passage.tokens[place]
        values.append(row[token] - math.log(np.exp(row).sum()))
        greedy.append(token == int(row.argmax()))
    return values, greedy


def test_score_of_a_token_by_hand() -> None:
    # softmax of (0, log 3) is (1/4, 3/4)
    logits = np.array([[0, math.log(3)], [5, 5]], np.float32)
    values, greedy = score_tokens(logits, np.array([0, 0, 1]), np.array([0, 1, 1]))
    assert values == pytest.approx([math.log(1 / 4), math.log(3 / 4), math.log(1 / 2)], abs=1e-6)
    # of two equal maxima the first one is the greedy choice
    assert greedy.tolist() == [False, True, False]


def test_four_endings_of_one_context_read_it_once_and_in_one_batch() -> None:
    context = RememberingContext(n_batch=64)
    passages = [Passage([1, 2, 3, 4, 5, ending, 9], 5) for ending in (6, 7, 8, 9)]
    found = read(passages, context)
    # five of the context and one of each ending; the last token is only predicted
    assert (context.n_read, context.n_decodes) == (9, 1)
    assert found[2].log_probabilities == pytest.approx(alone(passages[2])[0], abs=1e-5)


def test_endings_of_one_token_need_one_row() -> None:
    context = RememberingContext(n_batch=64)
    found = read([Passage([1, 2, 3, ending], 3) for ending in range(N_VOCAB)], context)
    assert context.n_read == 3
    assert sum(math.exp(each.log_probabilities[0]) for each in found) == pytest.approx(1, abs=1e-5)
    assert sum(each.greedy[0] for each in found) == 1


def test_a_header_longer_than_a_batch_is_read_once() -> None:
    header = [1, 2] * 20
    context = RememberingContext(n_batch=16, n_cells=60)
    passages = [Passage([*header, a, b, a], 41) for a in range(4) for b in range(3)]
    found = read(passages, context)
    assert context.n_read <= len(header) + 4 + 12 + 4
    assert [each.greedy for each in found] == [alone(p)[1] for p in passages]


def test_nothing_asked_is_nothing_read() -> None:
    context = RememberingContext(n_batch=8)
    assert read([Passage([1, 2, 3], 3)], context)[0].log_probabilities == []
    assert context.n_decodes == 0


def passage(row: tuple[list[int], list[int]]) -> Passage:
    return Passage([*row[0], *row[1]], len(row[0]))


passages_of_any_kind = st.lists(
    st.tuples(
        st.lists(st.integers(0, 2), min_size=1, max_size=12),
        st.lists(st.integers(0, 3), max_size=6),
    ).map(passage),
    max_size=25,
)


@given(passages=passages_of_any_kind, n_batch=st.integers(1, 20), rewinds=st.booleans())
def test_sharing_never_changes_a_likelihood(
    passages: list[Passage], n_batch: int, rewinds: bool
) -> None:
    longest = max((len(p.tokens) for p in passages), default=0)
    context = RememberingContext(n_batch=n_batch, n_cells=longest + n_batch, rewinds=rewinds)
    for found, each in zip(read(passages, context), passages, strict=True):
        values, greedy = alone(each)
        assert found.log_probabilities == pytest.approx(values, abs=1e-5)
        assert found.greedy == greedy


@given(passages=passages_of_any_kind, n_batch=st.integers(1, 20), n_slots=st.integers(1, 5))
def test_plan_reads_every_beginning_and_asks_every_token_once(
    passages: list[Passage], n_batch: int, n_slots: int
) -> None:
    groups = list(plan_groups(passages, n_batch=n_batch, n_slots=n_slots))
    targets = [target for group in groups for node in group.nodes for target in node.targets]
    assert sorted(targets) == [
        (i, place, p.tokens[place])
        for i, p in enumerate(passages)
        for place in range(p.first, len(p.tokens))
    ]
    for group in groups:
        assert 1 <= group.n_slots <= n_slots
        assert {s for node in group.nodes for s in node.slots} <= set(range(group.n_slots))


@given(passages=passages_of_any_kind, n_batch=st.integers(1, 20))
def test_pages_are_the_same_whether_or_not_the_cache_can_go_back(
    passages: list[Passage], n_batch: int
) -> None:
    def targets(rewinds: bool) -> list[Any]:
        context: Any = RememberingContext(n_batch=n_batch, rewinds=rewinds)
        return [page.targets for page in read_pages(context, passages)]

    assert targets(True) == targets(False)
