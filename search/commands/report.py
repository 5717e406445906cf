"""`weighin report`: parse, call, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.console import JsonFlag, print_json


def report(
    subjects: Annotated[
        list[Path],
        typer.Argument(
            help="A study's folder, or folders of runs, the baseline's first.",
            metavar="STUDY|RUN...",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file [report.html in the study or the last run]."),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL [what the study's folder says].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a report that exists.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write one HTML page that opens offline: figures, charts, and the sentences behind them."""
    from harness.report.page import write_page
    from harness.report.report import report_on_runs
    from search.report.study import is_study, report_on_study
    from search.study.study import load_study

    path = out or subjects[-1] / "report.html"
    require_free(path, force=force)
    if is_study(subjects, storage):
        document, html = report_on_study(load_study(subjects[0], storage), subjects[0])
    else:
        document, html = report_on_runs(subjects)
    write_page(html, path)
    size = path.stat().st_size
    if as_json:
        print_json({"report": str(path), "size_bytes": size, "verdict": document.verdict})
        return
    typer.echo(document.verdict)
    typer.echo(f"{path} ({size / 1e6:.1f} MB)")


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def require_free(path: Path, *, force: bool) -> None:
    """Ask before a file is replaced; where nobody can be asked, refuse.

    Raises:
        ReportError: The file exists and nobody said to replace it.
    """
    from harness.report.page import ReportError

    if force or not path.exists():
        return
    refused = ReportError(f"{path}: exists; name another --out, or replace it with --force")
    if path.is_dir() or not is_terminal():
        raise refused
    if not typer.confirm(f"{path} exists. Replace it?", err=True):
        raise refused
