"""`weighin noise`: parse, call, print."""

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.evaluate import default_folder
from harness.console import JsonFlag, print_json, print_rich
from harness.options import IfevalData, Limit, Parallel, Seed, Threads, WaveSize


def noise(
    model: Annotated[Path, typer.Argument(help="The GGUF to run twice.")],
    tasks: Annotated[
        str, typer.Option(help="Comma-separated: ifeval, mini, prose, or JSON Lines files.")
    ] = "ifeval,prose",
    limit: Limit = None,
    ifeval_data: IfevalData = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="New tokens per answer.")] = None,
    seed: Seed = 0,
    parallel: Parallel = None,
    threads: Threads = None,
    wave: WaveSize = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the two runs.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run one GGUF twice, in two orders: the floor under any comparison."""
    from harness.evaluate import Chat, check_gguf
    from harness.noise import noise_between
    from harness.noise_floor import AS_LISTED, KEPT, SHUFFLED, SUFFIX
    from harness.runs import write_whole
    from harness.settings import parse_engine_settings
    from harness.tasks import load_tasks, split_names
    from harness.weigh import weigh

    check_gguf(model)
    chosen = load_tasks(
        split_names(tasks), ifeval_data=ifeval_data, limit=limit, seed=seed, max_tokens=max_tokens
    )
    if out is None:
        usual = default_folder(model)
        out = usual.with_name(usual.name + SUFFIX)
    first, second = (
        weigh(
            model,
            chosen,
            out / name,
            settings=parse_engine_settings(
                parallel=parallel, threads=threads, wave=wave, order=order
            ),
            chat=Chat(),
        )
        for name, order in ((AS_LISTED, None), (SHUFFLED, 1))
    )
    found = noise_between(first, second)
    write_whole(out / KEPT, found.model_dump_json(indent=2) + "\n")
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from harness.comparison.grids import rich_table
    from harness.comparison.tables import metrics_grid

    print_rich(rich_table(metrics_grid(found.comparison)))
    print_rich(
        f"{found.n_texts_moved} of {found.n_completions} completions and "
        f"{found.n_scores_moved} of their scores moved"
    )
