"""Record a grid of real builds: each one built, run on every prompt, scored, and written down.

    python benchmarks/record_grid.py examples/smollm2/recipe.yaml \
        --grid s=0:1:0.125 --grid alpha=0:0.6:0.1 -o results/demo-grid

Builds are deleted as it goes; runs lie in `--work` until all are there, and what was done is not
done again. Takes the recipe's own evaluation, its search half. `replay.py` replays the record.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from grid import BUILDS, HEADER, AskedTask, GridBuild, GridHeader, build_of, write_completions

from harness.runs import Run, write_whole
from metrics.errors import WeighinError
from search.errors import RecipeError
from search.proposing.space import Point, grid_points
from search.recipe import Recipe
from search.recipe_file import load_recipe
from search.trials.bench import BASELINE, Bench
from search.trials.joining import bench_parts, make_bench

WORK = Path(".cache/grid")


def main(
    recipe: Annotated[Path, typer.Argument(help="The recipe.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the record.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(help="NAME=LOW:HIGH:STEP or NAME=A,B,C; the recipe's space where not given."),
    ] = None,
    work: Annotated[Path, typer.Option(help="Where runs lie until all are there.")] = WORK,
    ifeval_data: Annotated[Path | None, typer.Option(help="A local copy of IFEval.")] = None,
) -> None:
    """Build and run every point of a grid."""
    try:
        _record(_gridded(load_recipe(recipe), grid or []), out, work, ifeval_data)
    except WeighinError as error:
        raise SystemExit(f"record_grid: {error}") from None


def _gridded(recipe: Recipe, asked: list[str]) -> Recipe:
    """The recipe with the grid as its space."""
    space: dict[str, Any] = dict(recipe.search.space) if not asked else {}
    for text in asked:
        name, _, values = text.partition("=")
        if ":" in values:
            low, high, step = (float(value) for value in values.split(":"))
            space[name] = {"low": low, "high": high, "step": step}
        elif values:
            space[name] = {"choices": [_number(value) for value in values.split(",")]}
        else:
            raise RecipeError(f"--grid {text}: expected NAME=LOW:HIGH:STEP or NAME=A,B,C")
    # validated anew, so that a misspelt name or a value out of range is told here
    search = {**recipe.search.model_dump(), "space": space, "sampler": "grid"}
    return Recipe.model_validate({**recipe.model_dump(), "search": search})


def _number(text: str) -> float | int | str:
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text


def _record(recipe: Recipe, out: Path, work: Path, ifeval_data: Path | None) -> None:
    bench = make_bench(recipe, work, ifeval_data=ifeval_data)
    points = grid_points(recipe)
    names = [bench.build_name(point) for point in points]
    typer.echo(f"{len(points)} points, {len(set(names))} different builds", err=True)
    runs: dict[str, Run] = {BASELINE: bench.make_baseline_run(lambda: None)}
    for index, (name, point) in enumerate(zip(names, points, strict=True)):
        if name not in runs:
            runs[name] = _run(bench, name, point, f"{index + 1}/{len(names)}")
    out.mkdir(parents=True, exist_ok=True)
    header = _header(bench, runs[BASELINE])
    write_whole(out / HEADER, header.model_dump_json(indent=2) + "\n")
    lines = [_build(header, {}, runs[BASELINE])]
    lines += [_build(header, p, runs[name]) for name, p in zip(names, points, strict=True)]
    write_whole(out / BUILDS, "".join(line.model_dump_json() + "\n" for line in lines))
    write_completions(
        out, ((run.header().model.sha256, run.completions()) for run in runs.values())
    )


def _run(bench: Bench, name: str, point: Point, title: str) -> Run:
    from search.build import build

    folder = bench.run_folder(bench.run_name(name))
    if not (folder / "summary.json").is_file():
        gguf = bench.build_path(name)
        gguf.parent.mkdir(parents=True, exist_ok=True)
        if not gguf.is_file():
            build(bench.ready, point, gguf)
        bench.weigh(gguf, folder, title)
        gguf.unlink()
    return Run.open(folder)


def _header(bench: Bench, baseline: Run) -> GridHeader:
    made = baseline.header()
    search = bench.recipe.search
    return GridHeader(
        parts=bench_parts(bench),
        space=search.space,
        own=bench.recipe.merge.model_dump(exclude={"method"}),
        maximize=search.maximize,
        subject_to=tuple(constraint.text for constraint in bench.constraints),
        engine=made.engine,
        tasks=tuple(
            AskedTask(
                settings=settings,
                keys=tuple(
                    (prompt.id, sample)
                    for prompt in task.prompts.prompts
                    for sample in range(task.samples)
                ),
            )
            for settings, task in zip(made.tasks, bench.tasks, strict=True)
        ),
        prose_signature=baseline.summary().prose_signature,
        versions=made.versions,
    )


def _build(header: GridHeader, point: Point, run: Run) -> GridBuild:
    return build_of(header, point, run.header().model.sha256, run.scores(), run.completions())


if __name__ == "__main__":
    typer.run(main)
