"""One wave through llama.cpp: many sequences in a batch, a finished one's place given to the next.

Tokens in, tokens out. The schedule depends on the requests and the settings alone, so the same wave
gives the same bytes every time. Knows nothing of prompts' text, tasks or files.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.engine.llama import Context
from harness.settings import Sampling

StopReason = Literal["eos", "stop", "length", "context"]

MIN_SHARED_PREFIX = 8
"""Tokens below which copying a prefix costs more than reading it again."""


@dataclass(frozen=True)
class Request:
    """One answer to be generated."""

    tokens: Sequence[int]
    """The prompt's token ids, at least one."""
    seed: int = 0
    """Seed of this answer's sampler; greedy ignores it."""


@dataclass(frozen=True)
class Generated:
    """One finished answer."""

    text: str
    """What the tokens spell, stop string cut off, invalid UTF-8 replaced."""
    n_prompt_tokens: int
    n_tokens: int
    """Generated tokens, the ending one excluded."""
    stop_reason: StopReason


@dataclass
class WaveTimes:
    """Where a wave's seconds went."""

    decode_s: float = 0.0
    """In llama.cpp's decode."""
    sample_s: float = 0.0
    """Choosing tokens: the sampler chain, or the argmax."""
    total_s: float = 0.0
    n_steps: int = 0


@dataclass
class _Sequence:
    """A request in its place."""

    index: int
    pending: Sequence[int]
    """Tokens not yet decoded: the prompt's rest, or the last generated token."""
    position: int
    n_prompt: int
    sampler: Any
    n_generated: int = 0
    data: bytearray = field(default_factory=bytearray)


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that every prompt starts with, leaving at least one token to each.

    Returns 0 where there is only one prompt or sharing would not pay.
    """
    if len(prompts) < 2:
        return 0
    # what the first and the last in lexicographic order share, all between them share
    low, high = min(map(list, prompts)), max(map(list, prompts))
    n = min(len(p) for p in prompts) - 1
    shared = next((i for i in range(n) if low[i] != high[i]), n)
    return shared if shared >= MIN_SHARED_PREFIX else 0


def decode_wave(
    context: Context,
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    n_slots: int,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[list[Generated], WaveTimes]:
    """Generate the answers to one wave of requests.

    Args:
        context: An open context with `n_slots + 1` sequences; the last one holds the prefix.
        requests: In the order in which they are given places.
        sampling: How tokens are chosen, and when an answer ends.
        n_slots: Sequences decoded together.
        on_step: Told after each step how many answers are finished and how many tokens are made.

    Returns:
        The answers in the order of the requests, and where the time went.
    """
    return _Wave(context, requests, sampling, n_slots).run(on_step)


class _Wave:
    """The state of one wave: a queue, the places, the finished."""

    def __init__(
        self, context: Context, requests: Sequence[Request], sampling: Sampling, n_slots: int
    ) -> None:
        self.context = context
        self.requests = requests
        self.sampling = sampling
        self.stops = tuple(s.encode() for s in sampling.stop)
        self.model = context.model
        self.suppressed = self.model.suppressed()
        self.prefix_sequence = n_slots
        self.queue = deque(range(len(requests)))
        self.slots: list[_Sequence | None] = [None] * n_slots
        self.done: dict[int, Generated] = {}
        self.n_made = 0
        self.times = WaveTimes()
        self.greedy = sampling.temperature == 0
        self.pool = None if self.greedy else ThreadPoolExecutor(min(n_slots, 8))

    def run(self, on_step: Callable[[int, int], None] | None) -> tuple[list[Generated], WaveTimes]:
        started = time.perf_counter()
        self.context.clear()
        self.n_prefix = common_prefix([r.tokens for r in self.requests])
        self._read_prefix()
        try:
            while len(self.done) < len(self.requests):
                self._admit()
                self._step()
                if on_step is not None:
                    on_step(len(self.done), self.n_made)
        finally:
            for sequence in self.slots:
                if sequence is not None:
                    self._free(sequence)
            if self.pool is not None:
                self.pool.shutdown()
        self.times.total_s = time.perf_counter() - started
        return [self.done[i] for i in range(len(self.requests))], self.times

    def _read_prefix(self) -> None:
        shared = self.requests[0].tokens[: self.n_prefix]
        size = self.context.n_batch
        for start in range(0, len(shared), size):
            chunk = shared[start : start + size]
            self.context.add(self.prefix_sequence, start, chunk, output=False)
            self._decode()

    def _admit(self) -> None:
        """Give free places to the next requests; close gaps once nobody waits.

        llama.cpp computes consecutive sequence ids together and splits the batch at a gap, so at a
        wave's end the highest sequence moves into the lowest free place.
        """
        for slot, occupant in enumerate(self.slots):
            if occupant is not None:
                continue
            if self.queue:
                self.slots[slot] = self._start(slot, self.queue.popleft())
                continue
            last = max((i for i, s in enumerate(self.slots) if s is not None), default=-1)
            if last < slot:
                return
            self.context.copy(last, slot)
            self.context.drop(last)
            self.slots[slot], self.slots[last] = self.slots[last], None

    def _start(self, slot: int, index: int) -> _Sequence:
        request = self.requests[index]
        if self.n_prefix:
            self.context.copy(self.prefix_sequence, slot)
        else:
            self.context.drop(slot)
        return _Sequence(
            index=index,
            pending=request.tokens[self.n_prefix :],
            position=self.n_prefix,
            n_prompt=len(request.tokens),
            sampler=None if self.greedy else _sampler_chain(self.sampling, request.seed),
        )

    def _step(self) -> None:
        """Decode one batch and take one token for every sequence whose prompt is read."""
        room = self.context.n_batch
        active = [(slot, s) for slot, s in enumerate(self.slots) if s is not None]
        waiting = len(active)
        sampled: list[int] = []
        for slot, sequence in active:
            waiting -= 1
            # every later sequence keeps room for one token, so that nobody ever stalls
            chunk = sequence.pending[: room - waiting]
            rest = sequence.pending[len(chunk) :]
            self.context.add(slot, sequence.position, chunk, output=not rest)
            sequence.position += len(chunk)
            sequence.pending = rest
            room -= len(chunk)
            if not rest:
                sampled.append(slot)
        logits = self._decode()
        started = time.perf_counter()
        tokens = self._choose(logits, sampled)
        self.times.sample_s += time.perf_counter() - started
        for slot, token in zip(sampled, tokens, strict=True):
            self._take(slot, token)

    def _decode(self) -> NDArray[np.float32]:
        started = time.perf_counter()
        logits = self.context.decode()
        self.times.decode_s += time.perf_counter() - started
        self.times.n_steps += 1
        return logits

    def _choose(self, logits: NDArray[np.float32], slots: list[int]) -> list[int]:
        if self.suppressed:
            logits[:, self.suppressed] = -np.inf
        if self.pool is None:
            return [int(row.argmax()) for row in logits]

        import llama_cpp as lib

        # logits are in the order of the batch by now, so that threads only read; an output's
        # negative index counts from the last one
        def sample(row: int) -> int:
            sequence = self.slots[slots[row]]
            assert sequence is not None
            return int(
                lib.llama_sampler_sample(sequence.sampler, self.context.pointer, row - len(slots))
            )

        return list(self.pool.map(sample, range(len(slots))))

    def _take(self, slot: int, token: int) -> None:
        """Add a token to its sequence, and end the sequence where it ends."""
        sequence = self.slots[slot]
        assert sequence is not None
        if self.model.is_end(token):
            self._finish(slot, sequence, "eos")
            return
        sequence.n_generated += 1
        self.n_made += 1
        piece = self.model.piece(token)
        sequence.data += piece
        if self.stops and self._cut_at_stop(sequence, len(piece)):
            self._finish(slot, sequence, "stop")
        elif sequence.n_generated >= self.sampling.max_tokens:
            self._finish(slot, sequence, "length")
        elif sequence.position >= self.context.n_context:
            self._finish(slot, sequence, "context")
        else:
            sequence.pending = (token,)

    def _cut_at_stop(self, sequence: _Sequence, n_new: int) -> bool:
        """Cut the text at the first stop string that the last `n_new` bytes completed."""
        reach = n_new + max(len(stop) for stop in self.stops) - 1
        start = max(0, len(sequence.data) - reach)
        found = [at for stop in self.stops if (at := sequence.data.find(stop, start)) >= 0]
        if found:
            del sequence.data[min(found) :]
        return bool(found)

    def _finish(self, slot: int, sequence: _Sequence, reason: StopReason) -> None:
        self.done[sequence.index] = Generated(
            text=sequence.data.decode("utf-8", "replace"),
            n_prompt_tokens=sequence.n_prompt,
            n_tokens=sequence.n_generated,
            stop_reason=reason,
        )
        self._free(sequence)
        self.slots[slot] = None

    def _free(self, sequence: _Sequence) -> None:
        if sequence.sampler is not None:
            import llama_cpp as lib

            lib.llama_sampler_free(sequence.sampler)
            sequence.sampler = None


def _sampler_chain(sampling: Sampling, seed: int) -> Any:
    """llama.cpp's sampler chain in its own default order: top-k, top-p, min-p, temperature."""
    import llama_cpp as lib

    params = lib.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = lib.llama_sampler_chain_init(params)
    if sampling.top_k:
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_min_p(sampling.min_p, 1))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_temp(sampling.temperature))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(seed))
    return chain
