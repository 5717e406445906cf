"""`weighin compare`: parse, call, print."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import JsonFlag, print_rich

if TYPE_CHECKING:
    from harness.comparison.records import ComparisonSet


class Format(StrEnum):
    """What a comparison can be printed as."""

    table = "table"
    md = "md"
    html = "html"
    json = "json"
    csv = "csv"


def compare(
    baseline: Annotated[Path, typer.Argument(help="Folder of the run to compare against.")],
    candidates: Annotated[list[Path], typer.Argument(help="Folders of the runs under test.")],
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
    as_json: JsonFlag = False,
) -> None:
    """Compare runs with a baseline's, prompt by prompt."""
    from harness.comparison.compare import compare_in_detail
    from harness.runs import Run

    found = compare_in_detail(Run.open(baseline), [Run.open(path) for path in candidates])
    _print(found, Format.json if as_json else form)


def _print(found: "ComparisonSet", form: Format) -> None:
    from harness.comparison import formats
    from harness.comparison.grids import rich_table
    from harness.comparison.tables import comparison_grids

    if form is not Format.table:
        write = {
            Format.md: formats.to_markdown,
            Format.html: formats.to_html,
            Format.json: formats.to_json,
            Format.csv: formats.to_csv,
        }[form]
        sys.stdout.write(write(found))
        return
    for comparison in found.comparisons:
        print_rich(*(rich_table(grid) for grid in comparison_grids(comparison)))
        print_rich(*(f"note: {line}" for line in comparison.notes))
