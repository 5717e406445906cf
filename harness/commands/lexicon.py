"""`weighin lexicon`: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from harness.console import JsonFlag, note, print_json

lexicon_app = typer.Typer(
    help="Lists of words and phrases that models over-use.", no_args_is_help=True
)


@lexicon_app.command()
def mine(
    model: Annotated[
        list[Path],
        typer.Option(help="Texts of models: a run's folder, JSON Lines or JSON. Repeatable."),
    ],
    human: Annotated[
        list[Path], typer.Option(help="Texts of people: text, JSON Lines or JSON. Repeatable.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The lexicon to write, as JSON.")],
    hold_out: Annotated[
        list[str] | None,
        typer.Option(help="A model whose texts are kept apart. Repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find what models over-use against human prose and wordfreq, and write it as a lexicon."""
    from harness.lexicon_files import mine_files, write_lexicon

    lexicon = mine_files(model, human, name=out.stem, held_out=hold_out or [])
    write_lexicon(out, lexicon)
    counts = {
        kind: len(getattr(lexicon, kind)) for kind in ("words", "bigrams", "trigrams", "names")
    }
    if as_json:
        print_json({"lexicon": str(out), **counts, "models": len(lexicon.origin.models)})
        return
    for kind in counts:
        entries = getattr(lexicon, kind)
        typer.echo(f"{kind} ({len(entries)}): {', '.join(entry.text for entry in entries[:8])}")
    note(f"mined from {len(lexicon.origin.models)} model(s), written to {out}")
