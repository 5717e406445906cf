"""Bar: how far a piece of work is, live where standard error is a terminal, nothing elsewhere.

Knows nothing of what is done; who shows a bar says in lines what it would, where `shown` is false.
"""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.console import progress_console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Bar:
    """One bar; a context manager."""

    def __init__(self, *fields: str) -> None:
        """A bar that is not shown yet.

        Args:
            fields: rich's markup of what stands between the count and the time left.
        """
        self._fields = fields
        self._live: Progress | None = None
        self._id: TaskID | None = None

    @property
    def shown(self) -> bool:
        """Whether there is a terminal to show it on."""
        return self._live is not None

    @property
    def started(self) -> bool:
        """Whether the work has a title and a size."""
        return self._id is not None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                *map(TextColumn, self._fields),
                TimeRemainingColumn(),
                console=progress_console(),
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def start(self, title: str, total: int | None, **fields: Any) -> None:
        """Begin to count; a total of None is one that is not known yet."""
        if self._live is not None:
            self._id = self._live.add_task(title, total=total, **fields)

    def update(self, **changes: Any) -> None:
        """Move on: `completed`, `total`, `description`, or one of the fields."""
        if self._live is not None and self._id is not None:
            self._live.update(self._id, **changes)
