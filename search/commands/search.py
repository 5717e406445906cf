"""`weighin search` and `weighin worker`: parse, call, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.evaluate import DEFAULT_RESULTS
from harness.console import EXIT_INTERRUPTED, JsonFlag, note, print_json, print_rich
from harness.options import IfevalData

if TYPE_CHECKING:
    from search.study.study import Study, TrialRow
    from search.trials.bench import Bench
    from search.trials.builds import Keep

StorageUrl = Annotated[
    str | None, typer.Option(help="Optuna storage URL [SQLite in the study's folder].")
]
OutFolder = Annotated[
    Path | None, typer.Option("--out", "-o", help="The study's folder [results/NAME].")
]
KeepBuilds = Annotated[
    str | None, typer.Option("--keep", help="Builds to keep: best, all or a number.")
]


def search(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, earlier sessions' included.")
    ] = None,
    ifeval_data: IfevalData = None,
    out: OutFolder = None,
    storage: StorageUrl = None,
    artifacts: Annotated[
        str | None,
        typer.Option(help="Where runs are kept: s3://BUCKET or a folder [in the study's folder]."),
    ] = None,
    keep: KeepBuilds = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on although ingredients have changed.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Search for the best merge; the same command goes on where it stopped."""
    from search.recipe_file import load_recipe
    from search.study.study import default_url, open_study
    from search.trials.joining import attach, bench_parts, make_bench

    loaded = load_recipe(recipe)
    name = recipe.resolve().parent.name if recipe.stem == "recipe" else recipe.stem
    folder = out or DEFAULT_RESULTS / name
    kept = _keep(keep, loaded.search.keep)
    bench = make_bench(loaded, folder, ifeval_data=ifeval_data)
    folder.mkdir(parents=True, exist_ok=True)
    study = open_study(
        loaded,
        name=folder.resolve().name,
        storage=storage or default_url(folder),
        default_storage=storage is None,
        parts=bench_parts(bench),
        n_trials=trials or loaded.search.trials,
        artifacts=artifacts,
        ifeval_data=ifeval_data,
        accept=accept_changes,
    )
    study.record.write(folder)
    _work(study, attach(bench, study), kept, as_json=as_json)


def worker(
    study: Annotated[str, typer.Argument(help="The study's name in the storage, or its folder.")],
    storage: StorageUrl = None,
    recipe: Annotated[
        Path | None, typer.Option(help="This machine's recipe, where files lie elsewhere.")
    ] = None,
    ifeval_data: IfevalData = None,
    out: OutFolder = None,
    keep: KeepBuilds = None,
    as_json: JsonFlag = False,
) -> None:
    """Help a search from another process or machine, until its trials are spent."""
    from search.recipe_file import load_recipe
    from search.study.study import load_study
    from search.trials.joining import open_bench

    opened = load_study(study, storage)
    folder = out or (Path(study) if storage is None else DEFAULT_RESULTS / opened.name)
    kept = _keep(keep, opened.recipe.search.keep)
    loaded = None if recipe is None else load_recipe(recipe)
    bench = open_bench(opened, folder, recipe=loaded, ifeval_data=ifeval_data)
    folder.mkdir(parents=True, exist_ok=True)
    _work(opened, bench, kept, as_json=as_json)


def _work(study: "Study", bench: "Bench", keep: "Keep", *, as_json: bool) -> None:
    """Work on a study until there is nothing left to do, and print what it says."""
    from search.board.board import study_json, study_table, verdict
    from search.board.confirmed import confirmation_lines, confirmation_parts
    from search.board.live import LiveBoard
    from search.board.shelf import Shelf
    from search.confirmation.confirm import confirm_study
    from search.leases.interrupt import Interrupt
    from search.leases.lease import this_process
    from search.study.storage import storage_errors
    from search.trials.builds import sweep_builds
    from search.trials.shared_baseline import shared_baseline
    from search.trials.trial import TrialWeigher
    from search.trials.work import run_trials

    me = this_process()
    with (
        storage_errors(study.url),
        Interrupt() as interrupt,
        LiveBoard(study, bench.folder),
    ):
        baseline = shared_baseline(study, bench, me=me, interrupt=interrupt)
        if baseline is not None:
            bench.require_figures(baseline)
            weigher = TrialWeigher(bench, study.storage)
            for row in run_trials(study, weigher, me=me, interrupt=interrupt):
                note(f"trial {row.number}: {_said(row)}")
                sweep_builds(bench.folder / "builds", study, keep)
            confirm_study(
                study,
                bench,
                me=me,
                interrupt=interrupt,
                after_run=lambda: sweep_builds(bench.folder / "builds", study, keep),
            )
    if interrupt.asked or baseline is None:
        note("stopped; the same command goes on from here")
        raise typer.Exit(EXIT_INTERRUPTED)
    shelf = Shelf(study, bench.folder)
    if as_json:
        print_json(study_json(study, shelf))
        return
    print_rich(study_table(study, shelf))
    typer.echo(verdict(study, shelf))
    print_rich(*confirmation_parts(study))
    typer.echo("\n".join(confirmation_lines(study)))


def _keep(asked: str | None, of_recipe: "Keep") -> "Keep":
    from search.trials.builds import parse_keep

    return of_recipe if asked is None else parse_keep(asked)


def _said(row: "TrialRow") -> str:
    """What became of a trial, for the line that tells of it."""
    if row.repeats is not None:
        return f"the same build as trial {row.repeats}"
    if row.error is not None:
        return f"failed ({row.failure}): {row.error}"
    if row.stopped is not None:
        return f"stopped: {row.stopped}"
    assert row.values is not None
    figures = ", ".join(f"{value:+.3f}" for value in row.values)
    return figures if row.feasible else f"{figures}, breaks a constraint"
