"""Stream: tensors through a pool of threads, block by block, out in order.

Two tensors are in work at once, so that one's factors are read while the other's blocks are
merged; results leave in the order of the file whatever the threads do. Knows nothing of GGUF.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from harness.settings import available_cores
from search.merging.slerp import Products

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCKS_AHEAD = 4
"""Blocks in work per thread; bounds what waits for the writer."""


class Job(Protocol):
    """One tensor's work."""

    blocks: Sequence[tuple[int, int]]
    blends: bool
    """Whether all blocks must be measured before any is rendered."""

    def prepare(self) -> None:
        """Read what all blocks need."""

    def measure(self, block: tuple[int, int]) -> Products:
        """Inner products of one block."""

    def set_products(self, over: Products) -> None:
        """Take the sum of all blocks' inner products."""

    def render(self, block: tuple[int, int]) -> bytes | memoryview:
        """The block's bytes in the outcome."""

    def release(self) -> None:
        """Let go of what `prepare` read."""


@dataclass
class Clock:
    """Thread-seconds spent, by what on."""

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the time of a piece of work."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            with self._lock:
                self.seconds[what] = self.seconds.get(what, 0.0) + spent


def stream(
    jobs: Iterable[Job], n_threads: int | None = None
) -> Iterator[tuple[Job, bytes | memoryview]]:
    """Every job's blocks, rendered, in order.

    Args:
        jobs: In the order of the outcome.
        n_threads: None means all cores. Each works with one thread of torch and of numpy's BLAS,
            so that sums do not depend on the number of threads.

    Yields:
        The job and one block's bytes.
    """
    import torch
    from threadpoolctl import threadpool_limits

    n_threads = n_threads or available_cores()
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    window = BLOCKS_AHEAD * n_threads
    prepared: deque[tuple[Job, Future[None]]] = deque()
    limits = threadpool_limits(1, user_api="blas")
    try:
        for job in jobs:
            prepared.append((job, pool.submit(job.prepare)))
            if len(prepared) > 1:
                yield from _finish(pool, *prepared.popleft(), window)
        while prepared:
            yield from _finish(pool, *prepared.popleft(), window)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        limits.restore_original_limits()
        torch.set_num_threads(before)


def _finish(
    pool: ThreadPoolExecutor, job: Job, prepared: "Future[None]", window: int
) -> Iterator[tuple[Job, bytes | memoryview]]:
    prepared.result()
    if job.blends:
        total = Products()
        for part in _ordered(pool, job.measure, job.blocks, window):
            total = total + part
        job.set_products(total)
    for chunk in _ordered(pool, job.render, job.blocks, window):
        yield job, chunk
    job.release()


def _ordered(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    window: int,
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
