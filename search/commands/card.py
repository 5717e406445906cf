"""`weighin card` and `weighin publish`: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from harness.comparison.grids import rich_table
from harness.console import JsonFlag, print_json, print_rich
from search.commands.report import is_terminal, require_free

Subject = Annotated[Path, typer.Argument(help="A study's or a run's folder.", metavar="STUDY|RUN")]
License = Annotated[
    str | None,
    typer.Option("--license", help="The Hub's id of the licence, such as apache-2.0; required."),
]
LicenseName = Annotated[
    str | None, typer.Option(help="Name of the licence, where its id is other.")
]
LicenseLink = Annotated[str | None, typer.Option(help="Where that licence can be read.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", help="Hub id of it, pt, heal or an adapter: it=google/gemma-3-270m-it; repeats."
    ),
]
BaselineRun = Annotated[
    Path | None, typer.Option("--baseline", help="For a run: the run to stand beside it.")
]
Gguf = Annotated[
    Path | None, typer.Option(help="The file that was scored [for a study: its own build].")
]
Trial = Annotated[int | None, typer.Option(min=0, help="For a study: another trial than the best.")]
StorageUrl = Annotated[
    str | None, typer.Option(help="Optuna storage URL [what the study's folder says].")
]


def card(
    subject: Subject,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file [README.md in the folder].")
    ] = None,
    license: License = None,
    license_name: LicenseName = None,
    license_link: LicenseLink = None,
    name: Annotated[str | None, typer.Option(help="The model's name [the folder's].")] = None,
    model: Models = None,
    baseline: BaselineRun = None,
    gguf: Gguf = None,
    trial: Trial = None,
    storage: StorageUrl = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Have the Hub check it as well; needs a network.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a card that exists.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a Hugging Face model card, every figure of which has a run behind it."""
    from harness.card.card import tell_local_names, write_card
    from harness.card.provenance import terms_of
    from search.card.publication import Chosen

    path = out or subject / "README.md"
    chosen = Chosen(subject, model or [], baseline, gguf, trial, storage)
    terms = terms_of(name or chosen.name, license, license_name, license_link)
    require_free(path, force=force)
    found = chosen.material(terms.name)
    made = found.card(terms)
    if validate:
        from harness.publish import validate_on_hub

        validate_on_hub(made)
    write_card(made, path)
    tell_local_names(found.provenance)
    if as_json:
        print_json({"card": str(path), "name": terms.name, "file": found.file})
        return
    typer.echo(path)


def publish(
    subject: Subject,
    repo: Annotated[str, typer.Option(help="USER/NAME on the Hub; made where it is not there.")],
    license: License = None,
    license_name: LicenseName = None,
    license_link: LicenseLink = None,
    model: Models = None,
    baseline: BaselineRun = None,
    gguf: Gguf = None,
    trial: Trial = None,
    storage: StorageUrl = None,
    report: Annotated[
        bool, typer.Option(help="Upload report.html, with every completion, as well.")
    ] = True,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private, where it is made.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload without asking.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Upload the GGUF that was scored, its card and its report to the Hub, after asking."""
    from harness.card.card import tell_local_names
    from harness.card.provenance import terms_of
    from harness.publish import check_repo, plan_grid, plan_upload, upload
    from search.card.publication import Chosen

    terms = terms_of(check_repo(repo), license, license_name, license_link)
    chosen = Chosen(subject, model or [], baseline, gguf, trial, storage)
    staged = chosen.stage(terms, report=report)
    tell_local_names(staged.material.provenance)
    plan = plan_upload(repo, staged.files, staged.scored)
    if not as_json:
        print_rich(rich_table(plan_grid(plan)))
    _require_consent(plan.place, yes=yes)
    done = upload(plan, private=private)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    typer.echo(done.url)


def _require_consent(place: str, *, yes: bool) -> None:
    """Ask before anything leaves the machine; where nobody can be asked, refuse.

    Raises:
        PublishError: Nobody said yes.
    """
    from harness.publish import PublishError

    if yes:
        return
    if not is_terminal():
        raise PublishError(f"{place}: nobody can be asked here; look at the list, then give --yes")
    if not typer.confirm(f"Upload this to {place}?", err=True):
        raise PublishError(f"{place}: nothing was uploaded")
