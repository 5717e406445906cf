"""Progress of a training on standard error: a live bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.console import note, progress_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_INTERVAL_S = 30.0
"""Seconds between two lines where there is no terminal."""


class TrainingProgress:
    """Shows how far a training is; a context manager that is called with every step."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Progress | None = None
        self._id: TaskID | None = None
        self._told: float | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]:.3f}"),
                TimeRemainingColumn(),
                console=progress_console(),
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, step: Mapping[str, float], n_steps: int) -> None:
        """Show one step's figures."""
        if self._bar is not None:
            if self._id is None:
                self._id = self._bar.add_task(self._title, total=n_steps, loss=step["loss"])
            self._bar.update(self._id, completed=step["step"], loss=step["loss"])
            return
        now, last = time.monotonic(), step["step"] == n_steps
        if last or self._told is None or now - self._told > LINE_INTERVAL_S:
            self._told = now
            note(f"{self._title}: step {step['step']:.0f} of {n_steps}, loss {step['loss']:.3f}")
