"""`weighin kld`: parse, call, print."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.evaluate import default_folder
from harness.console import JsonFlag, note, print_json, print_rich
from harness.options import (
    CacheTypeName,
    FlashAttention,
    GpuLayers,
    MicroBatch,
    Threads,
    read_template,
)

if TYPE_CHECKING:
    from harness.divergence import DivergenceReport
    from harness.runs import Run

OWN_LIMIT = 32
"""Prose prompts that the baseline answers where there is no run of it."""
OWN_MAX_TOKENS = 256
NOTE_INTERVAL_S = 15.0


def kld(
    candidate: Annotated[Path, typer.Argument(help="The GGUF under test.")],
    baseline: Annotated[Path, typer.Option(help="The GGUF to compare with.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Run of the baseline to read [its folder in results/, made if absent]."),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="A text file to read in windows, in place of a run.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Completions to read, spread over the run.")
    ] = None,
    context: Annotated[
        int, typer.Option(min=4, help="Tokens per window of --text; the second half counts.")
    ] = 512,
    chat_template: Annotated[
        Path | None, typer.Option(help="The chat template that the run was given.")
    ] = None,
    micro_batch: MicroBatch = 512,
    threads: Threads = None,
    gpu_layers: GpuLayers = -1,
    flash_attention: FlashAttention = "auto",
    cache_type: CacheTypeName = "f16",
    as_json: JsonFlag = False,
) -> None:
    """How far one GGUF's predictions are from another's, token by token."""
    from harness.divergence import DivergenceError, FileTexts, RunTexts, measure_divergence
    from harness.evaluate import check_gguf
    from harness.settings import parse_engine_settings

    if run is not None and text is not None:
        raise DivergenceError("--run and --text are two things to read; name one")
    for path in (candidate, baseline):
        check_gguf(path)
    template = read_template(chat_template)
    report = measure_divergence(
        baseline,
        candidate,
        FileTexts(text, context)
        if text is not None
        else RunTexts(_run_of(baseline, run, threads, template), limit, template),
        settings=parse_engine_settings(
            micro_batch=micro_batch,
            threads=threads,
            gpu_layers=gpu_layers,
            flash_attention=flash_attention,
            cache_type=cache_type,
        ),
        on_page=_progress(),
    )
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    _print(report)


def _run_of(
    baseline: Path, folder: Path | None, threads: int | None, template: str | None
) -> "Run":
    """The named run, the baseline's own in `results/`, or a short one made now."""
    from harness.evaluate import Chat
    from harness.runs import Run
    from harness.settings import parse_engine_settings
    from harness.tasks import load_tasks
    from harness.weigh import weigh

    if folder is not None:
        return Run.open(folder)
    usual = default_folder(baseline)
    if (usual / "summary.json").is_file():
        return Run.open(usual)
    return weigh(
        baseline,
        load_tasks(["prose"], limit=OWN_LIMIT, max_tokens=OWN_MAX_TOKENS),
        usual.with_name(f"{usual.name}-kld"),
        settings=parse_engine_settings(threads=threads),
        chat=Chat(template=template),
    )


def _progress() -> Callable[[int, int], None]:
    told = time.monotonic()

    def on_page(n_done: int, n_tokens: int) -> None:
        nonlocal told
        if time.monotonic() - told >= NOTE_INTERVAL_S:
            told = time.monotonic()
            note(f"kld: {n_done}/{n_tokens} tokens")

    return on_page


def _print(report: "DivergenceReport") -> None:
    from harness.tables import summary_table

    print_rich(summary_table(f"{report.candidate} against {report.baseline}", report.metrics))
    note(f"read {report.read}: {report.n_tokens} tokens")
