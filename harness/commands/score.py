"""`weighin score`: parse, call, print."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.evaluate import print_figures, scoring_of
from harness.console import JsonFlag, print_json, print_rich
from harness.options import IfevalData, LengthGate, LexiconFile

if TYPE_CHECKING:
    from harness.response_files import Scored


class Kind(StrEnum):
    """How a file of responses is scored."""

    ifeval = "ifeval"
    prose = "prose"


def score(
    source: Annotated[Path, typer.Argument(help="A run's folder, or a .jsonl of responses.")],
    task: Annotated[Kind | None, typer.Option(help="How to score a file of responses.")] = None,
    prompts: Annotated[
        str, typer.Option(help="Prompt set that the responses answer; for --task ifeval.")
    ] = "ifeval",
    ifeval_data: IfevalData = None,
    lexicon: LexiconFile = None,
    length_gate: LengthGate = True,
    per_text: Annotated[bool, typer.Option(help="Each text's own figures, in the JSON.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Score a run again, or responses from anywhere, without a model."""
    scoring = scoring_of(lexicon, length_gate=length_gate)
    if source.is_dir():
        from harness.runs import Run
        from harness.scoring import score_run
        from harness.tables import figures_json

        run = Run.open(source)
        summary = score_run(run, scoring)
        if per_text:
            rows = [row.model_dump(mode="json") for row in run.scores()]
            print_json({"metrics": figures_json(summary.metrics), "texts": rows})
            return
        print_figures(source, summary.metrics, as_json=as_json)
        return

    from harness.response_files import read_responses, score_as_ifeval, score_prose
    from metrics.errors import WeighinError

    if task is None:
        raise WeighinError(f"{source}: say how to score it, with --task ifeval or --task prose")
    responses = read_responses(source)
    if task is Kind.prose:
        scored = score_prose(responses, scoring)
    else:
        from harness.prompts import load_prompt_set

        asked = load_prompt_set(prompts, ifeval_data=ifeval_data)
        scored = score_as_ifeval(source, responses, asked)
    _show(source, scored, as_json=as_json, per_text=per_text)


def _show(source: Path, scored: "Scored", *, as_json: bool, per_text: bool) -> None:
    from harness.tables import figures_json, summary_table

    if as_json or per_text:
        told: dict[str, Any] = {"metrics": figures_json(scored.metrics)}
        print_json(told | ({"texts": scored.texts} if per_text else {}))
        return
    print_rich(summary_table(source.name, scored.metrics))
