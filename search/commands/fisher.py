"""`weighin fisher`: parse, call, print."""

import time
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer

from harness.bar import Bar
from harness.console import JsonFlag, note, print_json
from harness.options import ChatTemplateFile, IfevalData, Seed, Threads, read_template

LINE_INTERVAL_S = 30.0
"""Seconds between two lines of progress where there is no terminal."""

IFEVAL_LIMIT = 200
"""Prompts of IFEval that the recipe's Fisher is made of."""


class LossName(StrEnum):
    """Tokens that the loss is taken on."""

    prompt = "prompt"
    response = "response"
    sampled = "sampled"


class TooLong(StrEnum):
    """What becomes of a longer prompt."""

    cut = "cut"
    drop = "drop"


class PrecisionName(StrEnum):
    """Type of weights and gradients."""

    float32 = "float32"
    bf16 = "bf16"


class DeviceName(StrEnum):
    """Where the model runs."""

    cpu = "cpu"
    cuda = "cuda"


def fisher(
    checkpoint: Annotated[str, typer.Argument(help="Hugging Face folder or hub id of IT.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Fisher file (.safetensors) to write.")],
    prompts: Annotated[
        str,
        typer.Option(help="ifeval, mini, prose, or a JSON Lines file."),
    ] = "ifeval",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Prompts: those that an evaluation takes last [ifeval 200]."),
    ] = None,
    ifeval_data: IfevalData = None,
    loss: Annotated[
        LossName,
        typer.Option(help="Loss on the prompt, on given responses, or on tokens of the model's."),
    ] = LossName.prompt,
    max_tokens: Annotated[
        int, typer.Option(min=2, help="Most tokens per prompt, a response included.")
    ] = 256,
    too_long: Annotated[TooLong, typer.Option(help="What becomes of longer ones.")] = TooLong.cut,
    seed: Seed = 0,
    targets: Annotated[
        str | None,
        typer.Option(help="Linear layers, comma-separated: q_proj,down_proj,... [all]."),
    ] = None,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Cover embeddings and a tied output layer too.")
    ] = False,
    layers_at_a_time: Annotated[
        int | None, typer.Option(min=1, help="Layers per pass [as many as memory holds].")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Prompts computed at once.")] = 1,
    precision: Annotated[
        PrecisionName | None,
        typer.Option(help="Arithmetic; the sums are always float32 [float32 on a CPU if it fits]."),
    ] = None,
    save_dtype: Annotated[
        PrecisionName, typer.Option(help="Type of the stored values.")
    ] = PrecisionName.bf16,
    device: Annotated[
        DeviceName | None, typer.Option(help="cpu or cuda [cuda where there is one].")
    ] = None,
    threads: Threads = None,
    chat_template: ChatTemplateFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Estimate how much each weight matters to an instruct model; goes on where it stopped."""
    from harness.tasks import split_names
    from search.fisher.fisher import FisherOptions, make_fisher
    from search.fisher.prompts import make_examples, read_asked, template_of
    from search.tensors.checkpoint import open_checkpoint
    from search.tensors.text_model import check_device, load_tokenizer

    source = read_template(chat_template)
    opened = open_checkpoint(checkpoint)
    n_prompts = IFEVAL_LIMIT if limit is None and prompts == "ifeval" else limit
    asked = read_asked(prompts, loss.value, ifeval_data=ifeval_data, limit=n_prompts, seed=seed)
    tokenizer = load_tokenizer(opened)
    template = template_of(tokenizer, source)
    examples = make_examples(
        asked,
        loss.value,
        tokenizer=tokenizer,
        template=template,
        max_tokens=max_tokens,
        too_long=too_long.value,
    )
    options = FisherOptions(
        loss=loss.value,
        max_tokens=max_tokens,
        chat_template_sha256=template.sha256,
        seed=seed,
        targets=None if targets is None else tuple(split_names(targets)),
        embeddings=embeddings,
        layers_at_a_time=layers_at_a_time,
        batch=batch,
        precision=None if precision is None else precision.value,
        save_dtype=save_dtype.value,
        device=check_device(None if device is None else device.value),
        threads=threads,
    )
    with _Progress() as progress:
        result = make_fisher(opened, examples, out, options, progress)
    if as_json:
        print_json(result.model_dump(mode="json"))
        return
    print(f"{result.path}  {result.size_bytes / 1e9:.2f} GB  sha256 {result.sha256}")
    print(
        f"{result.n_tensors} weights, {result.n_prompts} prompts ({result.n_cut} cut to "
        f"{max_tokens} tokens, {result.n_dropped} left out), {result.n_tokens} tokens, "
        f"{result.precision}, {result.layers_at_a_time} layers at a time, {result.elapsed_s:.1f} s"
    )
    print(result.layer_importance)


class _Progress:
    """A bar on a terminal, lines elsewhere, on standard error."""

    def __init__(self) -> None:
        self._bar = Bar()
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.__enter__().start("fisher", None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def __call__(self, group: str, n_done: int, n_all: int) -> None:
        if self._bar.shown:
            self._bar.update(description=f"fisher, {group}", completed=n_done, total=n_all)
        elif time.monotonic() - self._told > LINE_INTERVAL_S or n_done == n_all:
            self._told = time.monotonic()
            note(f"fisher: {group}, {n_done}/{n_all} gradients")
