"""Make instructions: the chats that the demo's instruction adapter learns from.

The released model answers plain requests; its sentences are formed, marked and counted so that
they follow instructions of IFEval's 25 types, and IFEval's own strict checker keeps what does.
Requests and wordings are this project's own; a prompt that shares eight words in a row with one of
`mini`, or of IFEval where its file is named, is left out. Knows nothing of training.
Source of the types and the checker: Zhou et al. 2023, https://arxiv.org/abs/2311.07911; of the
method: learning from a model's own checked answers, Zelikman et al. 2022,
https://arxiv.org/abs/2203.14465
"""

import json
import random
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from instructions.answers import ask, different, sentences
from instructions.compose import Row, deck_of, fixed_rows, long_row, rows_of
from instructions.overlap import overlapping
from instructions.requests import Request, all_requests, long_requests

from harness.console import note, run_app
from harness.prompts import load_prompt_set

HERE = Path(__file__).parent
DATA = HERE / "data"
CHATS = "instructions.jsonl"
HELD_OUT = "held-out.jsonl"

SEED = 0
N_ROWS = 5  # tries per request
HELD_OUT_EVERY = 10  # every tenth request is kept from training
N_ANSWERS = 2
N_LONG_ANSWERS = 5


def make_rows(model: Path, work: Path) -> tuple[list[Row], list[Row]]:
    """All rows, for training and held out; a request is on one side with all of its rows.

    Args:
        model: The released model's GGUF.
        work: Folder of the two runs that the sentences come from.
    """
    requests, long = all_requests(), long_requests()
    said = ask(model, requests, work / "requests", samples=N_ANSWERS, seed=SEED)
    said_long = ask(model, long, work / "long", samples=N_LONG_ANSWERS, seed=SEED + 1)
    rng = random.Random(SEED)
    deck = deck_of(rng=rng)
    sides: tuple[list[Row], list[Row]] = ([], [])
    for number, request in enumerate(requests):
        answers = [sentences(answer) for answer in said[request.id]]
        if all(answers):
            side = sides[number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
            side.extend(rows_of(request, answers, N_ROWS, deck, rng=rng))
            if request.id in said_long:
                row = _long_row(request, answers, said_long[request.id], rng)
                side.extend([] if row is None else [row])
    sides[0].extend(fixed_rows(rng=rng))
    for side in sides:
        rng.shuffle(side)
    return sides


def without(rows: Sequence[Row], prompts: Iterable[str]) -> list[Row]:
    """Rows whose prompt comes near none of these prompts."""
    near = {prompt for prompt, _ in overlapping([row.prompt for row in rows], prompts)}
    return [row for row in rows if row.prompt not in near]


def prompt_of(row: Row) -> dict[str, Any]:
    """A row of a prompt set: what is asked, and how it is checked."""
    return {
        "id": row.id,
        "prompt": row.prompt,
        "instruction_id_list": list(row.instruction_id_list),
        "kwargs": list(row.kwargs),
    }


def chat_of(row: Row) -> dict[str, Any]:
    """A row to train on: the prompt and the answer as a conversation, and how it was checked."""
    return {
        "id": row.id,
        "messages": [
            {"role": "user", "content": row.prompt},
            {"role": "assistant", "content": row.answer},
        ],
        "instruction_id_list": list(row.instruction_id_list),
        "kwargs": list(row.kwargs),
    }


def _long_row(
    request: Request, answers: Sequence[Sequence[str]], said: Sequence[str], rng: random.Random
) -> Row | None:
    more = (sentences(answer) for answer in said)
    return long_row(request, different(chain(*answers, *more)), rng=rng)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


app = typer.Typer(add_completion=False)


@app.command()
def main(
    model: Annotated[Path, typer.Option(help="GGUF of the released model.")],
    work: Annotated[Path, typer.Option(help="Folder of the runs that the answers come from.")],
    ifeval_data: Annotated[
        Path | None, typer.Option(help="IFEval's input_data.jsonl, to keep away from.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the files to write.")] = DATA,
) -> None:
    """Write the chats to train on and the prompts that are held out."""
    others = [prompt.text for prompt in load_prompt_set("mini").prompts]
    if ifeval_data is not None:
        others += [p.text for p in load_prompt_set("ifeval", ifeval_data=ifeval_data).prompts]
    train, held_out = (without(rows, others) for rows in make_rows(model, work))
    output.mkdir(parents=True, exist_ok=True)
    _write(output / CHATS, map(chat_of, train))
    _write(output / HELD_OUT, map(prompt_of, held_out))
    note(f"{output}: {len(train)} chats, {len(held_out)} prompts held out")


if __name__ == "__main__":
    sys.exit(run_app(app))
