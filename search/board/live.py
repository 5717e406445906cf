"""Live: a study as it is worked on, on a terminal: its trials, leaders, cost and what is left.

A study and its folder in, a display on standard error that looks at the storage now and then, so
that other machines' trials are seen too. Where standard error is no terminal it shows nothing, and
what is noted line by line stays all there is.
"""

import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.console import progress_console
from harness.tables import UNDEFINED
from search.board.board import LEADS, numbers_and_values, standing, title_of
from search.board.shelf import Shelf
from search.board.spending import Spending, duration, spending_of
from search.study.study import Study, TrialRow

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

LOOK_S = 3.0
"""Seconds between two looks at the storage."""
FRAMES_PER_S = 4.0

OTHER_LINES = 12
"""Lines of the terminal that are not trials: the table's frame, sums, the run's bar and notes."""
LEAST_ROWS = 4
"""Trials that are shown however low the terminal is."""


@dataclass(frozen=True)
class Snapshot:
    """A study at one moment, as far as it is shown."""

    study: Study
    rows: Sequence[TrialRow]
    leaders: frozenset[int]
    spending: Spending

    @classmethod
    def of(cls, study: Study, shelf: Shelf) -> Self:
        """The study as it is now."""
        leaders = frozenset(row.number for row in study.leaders())
        return cls(study, study.rows(), leaders, spending_of(study, shelf))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.table import Table
        from rich.text import Text

        study = self.study
        shown = chosen(self.rows, self.leaders, console.size.height - OTHER_LINES)
        names = (*study.recipe.search.space, *(o.metric for o in study.objectives))
        kept = "kept" if study.constraints else "state"
        table = Table()
        for name in ("", "trial", *names, kept, "tokens", "time"):
            # a trial is a line, or what is below the table would leave a narrow screen
            table.add_column(name, justify="right" if name != kept else "center", no_wrap=True)
        for row in shown:
            leads = row.number in self.leaders
            table.add_row(
                LEADS if leads else "",
                str(row.number),
                *numbers_and_values(study, row),
                standing(study, row),
                f"{row.n_tokens:,}" if row.n_tokens else UNDEFINED,
                duration(row.seconds) if row.seconds else UNDEFINED,
                style="bold green" if leads else None,
            )
        yield Text(title_of(study), style="italic", no_wrap=True, overflow="ellipsis")
        yield table
        n_hidden = len(self.rows) - len(shown)
        if n_hidden:
            yield Text(f"{n_hidden} more: weighin study")
        yield from map(Text, self.spending.lines())


def chosen(rows: Sequence[TrialRow], leaders: Iterable[int], n: int) -> list[TrialRow]:
    """The trials that fit: leaders and those in hand before all, then the latest; in their order.

    Args:
        rows: All that were begun.
        leaders: Numbers of those that lead.
        n: How many fit.
    """
    first = set(leaders)
    by_need = sorted(
        rows, key=lambda row: (row.number in first, row.state == "running", row.number)
    )
    kept = {row.number for row in by_need[-max(n, LEAST_ROWS) :]}
    return [row for row in rows if row.number in kept]


class LiveBoard:
    """The display; a context manager."""

    def __init__(self, study: Study, folder: Path) -> None:
        """A display that is not shown yet.

        Args:
            study: The study.
            folder: Where its runs are made on this machine.
        """
        self._study = study
        self._shelf = Shelf(study, folder)
        self._live: Live | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.live import Live

            # results may go to a file while progress goes to the terminal
            self._live = Live(
                Snapshot.of(self._study, self._shelf),
                console=progress_console(),
                refresh_per_second=FRAMES_PER_S,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start(refresh=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._done.set()
            self._thread.join()
            self._live.stop()

    def _look_again(self) -> None:
        while not self._done.wait(LOOK_S):
            try:
                seen = Snapshot.of(self._study, self._shelf)
            except Exception:
                # what is shown may be late; whether the storage is gone is found by the work itself
                continue
            if self._live is not None:
                self._live.update(seen)
