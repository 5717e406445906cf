"""Grids: titled tables of plain text, and the forms in which they are printed.

Cells in, a rich table, Markdown or HTML out; knows nothing of what is shown. Text may come from a
model, so that every form escapes it in its own way.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

Tone = Literal["better", "worse"]
COLOURS: dict[Tone, str] = {"better": "green", "worse": "red"}

CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""What a terminal might take for a command."""
MARKDOWN = re.compile(r"([\\`*|~>]|^#|(?<!\w)_|_(?!\w)|\](?=[(\[:]))")
"""What Markdown would take for a mark."""


@dataclass(frozen=True)
class Grid:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[Tone | None, ...] = ()
    """One a row, or none at all: shown as colour on a terminal, as a class in HTML."""
    n_text: int = 1
    """So many columns from the left are text; the others are figures, set to the right."""


def rich_table(grid: Grid) -> "Table":
    """For a terminal, which colours it, or a file, which does not."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(grid.title),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, name in enumerate(grid.columns):
        text = index < grid.n_text
        table.add_column(
            Text(name), justify="left" if text else "right", overflow="fold", no_wrap=index == 0
        )
    for row, tone in zip(grid.rows, _tones(grid), strict=True):
        table.add_row(
            *(Text(plain(cell)) for cell in row), style=None if tone is None else COLOURS[tone]
        )
    return table


def markdown(grid: Grid) -> str:
    """A table in GitHub's Markdown under its title."""
    return f"**{escape_markdown(grid.title)}**\n\n{markdown_table(grid)}\n"


def markdown_table(grid: Grid) -> str:
    """The table alone, without a line end."""
    from tabulate import tabulate

    rows = [[escape_markdown(cell) for cell in row] for row in grid.rows]
    return tabulate(
        rows,
        headers=[escape_markdown(name) for name in grid.columns],
        tablefmt="github",
        disable_numparse=True,
        colalign=_alignment(grid) if rows else None,
    )


def html_table(grid: Grid) -> str:
    """A `<table>` with a caption; rows that are better or worse have a class of that name."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in grid.columns)
    body = []
    for row, tone in zip(grid.rows, _tones(grid), strict=True):
        cells = "".join(
            f"<td>{html.escape(plain(cell))}</td>"
            if index < grid.n_text
            else f'<td style="text-align: right">{html.escape(plain(cell))}</td>'
            for index, cell in enumerate(row)
        )
        body.append(f"<tr>{cells}</tr>" if tone is None else f'<tr class="{tone}">{cells}</tr>')
    return (
        f"<table>\n<caption>{html.escape(grid.title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        "<tbody>\n" + "\n".join(body) + "\n</tbody>\n</table>\n"
    )


def plain(text: str) -> str:
    """A text without line ends and control characters, for one line of a terminal."""
    return CONTROLS.sub(" ", text)


def escape_markdown(text: str) -> str:
    """A text as it stands, whatever marks it holds, on one line."""
    return MARKDOWN.sub(r"\\\1", plain(text)).replace("<", "&lt;")


def _tones(grid: Grid) -> Sequence[Tone | None]:
    return grid.tones or [None] * len(grid.rows)


def _alignment(grid: Grid) -> list[str]:
    n = len(grid.columns)
    return ["left" if index < grid.n_text else "right" for index in range(n)]
