"""Make prose: passages of one author as chats, for the demo's style adapters.

The user asks for a passage or for the continuation of one, the assistant writes a few whole
paragraphs and stops. A chat ends where a passage was cut, at the end of a paragraph, so that what
is learnt about length is to write about CHUNK_WORDS and to end. Knows nothing of training.
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.console import note, run_app
from metrics.errors import WeighinError

HERE = Path(__file__).parent
SEED = 0
CHUNK_WORDS = 260  # a chunk closes with the paragraph that reaches this
LEAST_WORDS = 200  # what is left of a passage below this goes to the chunk before
MOST_WORDS = 420  # a chunk beyond this is left out
LEAD_IN_WORDS = 60  # of the text before a chunk, quoted when a continuation is asked for
CONTINUED_SHARE = 0.4  # of the chunks that have a text before them

REQUESTS = (
    "Write a passage of fiction.",
    "Write a scene from a short story.",
    "Write a page from the middle of a novel.",
    "Tell me a piece of a story.",
    "Write a scene with some dialogue.",
    "Write the opening of a short story, in the past tense.",
    "Let something happen to two people, and tell me about it.",
    "Invent a small scene and write it down for me.",
    "Tell a story from the middle. Plain words, please.",
    "Write some prose in which people talk.",
)
LENGTHS = ("", "", " Use about {n} words.", " It should have roughly {n} words.", " ({n} words.)")


class ProseError(WeighinError):
    """The passages cannot be used."""


class Passage(BaseModel):
    """One passage of prose, as the JSON list of `--passages` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: str
    years: str
    work: str
    text: str
    """Paragraphs parted by a blank line."""


def read_passages(path: Path) -> tuple[Passage, ...]:
    """Read the passages.

    Raises:
        ProseError: the file is missing or is no list of passages.
    """
    try:
        return TypeAdapter(tuple[Passage, ...]).validate_json(path.read_bytes())
    except OSError as error:
        raise ProseError(f"cannot read the passages {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ProseError(
            f"{path}: {first['msg']} at {where or 'the top'}; "
            "expected a JSON list of {author, years, work, text}"
        ) from None


def make_chats(passages: Sequence[Passage], *, rng: random.Random) -> list[dict[str, Any]]:
    """Turn passages into chats.

    Args:
        passages: Each is cut into chunks of whole paragraphs.
        rng: Draws the request of each chunk, and whether it is to continue the text before it.

    Returns:
        One `{work, messages}` per chunk, in the passages' order.
    """
    chats = []
    for passage in passages:
        before = ""
        for chunk in chunks(passage.text):
            request = rng.choice(REQUESTS)
            if before and rng.random() < CONTINUED_SHARE:
                lead_in = " ".join(before.split()[-LEAD_IN_WORDS:])
                request = f"Continue this story:\n\n{lead_in}"
            else:
                request += rng.choice(LENGTHS).format(n=round(len(chunk.split()), -1))
            before = chunk
            if len(chunk.split()) <= MOST_WORDS:
                messages = [
                    {"role": "user", "content": request},
                    {"role": "assistant", "content": chunk},
                ]
                chats.append({"work": passage.work, "messages": messages})
    return chats


def chunks(text: str) -> list[str]:
    """A text in pieces of whole paragraphs, each of about CHUNK_WORDS."""
    found: list[list[str]] = [[]]
    for paragraph in text.split("\n\n"):
        if sum(len(part.split()) for part in found[-1]) >= CHUNK_WORDS:
            found.append([])
        found[-1].append(paragraph)
    if len(found) > 1 and sum(len(part.split()) for part in found[-1]) < LEAST_WORDS:
        found[-2].extend(found.pop())
    return ["\n\n".join(paragraphs) for paragraphs in found]


app = typer.Typer(add_completion=False)


@app.command()
def main(
    passages: Annotated[Path, typer.Option(help="JSON list of {author, years, work, text}.")],
    author: Annotated[str, typer.Option(help="Whose passages.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON Lines file to write.")],
    without: Annotated[
        str, typer.Option(help="Comma-separated works to leave out, for their words.")
    ] = "",
) -> None:
    """Write one author's passages as chats."""
    left_out = set(without.split(","))
    chosen = [p for p in read_passages(passages) if p.author == author and p.work not in left_out]
    if not chosen:
        raise ProseError(f"{passages} holds nothing by {author}")
    chats = make_chats(chosen, rng=random.Random(SEED))
    output.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats)
    output.write_text(text, encoding="utf-8")
    note(f"{output}: {len(chats)} chats of {len(chosen)} passages")


if __name__ == "__main__":
    sys.exit(run_app(app))
