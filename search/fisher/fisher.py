"""Fisher: the diagonal Fisher information of a model's linear layers, E_x[(dL/dp)^2].

Walks through groups of layers and the examples of each, and keeps what is done; the squares, the
loss, the prompts, the memory and the file are other modules' matter.
Source: Kirkpatrick et al. 2017, https://arxiv.org/abs/1612.00796.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.seen_prompts import text_sha256
from harness.settings import available_cores
from search.cache import file_sha256
from search.disk import sibling
from search.errors import FisherError
from search.fisher.draft import FisherDraft, FisherSettings, SaveDtype
from search.fisher.file import FisherHeader
from search.fisher.groups import (
    choose_precision,
    free_memory,
    layers_that_fit,
    plan_groups,
    work_bytes,
)
from search.fisher.loss import add_batch
from search.fisher.prompts import Example, Examples, Loss, n_loss_tokens, tokens_sha256
from search.fisher.squares import SUM_BYTES, SquareSums, Target
from search.fisher.targets import find_targets
from search.tensors.checkpoint import Checkpoint
from search.tensors.names import layer_of
from search.tensors.text_model import Precision, load_text_model

LAYERS_FILE = "layer_importance.json"

SAVE_INTERVAL_S = 60.0
"""Least time between two savings of the sums in work."""

SAVE_SHARE = 0.1
"""Largest share of the time that goes into saving them."""

Progress = Callable[[str, int, int], None]
"""Told the group, the examples done and the examples in all."""


@dataclass(frozen=True)
class FisherOptions:
    """How an estimate is made."""

    loss: Loss
    max_tokens: int
    chat_template_sha256: str
    seed: int = 0
    """Of drawn tokens."""
    targets: tuple[str, ...] | None = None
    """Last parts of linear layers' names; None means all."""
    embeddings: bool = False
    """Whether embeddings, and an output layer tied to one, are covered too."""
    layers_at_a_time: int | None = None
    """None means as many as the free memory holds."""
    batch: int = 1
    """Examples computed at once."""
    precision: Precision | None = None
    """None means that of the draft, or float32 on a CPU that has the memory and bf16 elsewhere."""
    save_dtype: SaveDtype = "bf16"
    device: str = "cpu"
    threads: int | None = None
    """None means that of the draft, or all cores."""


class LayerImportance(BaseModel):
    """Sums of a Fisher per layer, as they lie beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights_sha256: str
    """`Checkpoint.sha256`."""
    loss: Loss
    layers: tuple[float, ...]
    """One sum per layer; 0 where no target lies in it."""


class FisherResult(BaseModel):
    """What was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str
    size_bytes: int
    layer_importance: Path
    n_tensors: int
    n_prompts: int
    n_cut: int
    n_dropped: int
    n_tokens: int
    """Tokens that the loss was taken on."""
    precision: Precision
    layers_at_a_time: int
    elapsed_s: float
    """Of this session."""


def make_fisher(
    checkpoint: Checkpoint,
    examples: Examples,
    out: Path,
    options: FisherOptions,
    progress: Progress | None = None,
) -> FisherResult:
    """Estimate a checkpoint's Fisher and write it; goes on where it was stopped.

    Args:
        checkpoint: Of a supported architecture.
        examples: What the loss is taken on.
        out: File to write, with `layer_importance.json` beside it; until it is whole, a folder
            `OUT.partial` holds what is done.
        options: How.
        progress: Told after every batch.

    Raises:
        WeighinError: no memory or disk, a loss that is not a number, or a draft of another
            estimate. What is done stays for the next call.
    """
    import torch

    began = time.monotonic()
    threads_before = torch.get_num_threads()
    try:
        with FisherDraft(out) as draft:
            threads = options.threads or draft.threads or available_cores()
            torch.set_num_threads(threads)
            header, at_a_time = _fill(
                draft, checkpoint, examples, replace(options, threads=threads), progress
            )
            sums = {name: done.sum for name, done in draft.done.items()}
            layers = _write_layers(out.parent / LAYERS_FILE, checkpoint, options.loss, sums)
            draft.finish()
    except OSError as error:
        raise FisherError(f"cannot write {out}: {error.strerror}; what is done is kept") from None
    finally:
        torch.set_num_threads(threads_before)
    assert header.precision is not None
    return FisherResult(
        path=out,
        sha256=file_sha256(out),
        size_bytes=out.stat().st_size,
        layer_importance=layers,
        n_tensors=len(sums),
        n_prompts=len(header.prompt_ids),
        n_cut=header.n_cut,
        n_dropped=header.n_dropped,
        n_tokens=header.n_tokens,
        precision=header.precision,
        layers_at_a_time=at_a_time,
        elapsed_s=time.monotonic() - began,
    )


def _fill(
    draft: FisherDraft,
    checkpoint: Checkpoint,
    examples: Examples,
    options: FisherOptions,
    progress: Progress | None,
) -> tuple[FisherHeader, int]:
    """Work off every group that is not done; returns the header and the layers at a time."""
    import torch

    n_parameters = sum(
        stored.n_rows * stored.row_size for stored in map(checkpoint.stored, checkpoint.names)
    )
    precision = (
        options.precision or draft.precision or choose_precision(n_parameters, options.device)
    )
    ordered = sorted(examples.examples, key=lambda example: -len(example.tokens))
    with _out_of_memory("the weights", "take --precision bf16, or free some memory"):
        model = load_text_model(checkpoint, precision, options.device)
    targets = find_targets(model, options.targets, embeddings=options.embeddings)
    n_work = work_bytes(model, options.batch * len(ordered[0].tokens), precision)
    at_a_time = options.layers_at_a_time or layers_that_fit(
        targets, free_memory(options.device), n_work
    )
    header = FisherHeader(
        weights_sha256=checkpoint.sha256,
        loss=options.loss,
        prompt_ids=tuple(prompt.id for prompt in examples.prompts.prompts),
        prompts_sha256=examples.prompts.sha256,
        max_tokens=options.max_tokens,
        n_tokens=sum(n_loss_tokens(example, options.loss) for example in ordered),
        prompt_texts_sha256=tuple(text_sha256(prompt) for prompt in examples.prompts.prompts),
        n_cut=examples.n_cut,
        n_dropped=examples.n_dropped,
        chat_template_sha256=options.chat_template_sha256,
        seed=options.seed if options.loss == "sampled" else None,
        precision=precision,
        extremes={},
        sums={},
    )
    settings = FisherSettings(
        header=header,
        tokens_sha256=tokens_sha256(ordered),
        targets=tuple(target.name for target in targets),
        save_dtype=options.save_dtype,
        device=options.device,
        threads=options.threads or torch.get_num_threads(),
    )
    largest = max(sum(t.n_elements for t in group) for group in plan_groups(targets, at_a_time))
    draft.begin(settings, targets, largest * SUM_BYTES)
    left = [target for target in targets if target.name not in draft.done]
    # a group that was left in work stays as it was, unless another size is asked for
    in_work = draft.names_in_work() if options.layers_at_a_time is None else ()
    groups = [tuple(t for t in left if t.name in in_work)] if in_work else []
    groups += plan_groups([t for t in left if t.name not in in_work], at_a_time)
    n_done, n_all = 0, len(groups) * len(ordered)
    for group in groups:
        label = _label(group)
        advice = "lower --layers-at-a-time, --batch or --max-tokens; what is done is kept"
        with _out_of_memory(f"{label}, {at_a_time} layers at a time", advice):
            for n_examples in _run_group(draft, model, group, ordered, options):
                if progress is not None:
                    progress(label, n_done + n_examples, n_all)
        n_done += len(ordered)
    return header, at_a_time


def _run_group(
    draft: FisherDraft,
    model: Any,
    group: Sequence[Target],
    examples: Sequence[Example],
    options: FisherOptions,
) -> Iterator[int]:
    """Estimate one group and put it into the draft; yields the examples done after each batch."""
    kept = draft.load_sums([target.name for target in group])
    begin, start = kept if kept is not None else (0, None)
    sums = SquareSums(group, options.device, start)
    save_at = time.monotonic() + SAVE_INTERVAL_S
    for first in range(begin, len(examples), options.batch):
        batch = examples[first : first + options.batch]
        add_batch(model, sums, batch, options.loss, seed=options.seed)
        yield first + len(batch)
        if time.monotonic() > save_at:
            before = time.monotonic()
            draft.save_sums(first + len(batch), sums.sums)
            after = time.monotonic()
            save_at = after + max(SAVE_INTERVAL_S, (after - before) / SAVE_SHARE)
    for total in sums.sums.values():
        total /= len(examples)
    draft.write_group(sums.sums)


def _write_layers(path: Path, checkpoint: Checkpoint, loss: Loss, sums: dict[str, float]) -> Path:
    layers = [0.0] * checkpoint.n_layers
    for name in sorted(sums):
        number = layer_of(name)
        if number is not None:
            layers[number] += sums[name]
    record = LayerImportance(weights_sha256=checkpoint.sha256, loss=loss, layers=tuple(layers))
    beside = sibling(path, "part")
    beside.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
    return path


def _label(group: Sequence[Target]) -> str:
    numbers = sorted({n for n in (layer_of(target.name) for target in group) if n is not None})
    if not numbers:
        return group[0].name
    if len(numbers) == 1:
        return f"layer {numbers[0]}"
    return f"layers {numbers[0]} to {numbers[-1]}"


@contextmanager
def _out_of_memory(what: str, advice: str) -> Iterator[None]:
    """Turn torch's several ways to say that memory is gone into one line with advice."""
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        gone = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not gone and "DefaultCPUAllocator" not in str(error):
            raise
        raise FisherError(f"out of memory at {what}; {advice}") from None
