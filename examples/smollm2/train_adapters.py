"""Train adapters: the demo's LoRA adapters, from public-domain prose.

Each adapter learns one author's prose through the chat template: the user asks for a passage or
for the continuation of one, the loss is on the assistant's text alone. A passage is cut, not
finished, so the end of turn carries no loss and the adapter says nothing about length. Knows
nothing of recipes or merges. Source of the method: LoRA, Hu et al. 2021,
https://arxiv.org/abs/2106.09685
"""

import csv
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.console import note, run_app
from metrics.errors import WeighinError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

HERE = Path(__file__).parent
BASE_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
MAX_SIZE_BYTES = 3 * 1024 * 1024
CHUNK_TOKENS = 224  # a chunk of prose closes with the paragraph that reaches this
SEQUENCE_TOKENS = 352  # template, request and chunk; what is longer is cut
LEAD_IN_WORDS = 60  # of the text before a chunk, quoted when a continuation is asked for
BATCH_SIZE = 4
N_THREADS = 2  # sums on a CPU depend on how they are split
IGNORED = -100  # the label that torch's cross entropy skips

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")

REQUESTS = (
    "Write a passage of fiction.",
    "Write a scene from a short story.",
    "Write a page from the middle of a novel.",
    "Tell me a piece of a story.",
)


class Passage(BaseModel):
    """One passage of prose, as the JSON list of `--prose` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: str
    years: str
    work: str
    text: str
    """Paragraphs parted by a blank line."""


class Plan(BaseModel):
    """How one adapter is made; everything that could change it but the prose and the libraries."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    author: str
    """Whose passages it learns; no two plans share an author."""
    rank: int
    alpha: int
    """LoRA's alpha: the update is scaled by alpha / rank."""
    targets: tuple[str, ...]
    learning_rate: float
    n_epochs: int
    seed: int


PLANS = (
    Plan(
        name="philip-k-dick",
        author="Philip K. Dick",
        rank=8,
        alpha=16,
        targets=ATTENTION,
        learning_rate=1e-3,
        n_epochs=2,
        seed=1,
    ),
    Plan(
        name="fritz-leiber",
        author="Fritz Leiber",
        rank=4,
        alpha=8,
        targets=ATTENTION + MLP,
        learning_rate=1e-3,
        n_epochs=3,
        seed=2,
    ),
    Plan(
        name="heal",
        author="Robert Sheckley",
        rank=4,
        alpha=8,
        targets=ATTENTION + MLP,
        learning_rate=2e-4,
        n_epochs=2,
        seed=3,
    ),
)

CARD = """\
---
license: apache-2.0
base_model: {base}
library_name: peft
---

# {name}

A LoRA adapter for {base}, made with

    python examples/smollm2/train_adapters.py --only {name} --prose PASSAGES.json

| | |
| --- | --- |
| prose | {n_passages} passages by {author}: {works} |
| origin | Standard Ebooks; US public domain |
| examples | {n_examples} chunks of about {chunk_tokens} tokens, through the chat template, \
loss on the assistant's text only |
| LoRA | rank {rank}, alpha {alpha}, on {targets} |
| optimiser | AdamW, learning rate {learning_rate:g} with linear decay, batch {batch_size}, \
{n_epochs} epochs, {n_steps} steps, seed {seed} |
| arithmetic | float32 weights, bfloat16 autocast, CPU, {n_threads} threads; saved as bfloat16 |
| loss | {first_loss:.3f} at step 1, {last_loss:.3f} over the last epoch's steps; every step in \
[loss.csv](loss.csv) |
| made with | {versions} |
"""


class TrainError(WeighinError):
    """The prose or the checkpoint cannot be trained on."""


def read_passages(path: Path) -> tuple[Passage, ...]:
    """Read the prose.

    Raises:
        TrainError: the file is missing or is no list of passages.
    """
    try:
        return TypeAdapter(tuple[Passage, ...]).validate_json(path.read_bytes())
    except OSError as error:
        raise TrainError(f"cannot read the prose {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrainError(
            f"{path}: {first['msg']} at {where or 'the top'}; "
            "expected a JSON list of {author, years, work, text}"
        ) from None


def make_examples(
    passages: Sequence[Passage], tokenizer: "PreTrainedTokenizerBase", *, rng: random.Random
) -> list[dict[str, list[int]]]:
    """Turn passages into tokenised chats.

    Args:
        passages: One author's, each cut into chunks of whole paragraphs.
        tokenizer: Of the model to train, with its chat template.
        rng: Draws the request of each chunk, and whether it is to continue the text before it.

    Returns:
        One `{input_ids, attention_mask, labels}` per chunk, at most SEQUENCE_TOKENS long; the
        labels of everything but the assistant's text are IGNORED.
    """
    examples = []
    for passage in passages:
        before = ""
        for chunk in _chunks(passage.text, tokenizer):
            request = rng.choice(REQUESTS)
            if before and rng.random() < 0.5:
                lead_in = " ".join(before.split()[-LEAD_IN_WORDS:])
                request = f"Continue this story:\n\n{lead_in}"
            examples.append(_example(request, chunk, tokenizer))
            before = chunk
    return examples


def train(plan: Plan, passages: Sequence[Passage], checkpoint: Path, output: Path) -> None:
    """Train one adapter and write its folder: weights, configuration, card and loss curve.

    The folder is written beside its place and takes the place of an older one when whole.

    Raises:
        TrainError: there is no prose of the plan's author, or the adapter came out too large.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    chosen = [passage for passage in passages if passage.author == plan.author]
    if not chosen:
        raise TrainError(f"{plan.name}: the prose holds nothing by {plan.author}")
    torch.set_num_threads(N_THREADS)
    set_seed(plan.seed)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    examples = make_examples(chosen, tokenizer, rng=random.Random(plan.seed))
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model = get_peft_model(
        base,
        LoraConfig(
            r=plan.rank,
            lora_alpha=plan.alpha,
            target_modules=list(plan.targets),
            task_type="CAUSAL_LM",
        ),
    )
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=BATCH_SIZE,
                num_train_epochs=plan.n_epochs,
                learning_rate=plan.learning_rate,
                lr_scheduler_type="linear",
                seed=plan.seed,
                bf16=True,
                use_cpu=True,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
            ),
            train_dataset=examples,
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        )
        trainer.train()
        steps = [entry for entry in trainer.state.log_history if "loss" in entry]
        folder = Path(scratch) / output.name
        _save(model, folder)
        _write_losses(steps, folder / "loss.csv")
        card = _card(plan, chosen, len(examples), steps)
        (folder / "README.md").write_text(card, encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)
        folder.rename(output)


def _chunks(text: str, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    chunks: list[list[str]] = [[]]
    n_tokens = 0
    for paragraph in text.split("\n\n"):
        if n_tokens >= CHUNK_TOKENS:
            chunks.append([])
            n_tokens = 0
        chunks[-1].append(paragraph)
        n_tokens += len(tokenizer.encode(paragraph)) + 1
    return ["\n\n".join(paragraphs) for paragraphs in chunks]


def _example(request: str, text: str, tokenizer: "PreTrainedTokenizerBase") -> dict[str, list[int]]:
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": request}], tokenize=False, add_generation_prompt=True
    )
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False)
    text_ids = tokenizer.encode(text, add_special_tokens=False)
    input_ids = (prompt_ids + text_ids)[:SEQUENCE_TOKENS]
    labels = ([IGNORED] * len(prompt_ids) + text_ids)[:SEQUENCE_TOKENS]
    return {"input_ids": input_ids, "attention_mask": [1] * len(input_ids), "labels": labels}


def _save(model: "PeftModel", folder: Path) -> None:
    import torch

    model.to(torch.bfloat16)
    model.save_pretrained(folder, save_embedding_layers=False)
    size_bytes = (folder / "adapter_model.safetensors").stat().st_size
    if size_bytes > MAX_SIZE_BYTES:
        raise TrainError(
            f"the adapter takes {size_bytes:,} bytes, expected at most {MAX_SIZE_BYTES:,}; "
            "lower its plan's rank or name fewer target modules"
        )
    # PEFT writes the folder it loaded the base from and keeps the modules as an unordered set.
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = BASE_NAME
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_losses(steps: Sequence[Mapping[str, Any]], path: Path) -> None:
    columns = ("step", "epoch", "learning_rate", "loss")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{step[column]:.6g}" for column in columns] for step in steps)


def _card(
    plan: Plan, passages: Sequence[Passage], n_examples: int, steps: Sequence[Mapping[str, Any]]
) -> str:
    from importlib.metadata import version

    last_epoch = [step["loss"] for step in steps if step["epoch"] > plan.n_epochs - 1]
    return CARD.format(
        base=BASE_NAME,
        name=plan.name,
        author=plan.author,
        n_passages=len(passages),
        works=", ".join(sorted({passage.work for passage in passages})),
        n_examples=n_examples,
        chunk_tokens=CHUNK_TOKENS,
        rank=plan.rank,
        alpha=plan.alpha,
        targets=", ".join(plan.targets),
        learning_rate=plan.learning_rate,
        batch_size=BATCH_SIZE,
        n_epochs=plan.n_epochs,
        n_steps=len(steps),
        seed=plan.seed,
        n_threads=N_THREADS,
        first_loss=steps[0]["loss"],
        last_loss=sum(last_epoch) / len(last_epoch),
        versions=", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft")),
    )


app = typer.Typer(add_completion=False)


@app.command()
def main(
    prose: Annotated[Path, typer.Option(help="JSON list of {author, years, work, text}.")],
    checkpoint: Annotated[Path, typer.Option(help="What prepare.py wrote.")] = HERE / "it",
    output: Annotated[Path, typer.Option(help="Folder of the adapters.")] = HERE / "adapters",
    only: Annotated[str | None, typer.Option(help="One adapter's name; all by default.")] = None,
) -> None:
    """Train the demo's adapters on a CPU, a few minutes each."""
    names = [plan.name for plan in PLANS]
    if only is not None and only not in names:
        raise TrainError(f"no adapter is called {only!r}; expected one of {', '.join(names)}")
    if not (checkpoint / "config.json").is_file():
        raise TrainError(f"no checkpoint at {checkpoint}; run prepare.py first")
    passages = read_passages(prose)
    output.mkdir(parents=True, exist_ok=True)
    for plan in PLANS:
        if only in (None, plan.name):
            train(plan, passages, checkpoint, output / plan.name)
            note(f"{output / plan.name}: written")


if __name__ == "__main__":
    sys.exit(run_app(app))
