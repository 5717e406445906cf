"""Progress of a training on standard error: a live bar on a terminal, lines elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from harness.bar import Bar
from harness.console import note

LINE_INTERVAL_S = 30.0
"""Seconds between two lines where there is no terminal."""


class TrainingProgress:
    """Shows how far a training is; a context manager that is called with every step."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar = Bar("loss {task.fields[loss]:.3f}")
        self._told: float | None = None

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

    def __call__(self, step: Mapping[str, float], n_steps: int) -> None:
        """Show one step's figures."""
        if self._bar.shown:
            if not self._bar.started:
                self._bar.start(self._title, n_steps, loss=step["loss"])
            self._bar.update(completed=step["step"], loss=step["loss"])
            return
        now, last = time.monotonic(), step["step"] == n_steps
        if last or self._told is None or now - self._told > LINE_INTERVAL_S:
            self._told = now
            note(f"{self._title}: step {step['step']:.0f} of {n_steps}, loss {step['loss']:.3f}")
