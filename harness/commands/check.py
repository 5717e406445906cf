"""`weighin check` and `weighin gates`: parse, call, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import JsonFlag, note, print_json
from harness.options import ChatTemplateFile, LexiconFile, read_template

if TYPE_CHECKING:
    from harness.gates.gates import Gate
    from harness.runs import Run
    from harness.scoring import Scoring

gates_app = typer.Typer(no_args_is_help=True, help="Limits that a candidate must keep to.")


def check(
    candidate: Annotated[Path, typer.Argument(help="A GGUF, or the folder of its run.")],
    baseline: Annotated[Path, typer.Option(help="Folder of the baseline's run.")],
    gates: Annotated[
        Path | None, typer.Option(help="YAML file of gates; weighin gates init writes one.")
    ] = None,
    min_: Annotated[
        list[str] | None,
        typer.Option(
            "--min", help="METRIC=BOUND: least difference to the baseline, -0.02 is 2 points less."
        ),
    ] = None,
    max_: Annotated[
        list[str] | None, typer.Option("--max", help="METRIC=BOUND: most difference allowed.")
    ] = None,
    min_value: Annotated[
        list[str] | None, typer.Option(help="METRIC=BOUND: least value of the candidate itself.")
    ] = None,
    max_value: Annotated[
        list[str] | None, typer.Option(help="METRIC=BOUND: most value of the candidate itself.")
    ] = None,
    baseline_gguf: Annotated[
        Path | None, typer.Option(help="The baseline's file, for gates on kld and speed.")
    ] = None,
    chat_template: ChatTemplateFile = None,
    lexicon: LexiconFile = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown here.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The new run's folder [results/NAME-HASH].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold a build against a baseline's run: exit 0 kept, 1 broken, 2 could not judge."""
    from harness.commands.evaluate import default_folder
    from harness.evaluate import Chat, check_gguf
    from harness.gates.check import Check
    from harness.gates.gates import parse_gate, require_some
    from harness.runs import Run, write_whole

    wanted = [
        *_from_file(gates),
        *(parse_gate(text, side="min", of="difference") for text in min_ or ()),
        *(parse_gate(text, side="max", of="difference") for text in max_ or ()),
        *(parse_gate(text, side="min", of="value") for text in min_value or ()),
        *(parse_gate(text, side="max", of="value") for text in max_value or ()),
    ]
    require_some(wanted)
    base = Run.open(baseline)
    asked = base.header().chat
    checking = Check(
        baseline=base,
        gates=tuple(wanted),
        scoring=_scoring_of(base, lexicon),
        chat=Chat(read_template(chat_template), asked.thinking, asked.prefill),
        baseline_gguf=baseline_gguf,
    )
    if candidate.is_dir():
        report = checking.run(Run.open(candidate))
    else:
        check_gguf(candidate)
        report = checking.gguf(candidate, out or default_folder(candidate))
    from harness.gates.formats import to_junit, to_lines, to_markdown

    if junit is not None:
        write_whole(junit, to_junit(report))
    if markdown is not None:
        write_whole(markdown, to_markdown(report))
    if as_json:
        print_json(report.model_dump(mode="json") | {"kept": report.outcome == "kept"})
    else:
        for line in to_lines(report):
            typer.echo(line)
        for text in () if report.comparison is None else report.comparison.notes:
            note(f"note: {text}")
    raise typer.Exit(report.exit_code)


@gates_app.command("init")
def init(
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("gates.yaml"),
    baseline: Annotated[
        Path | None, typer.Option(help="Run whose tasks the gates are for [ifeval and prose].")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a commented gates.yaml to begin with."""
    from harness.gates.file import example
    from harness.gates.gates import GateError
    from harness.runs import Run, write_whole

    header = None if baseline is None else Run.open(baseline).header()
    if out.exists() and not force:
        raise GateError(f"{out}: is there already; name another with -o, or --force")
    write_whole(out, example(header))
    if as_json:
        print_json({"gates": str(out)})
    else:
        typer.echo(f"wrote {out}")


def _from_file(path: Path | None) -> "list[Gate]":
    from harness.gates.file import read_gates

    return [] if path is None else read_gates(path)


def _scoring_of(baseline: "Run", lexicon: Path | None) -> "Scoring":
    """Scoring as the baseline's was; refused before the model runs where it cannot be.

    Raises:
        GateError: The baseline was scored with another lexicon, or by another version.
    """
    from harness.commands.evaluate import scoring_of
    from harness.gates.gates import GateError
    from metrics.lexicon import default_lexicon
    from metrics.prose import signature

    wanted = baseline.summary().prose_signature
    scoring = scoring_of(lexicon, length_gate=wanted is None or wanted.endswith(":on"))
    chosen = scoring.lexicon or default_lexicon()
    found = signature(chosen, length_gate=scoring.length_gate)
    if wanted is not None and wanted != found:
        raise GateError(
            f"{baseline.folder}: prose was scored by {wanted}, not by {found}; name its lexicon "
            "with --lexicon, or score it again with weighin score"
        )
    return scoring
