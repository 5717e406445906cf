"""Interrupt: Ctrl-C once ends after the wave in hand, twice ends at once.

Knows the signal and who asked; nothing of waves. Whoever works looks at `asked` between two steps.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from harness.console import note


class Interrupt:
    """Holds the first Ctrl-C back; a context manager."""

    def __init__(self) -> None:
        self.asked = False
        """Whether the user wants an end."""
        self._before: Any = None

    def __enter__(self) -> Self:
        # signals reach the main thread alone; elsewhere somebody else looks after them
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._first)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _first(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        note("stopping after the wave in hand; Ctrl-C again stops at once")
