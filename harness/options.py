"""Options that several commands share, each with its help said once.

Defaults stand where the option is used.
"""

from pathlib import Path
from typing import Annotated

import typer

from harness.settings import MOST_PARALLEL

Limit = Annotated[
    int | None, typer.Option(min=1, help="Prompts per task: a fixed, balanced subset.")
]
IfevalData = Annotated[
    Path | None, typer.Option(help="IFEval's input_data.jsonl, in place of the hub's copy.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of subsets and sampling.")]
ChatTemplateFile = Annotated[
    Path | None, typer.Option(help="A chat template in place of the GGUF's own.")
]
Parallel = Annotated[
    int | None, typer.Option(min=1, max=MOST_PARALLEL, help="Answers generated at once.")
]
MicroBatch = Annotated[int, typer.Option(min=16, help="Tokens computed at once.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
GpuLayers = Annotated[int, typer.Option(min=-1, help="Layers on a GPU; -1 is all.")]
FlashAttention = Annotated[str, typer.Option(help="auto, on or off.")]
CacheTypeName = Annotated[str, typer.Option(help="KV cache: f16, f32, bf16, q8_0, q4_0.")]
WaveSize = Annotated[
    int | None,
    typer.Option(min=1, help="Prompts per wave, kept together (64; 4 x --parallel on a GPU)."),
]
LengthGate = Annotated[bool, typer.Option(help="Lower H for prose under 250 words.")]
LexiconFile = Annotated[
    Path | None, typer.Option(help="A lexicon of slop in place of the project's own.")
]


def read_template(path: Path | None) -> str | None:
    """The text of a chat template that a user named.

    Raises:
        WeighinError: It cannot be read as text.
    """
    from metrics.errors import WeighinError

    if path is None:
        return None
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeighinError(f"{path}: no chat template can be read there ({error})") from None
