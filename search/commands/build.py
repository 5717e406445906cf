"""Commands around one GGUF: baseline, build and inspect.

Each parses, calls one function and prints; heavy imports wait until a command runs.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.console import JsonFlag, note, print_json, print_rich

PROGRESS_STEP = 0.1
"""Share of the file between two lines of progress."""


def baseline(
    checkpoint: Annotated[str, typer.Argument(help="Hugging Face folder or hub id of IT.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="GGUF to write.")],
    type: Annotated[str, typer.Option("--type", help="llama.cpp's type, such as Q6_K.")] = "Q6_K",
    imatrix: Annotated[
        Path | None, typer.Option(help="Importance matrix (GGUF) for the quantiser.", exists=True)
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.", min=1)] = None,
    json: JsonFlag = False,
) -> None:
    """Make the baseline and template of a search from a checkpoint."""
    from search.baseline import make_baseline

    note(f"converting and quantising {checkpoint} to {type}")
    result = make_baseline(checkpoint, out, type=type, imatrix=imatrix, n_threads=threads)
    if json:
        print_json(result.model_dump(mode="json"))
    else:
        print(f"{result.path}  {result.size_bytes / 1e9:.2f} GB  sha256 {result.sha256}")


def build(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="GGUF to write.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="A number over the recipe's own, such as s=0.3."),
    ] = None,
    hf: Annotated[
        Path | None, typer.Option("--hf", help="Folder for the merged checkpoint as well.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.", min=1)] = None,
    json: JsonFlag = False,
) -> None:
    """Build one merge as the GGUF that would ship."""
    from search.build import build as build_gguf
    from search.numbers import parse_numbers
    from search.recipe_file import load_recipe

    loaded = load_recipe(recipe)
    result = build_gguf(
        loaded, parse_numbers(param or []), out, hf=hf, n_threads=threads, progress=BuildProgress()
    )
    if json:
        print_json(result.model_dump(mode="json"))
        return
    print(f"{result.path}  {result.size_bytes / 1e9:.2f} GB  sha256 {result.sha256}")
    print(
        f"{result.n_changed} tensors merged, {result.n_copied} copied from the template, "
        f"{result.elapsed_s:.1f} s"
    )


def inspect(
    path: Annotated[Path, typer.Argument(help="Recipe, ingredient or GGUF.", exists=True)],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="For a recipe: a number over its own, such as s=0.3."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.", min=1)] = None,
    json: JsonFlag = False,
) -> None:
    """Look into a recipe, ingredient or GGUF before spending anything."""
    if path.suffix in (".yaml", ".yml"):
        from search.numbers import parse_numbers
        from search.preview import preview, preview_lines
        from search.recipe_file import load_recipe

        shown = preview(load_recipe(path), parse_numbers(param or []), n_threads=threads)
        if json:
            print_json(shown.model_dump(mode="json"))
        else:
            print("\n".join(preview_lines(shown)))
        return
    from search.describe import describe

    found = describe(path)
    lines = [f"{key}: {value}" for key, value in found.items() if value is not None]
    parts: list[Any] = []
    if found["kind"] == "subspace":
        from search.subspace.view import by_kind, by_layer, spectra, view_subspace

        weights = view_subspace(path)
        found["weights"] = [weight.model_dump() for weight in weights]
        parts = [*spectra(weights), by_kind(weights), by_layer(weights)]
    elif found["kind"] == "fisher":
        from search.fisher import view as fisher_view

        values = fisher_view.view_fisher(path)
        found["weights"] = [weight.model_dump() for weight in values]
        parts = [fisher_view.by_kind(values), fisher_view.by_layer(values)]
    if json:
        print_json(found)
        return
    print("\n".join(lines))
    print_rich(*parts)


class BuildProgress:
    """Says now and then how much is written."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        share = done / total
        if share >= self._said + PROGRESS_STEP or (done == total and self._said < 1):
            self._said = share
            note(f"built {share:.0%} of {total / 1e9:.2f} GB")
