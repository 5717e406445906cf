"""`weighin eval`: parse, call, print."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import JsonFlag, note, print_json, print_rich
from harness.options import (
    CacheTypeName,
    ChatTemplateFile,
    FlashAttention,
    GpuLayers,
    IfevalData,
    LengthGate,
    LexiconFile,
    Limit,
    MicroBatch,
    Parallel,
    Seed,
    Threads,
    WaveSize,
    read_template,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.scoring import Scoring
    from metrics.stats import Estimate

DEFAULT_RESULTS = Path("results")


class OnOff(StrEnum):
    """A choice that the command line spells out."""

    on = "on"
    off = "off"


def eval_(
    model: Annotated[Path, typer.Argument(help="The GGUF to run.")],
    tasks: Annotated[
        str,
        typer.Option(help="Comma-separated: ifeval, mini, prose, JSON Lines files, lm-eval tasks."),
    ] = "ifeval,prose",
    limit: Limit = None,
    ifeval_data: IfevalData = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Answers per prose prompt (default 1).")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="New tokens per answer (ifeval 1280, prose 1024).")
    ] = None,
    seed: Seed = 0,
    thinking: Annotated[OnOff, typer.Option(help="Let the model think first.")] = OnOff.off,
    chat_template: ChatTemplateFile = None,
    apply_chat_template: Annotated[
        bool, typer.Option(help="Ask lm-eval tasks through the chat template.")
    ] = False,
    prefill: Annotated[str | None, typer.Option(help="How every answer begins.")] = None,
    parallel: Parallel = None,
    context: Annotated[int | None, typer.Option(min=16, help="Tokens per sequence.")] = None,
    batch: Annotated[int, typer.Option(min=16, help="Tokens per decode call.")] = 2048,
    micro_batch: MicroBatch = 512,
    threads: Threads = None,
    gpu_layers: GpuLayers = -1,
    flash_attention: FlashAttention = "auto",
    cache_type: CacheTypeName = "f16",
    wave: WaveSize = None,
    length_gate: LengthGate = True,
    lexicon: LexiconFile = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run's folder [results/NAME-HASH].")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run one GGUF on prompt sets and score what it says; goes on where it was stopped."""
    from harness.benchmarks import Benchmarks, is_benchmark
    from harness.evaluate import Chat, check_gguf
    from harness.settings import parse_engine_settings
    from harness.tasks import load_tasks, split_names
    from harness.weigh import weigh

    settings = parse_engine_settings(
        parallel=parallel,
        context=context,
        batch=batch,
        micro_batch=micro_batch,
        threads=threads,
        gpu_layers=gpu_layers,
        flash_attention=flash_attention,
        cache_type=cache_type,
        wave=wave,
    )
    check_gguf(model)
    names = split_names(tasks)
    own = [name for name in names if not is_benchmark(name)]
    benchmarks = Benchmarks([n for n in names if n not in own]) if len(own) < len(names) else None
    folder = out or default_folder(model)
    figures: dict[str, Estimate] = {}
    template = read_template(chat_template)
    chat = Chat(template=template, thinking=thinking is OnOff.on, prefill=prefill)
    if own or benchmarks is None:
        chosen = load_tasks(
            own,
            ifeval_data=ifeval_data,
            limit=limit,
            seed=seed,
            samples=samples,
            max_tokens=max_tokens,
        )
        scoring = scoring_of(lexicon, length_gate=length_gate)
        run = weigh(model, chosen, folder, settings=settings, chat=chat, scoring=scoring)
        figures |= run.summary().metrics
    if benchmarks is not None:
        figures |= benchmarks.run(
            model,
            folder,
            settings=settings,
            apply_chat_template=apply_chat_template,
            limit=limit,
            seed=seed,
        )
    print_figures(folder, figures, as_json=as_json)


def default_folder(model: Path) -> Path:
    """Where a model's run goes when nobody says: under `results/`, by name and hash."""
    from harness.runs import file_sha256

    return DEFAULT_RESULTS / f"{model.stem}-{file_sha256(model)[:8]}"


def scoring_of(lexicon: Path | None, *, length_gate: bool) -> "Scoring":
    """The choices about scoring that the options make."""
    from harness.lexicon_files import read_lexicon
    from harness.scoring import Scoring

    chosen = None if lexicon is None else read_lexicon(lexicon)
    return Scoring(lexicon=chosen, length_gate=length_gate)


def print_figures(folder: Path, figures: "Mapping[str, Estimate]", *, as_json: bool) -> None:
    """Print a run's figures, as a table or as one JSON object."""
    from harness.tables import figures_json, summary_table

    if as_json:
        print_json({"run": str(folder), "metrics": figures_json(figures)})
        return
    print_rich(summary_table(folder.name, figures))
    note(f"kept in {folder}")
