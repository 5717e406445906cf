"""Progress of a run on standard error: a live bar on a terminal, lines elsewhere."""

import time
from types import TracebackType
from typing import Self

from harness.bar import Bar
from harness.console import note
from harness.evaluate import Watcher
from harness.runs import RunHeader

LINE_INTERVAL_S = 60.0
"""Seconds without a finished wave after which a line says how far it is."""


class RunProgress:
    """Shows how far a run is; a context manager whose `watcher` is handed to the run."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.watcher = Watcher(starting=self._starting, step=self._step, wave=self._wave)
        self._bar = Bar("{task.fields[speed]}")
        self._n_asks = 0
        self._n_kept = 0
        self._fresh_tokens = 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def _starting(self, header: RunHeader, n_asks: int) -> None:
        self._n_asks = n_asks
        self._began = time.monotonic()
        engine = header.engine
        note(
            f"{self.title}: {header.model.file} ({header.model.quantization}), {n_asks} answers, "
            f"{engine.parallel} at once, context {engine.context}, {engine.threads} threads"
        )
        self._bar.start(self.title, n_asks, speed="")

    def _step(self, n_done: int, n_tokens: int) -> None:
        if not self._bar.shown and time.monotonic() - self._told > LINE_INTERVAL_S:
            self._line(self._n_kept + n_done, self._fresh_tokens + n_tokens)
        self._bar.update(
            completed=self._n_kept + n_done,
            speed=self._speed(self._fresh_tokens + n_tokens),
        )

    def _wave(self, n_kept: int, n_tokens: int) -> None:
        self._n_kept = n_kept
        self._fresh_tokens += n_tokens
        if self._bar.started:
            self._bar.update(completed=n_kept)
        else:
            self._line(n_kept, self._fresh_tokens)

    def _line(self, n_done: int, n_tokens: int) -> None:
        self._told = time.monotonic()
        note(f"{self.title}: {n_done}/{self._n_asks} answers, {self._speed(n_tokens)}")

    def _speed(self, n_tokens: int) -> str:
        elapsed = time.monotonic() - self._began
        return f"{n_tokens / elapsed:.0f} tokens/s" if elapsed > 0 else ""
