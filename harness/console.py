"""What every command shares: one JSON object, one error line, one exit code.

Results go to standard output, progress and errors to standard error. Exit codes: 0 success, 1 a
failed gate, 2 bad input, 130 interrupted.
"""

import json
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metrics.errors import WeighinError

if TYPE_CHECKING:
    from rich.console import Console

EXIT_BAD_INPUT = 2
FILE_WIDTH = 132
"""Columns of a table that is not printed on a terminal."""
EXIT_INTERRUPTED = 130

JsonFlag = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, nothing else.")
]


def print_json(value: Any) -> None:
    """Print one JSON object on standard output; NaN is refused, since JSON has none."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def print_rich(*parts: Any) -> None:
    """Print tables and text for people; as wide as the terminal, or wide enough in a file."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH, highlight=False)
    for part in parts:
        console.print(part)


def note(text: str) -> None:
    """Say one line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


@lru_cache(maxsize=1)
def progress_console() -> "Console":
    """The one console of standard error: displays that are live at the same time must share it."""
    from rich.console import Console

    return Console(stderr=True)


def run_app(app: typer.Typer) -> int:
    """Run a Typer app and turn expected failures into one line and an exit code.

    Returns:
        The exit code: the app's own, 2 for bad input, 130 for Ctrl-C.
    """
    try:
        result = app(standalone_mode=False)
        code = int(result) if isinstance(result, int) else 0
        if code == EXIT_INTERRUPTED:  # Typer turns Ctrl-C into this
            note("weighin: interrupted")
        return code
    except WeighinError as error:
        return _fail(str(error))
    except typer.Exit as stop:
        return int(stop.exit_code)
    except Exception as error:
        # Typer's own usage errors; recent Typer bundles its click, so they are known by shape.
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        return _fail(str(format_message()))


def _fail(message: str) -> int:
    note("weighin: error: " + " ".join(message.split()))
    return EXIT_BAD_INPUT
