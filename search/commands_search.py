"""`weighin search`: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands_eval import DEFAULT_RESULTS
from harness.console import JsonFlag, note, print_json, print_rich
from harness.options import IfevalData


def search(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.")],
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, earlier sessions' included.")
    ] = None,
    ifeval_data: IfevalData = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The study's folder [results/NAME].")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="Optuna storage URL [SQLite in the study's folder].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Search for the best merge; the same command goes on where it stopped."""
    from search.board import study_json, study_table, verdict
    from search.prepare import prepare
    from search.recipe import load_recipe
    from search.study import fingerprint_of, open_study, run_trials, sweep_builds
    from search.trial import Bench, tasks_of_recipe, weigh_numbers

    loaded = load_recipe(recipe)
    name = recipe.resolve().parent.name if recipe.stem == "recipe" else recipe.stem
    folder = out or DEFAULT_RESULTS / name
    tasks = tasks_of_recipe(loaded, ifeval_data)
    folder.mkdir(parents=True, exist_ok=True)
    study = open_study(
        loaded,
        name=folder.name,
        storage=storage or f"sqlite:///{folder / 'study.db'}",
        fingerprint=fingerprint_of(loaded, tasks),
    )
    n_trials = trials or loaded.search.trials
    bench = Bench(prepare(loaded), tasks, folder)
    baseline = bench.baseline_run()
    for row in run_trials(
        study, n_trials, lambda numbers, n: weigh_numbers(bench, numbers, f"trial {n}")
    ):
        note(f"trial {row.number}: {row.state} {row.values or row.error}")
        sweep_builds(bench, study)
    if as_json:
        print_json(study_json(study, bench, baseline))
        return
    print_rich(study_table(study, bench, baseline))
    typer.echo(verdict(study, bench))
