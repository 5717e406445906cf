"""`weighin study` and `weighin dashboard`: parse, call, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.evaluate import DEFAULT_RESULTS
from harness.console import JsonFlag, note, print_json, print_rich

if TYPE_CHECKING:
    from search.study.study import Study

StudyPlace = Annotated[
    str, typer.Argument(help="The study's folder, or its name in the storage.", metavar="STUDY")
]
StorageUrl = Annotated[
    str | None, typer.Option(help="Optuna storage URL [what the study's folder says].")
]


def study(place: StudyPlace, storage: StorageUrl = None, as_json: JsonFlag = False) -> None:
    """Show a study: every trial, the leaders, what it cost, what is left."""
    from search.board.board import ended_early_lines, study_json, study_table, verdict
    from search.board.confirmed import confirmation_lines, confirmation_parts
    from search.board.shelf import Shelf
    from search.board.spending import spending_of
    from search.study.storage import storage_errors

    opened, folder = opened_study(place, storage)
    with storage_errors(opened.url):
        shelf = Shelf(opened, folder)
        if as_json:
            print_json(study_json(opened, shelf))
            return
        print_rich(study_table(opened, shelf))
        lines = [
            *ended_early_lines(opened),
            *spending_of(opened, shelf).lines(),
            verdict(opened, shelf),
        ]
        confirmed = confirmation_parts(opened), confirmation_lines(opened)
    typer.echo("\n".join(lines))
    print_rich(*confirmed[0])
    typer.echo("\n".join(confirmed[1]))


def dashboard(
    place: StudyPlace,
    storage: StorageUrl = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
) -> None:
    """Serve optuna-dashboard on a study, with its runs as artifacts, until Ctrl-C."""
    from search.board.dashboard import address_of, dashboard_server

    opened, folder = opened_study(place, storage)
    with dashboard_server(opened, folder, host=host, port=port) as server:
        try:
            typer.echo(address_of(server, opened))
            note("to look at until Ctrl-C")
            server.serve_forever()
        except KeyboardInterrupt:
            note("closed")


def opened_study(place: str, storage: str | None) -> "tuple[Study, Path]":
    """A study and its folder on this machine, which need not be there."""
    from search.study.study import load_study

    opened = load_study(place, storage)
    if storage is None or Path(place).is_dir():
        return opened, Path(place)
    return opened, DEFAULT_RESULTS / opened.name
