"""`weighin best`: parse, call, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import JsonFlag, print_json
from search.commands.build import BuildProgress
from search.commands.study import StorageUrl, StudyPlace, opened_study

if TYPE_CHECKING:
    from search.confirmation.winner import Written
    from search.study.study import TrialRow


def best(
    place: StudyPlace,
    out: Annotated[Path, typer.Option("--out", "-o", help="GGUF to write.")],
    hf: Annotated[
        Path | None, typer.Option("--hf", help="Folder for the merged checkpoint as well.")
    ] = None,
    trial: Annotated[
        int | None, typer.Option(min=0, help="Another trial's build, such as one of the front.")
    ] = None,
    storage: StorageUrl = None,
    recipe: Annotated[
        Path | None, typer.Option(help="This machine's recipe, where files lie elsewhere.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the build that a study comes to: the very bytes that were scored, or nothing."""
    from search.board.confirmed import confirmation_lines
    from search.confirmation.winner import trial_of, winner_of, write_build
    from search.recipe_file import load_recipe
    from search.study.storage import storage_errors

    study, folder = opened_study(place, storage)
    with storage_errors(study.url):
        row = winner_of(study) if trial is None else trial_of(study, trial)
        said = confirmation_lines(study)
        written = None
        if row is not None:
            own = None if recipe is None else load_recipe(recipe)
            written = write_build(
                study, row, folder, out, hf=hf, recipe=own, progress=BuildProgress()
            )
    if as_json:
        print_json({"trial": None if row is None else row.number, **_json(row, written)})
        return
    if row is None or written is None:
        typer.echo("nothing beats the baseline, so nothing is written; --trial N takes one anyway")
    else:
        how = "the study's own copy" if written.copied else "built anew, as it was scored"
        typer.echo(f"trial {row.number}: {written.path} ({how})\nSHA-256 {written.sha256}")
        if written.hf is not None:
            typer.echo(f"{written.hf}: the merged checkpoint")
    if trial is None:
        typer.echo("\n".join(said))


def _json(row: "TrialRow | None", written: "Written | None") -> dict[str, object]:
    if row is None or written is None:
        return {"params": None, "gguf": None, "sha256": None, "copied": None, "hf": None}
    return {
        "params": row.params,
        "gguf": str(written.path),
        "sha256": written.sha256,
        "copied": written.copied,
        "hf": None if written.hf is None else str(written.hf),
    }
