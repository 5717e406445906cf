"""The wave loop, on a model that can be computed by hand: the next token is the last plus one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.engine.decode import Request, common_prefix, decode_wave
from harness.settings import Sampling

N_VOCAB = 64
END = 0
SPACE = 63


class CountingModel:
    """After token t comes t + 1; token 0 ends; every token spells its number and a space."""

    def __init__(self, suppressed: tuple[int, ...] = ()) -> None:
        self._suppressed = suppressed

    def suppressed(self) -> list[int]:
        return list(self._suppressed)

    def is_end(self, token: int) -> bool:
        return token == END

    def piece(self, token: int) -> bytes:
        return f"{token} ".encode()


class CountingContext:
    """Keeps what llama.cpp would: each sequence's tokens; refuses what llama.cpp does badly."""

    def __init__(
        self, *, n_batch: int = 32, n_context: int = 100, suppressed: tuple[int, ...] = ()
    ) -> None:
        self.model: Any = CountingModel(suppressed)
        self.n_batch = n_batch
        self.n_context = n_context
        self.cells: dict[int, list[int]] = {}
        self.batch: list[tuple[int, int, bool]] = []
        self.n_decodes = 0
        self.n_read = 0

    def clear(self) -> None:
        self.cells = {}

    def drop(self, sequence: int) -> None:
        self.cells.pop(sequence, None)

    def copy(self, source: int, target: int) -> None:
        self.cells[target] = list(self.cells[source])

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, output: bool) -> None:
        cells = self.cells.setdefault(sequence, [])
        assert position == len(cells), "a sequence is read in order, without a gap"
        assert len(cells) + len(tokens) <= self.n_context
        cells.extend(tokens)
        self.n_read += len(tokens)
        self.batch += [(sequence, t, output and i == len(tokens) - 1) for i, t in enumerate(tokens)]

    def decode(self) -> NDArray[np.float32]:
        assert 0 < len(self.batch) <= self.n_batch
        ids = list(dict.fromkeys(sequence for sequence, _, _ in self.batch))
        assert ids == list(range(ids[0], ids[0] + len(ids))), "llama.cpp splits a batch at a gap"
        wanted = [token for _, token, output in self.batch if output]
        logits = np.zeros((len(wanted), N_VOCAB), np.float32)
        for row, token in enumerate(wanted):
            logits[row, (token + 1) % N_VOCAB] = 2
            logits[row, 5] += 1
        self.batch = []
        self.n_decodes += 1
        return logits


def run(
    prompts: Sequence[Sequence[int]], *, n_slots: int, context: Any = None, **sampling: Any
) -> Any:
    context = context or CountingContext()
    requests = [Request(tokens) for tokens in prompts]
    return decode_wave(context, requests, Sampling(**sampling), n_slots=n_slots)[0]


def test_counts_on_until_the_end_token() -> None:
    # after 60: 61, 62, 63, then 0 ends
    (answer,) = run([[7, 60]], n_slots=2)
    assert answer.text == "61 62 63 "
    assert (answer.n_prompt_tokens, answer.n_tokens, answer.stop_reason) == (2, 3, "eos")


def test_stops_at_the_token_limit() -> None:
    (answer,) = run([[10]], n_slots=1, max_tokens=2)
    assert (answer.text, answer.n_tokens, answer.stop_reason) == ("11 12 ", 2, "length")


def test_stops_where_the_context_ends() -> None:
    # a context of 4 holds the prompt's two tokens and two of the answer; a third is sampled
    context = CountingContext(n_context=4)
    (answer,) = run([[10, 11]], n_slots=1, context=context)
    assert (answer.text, answer.stop_reason) == ("12 13 14 ", "context")


def test_stop_string_is_cut_even_across_tokens() -> None:
    (answer,) = run([[10]], n_slots=1, stop=("2 13",))
    assert (answer.text, answer.n_tokens, answer.stop_reason) == ("11 1", 3, "stop")


def test_earliest_of_two_stop_strings_wins() -> None:
    (answer,) = run([[10]], n_slots=1, stop=("2 ", "12"))
    assert answer.text == "11 "


def test_suppressed_tokens_are_never_chosen() -> None:
    context = CountingContext(suppressed=(12,))
    (answer,) = run([[10]], n_slots=1, context=context, max_tokens=3)
    # 12 is forbidden after 11, so the second best, 5, comes, and then 6
    assert answer.text == "11 5 6 "


def test_common_prefix_is_read_once() -> None:
    shared = list(range(20, 40))
    context = CountingContext()
    run([[*shared, i] for i in (1, 2, 3)], n_slots=2, context=context, max_tokens=1)
    assert context.n_read == len(shared) + 3


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([[1] * 20], 0),
        ([[1] * 20, [1] * 20], 19),
        ([[*[1] * 12, 2], [*[1] * 12, 3], [*[1] * 12, 2, 9]], 12),
        ([[1] * 5 + [2], [1] * 5 + [3]], 0),
    ],
)
def test_common_prefix_leaves_each_prompt_a_token(prompts: list[list[int]], expected: int) -> None:
    assert common_prefix(prompts) == expected


prompts_of_a_wave = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.integers(1, 62), min_size=1, max_size=40)),
    min_size=1,
    max_size=12,
).map(lambda rows: [[9] * 10 * shared + tail for shared, tail in rows])


@given(prompts=prompts_of_a_wave, n_slots=st.integers(1, 5), n_batch=st.integers(8, 40))
def test_schedule_never_changes_an_answer(
    prompts: list[list[int]], n_slots: int, n_batch: int
) -> None:
    context = CountingContext(n_batch=n_batch)
    together = run(prompts, n_slots=n_slots, context=context, max_tokens=7)
    alone = [run([prompt], n_slots=1, max_tokens=7)[0] for prompt in prompts]
    assert together == alone
