"""`weighin compare` and `weighin check`: parse, call, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import JsonFlag, print_json, print_rich

if TYPE_CHECKING:
    from harness.gates import Gate
    from harness.runs import Run

EXIT_GATE_BROKEN = 1


def compare(
    baseline: Annotated[Path, typer.Argument(help="Folder of the run to compare against.")],
    candidate: Annotated[Path, typer.Argument(help="Folder of the run under test.")],
    as_json: JsonFlag = False,
) -> None:
    """Compare two runs prompt by prompt."""
    from harness.compare import compare_runs
    from harness.runs import Run

    comparison = compare_runs(Run.open(baseline), Run.open(candidate))
    if as_json:
        print_json(comparison.model_dump(mode="json"))
        return
    from harness.tables import comparison_table

    print_rich(comparison_table(comparison))
    for line in comparison.notes:
        print_rich(f"note: {line}")


def check(
    candidate: Annotated[Path, typer.Argument(help="A GGUF, or the folder of its run.")],
    baseline: Annotated[Path, typer.Option(help="Folder of the baseline's run.")],
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
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The new run's folder [results/NAME-HASH].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Hold a build against a baseline's run; exit 1 if a gate is broken."""
    from harness.compare import compare_runs
    from harness.gates import GateError, judge, parse_gate
    from harness.runs import Run

    gates: list[Gate] = [
        *(parse_gate(text, side="min", of="difference") for text in min_ or ()),
        *(parse_gate(text, side="max", of="difference") for text in max_ or ()),
        *(parse_gate(text, side="min", of="value") for text in min_value or ()),
        *(parse_gate(text, side="max", of="value") for text in max_value or ()),
    ]
    if not gates:
        raise GateError("no gate given; name one, as in --min ifeval.prompt_level_strict_acc=-0.02")
    base = Run.open(baseline)
    base.summary()
    run = Run.open(candidate) if candidate.is_dir() else _run_like(base, candidate, out)
    verdicts = judge(compare_runs(base, run), gates)
    kept = all(verdict.kept for verdict in verdicts)
    if as_json:
        rows = [verdict.model_dump(mode="json") for verdict in verdicts]
        print_json({"kept": kept, "run": str(run.folder), "gates": rows})
    else:
        from harness.tables import verdict_lines

        for line in verdict_lines(verdicts):
            typer.echo(line)
    raise typer.Exit(0 if kept else EXIT_GATE_BROKEN)


def _run_like(baseline: "Run", model: Path, out: Path | None) -> "Run":
    """Run a GGUF on what the baseline was asked, with the baseline's engine settings."""
    from harness.commands_eval import default_folder
    from harness.evaluate import Chat, check_gguf
    from harness.tasks import tasks_of_run
    from harness.weigh import weigh

    check_gguf(model)
    header = baseline.header()
    return weigh(
        model,
        tasks_of_run(baseline),
        out or default_folder(model),
        settings=header.engine,
        chat=Chat(thinking=header.chat.thinking, prefill=header.chat.prefill),
    )
