"""`weighin subspace`: parse, call, print."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.console import JsonFlag, note, print_json

if TYPE_CHECKING:
    from search.subspace.build import MatrixResult

LINE_INTERVAL_S = 10.0
"""Seconds between two lines of progress."""


def subspace(
    it: Annotated[str, typer.Option("--it", help="Hugging Face folder or hub id of IT.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Safetensors file to write.")],
    pt: Annotated[
        str | None, typer.Option("--pt", help="Folder or hub id of the model that IT came from.")
    ] = None,
    fisher: Annotated[
        Path | None, typer.Option(help="Take the modes of this Fisher of IT, in place of --pt.")
    ] = None,
    rank: Annotated[int, typer.Option(min=1, help="Most directions per matrix.")] = 256,
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Cover embeddings and the output layer too.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Find the top singular directions of IT - PT, which masks protect."""
    from search.fisher.file import FisherFile
    from search.subspace.build import build_subspace
    from search.tensors.checkpoint import open_checkpoint

    note("hashing the checkpoints")
    result = build_subspace(
        open_checkpoint(it),
        out,
        rank=rank,
        pt=open_checkpoint(pt) if pt is not None else None,
        fisher=FisherFile(fisher) if fisher is not None else None,
        embeddings=embeddings,
        progress=_Progress(),
    )
    if json:
        print_json(result.model_dump(mode="json"))
        return
    print(f"{result.path}  {result.size_bytes / 1e9:.3f} GB, rank up to {result.rank}")
    print(
        f"{result.n_weights} weights, {result.n_zero} of them not different beyond rounding; "
        f"{result.captured_min:.1%} to {result.captured_max:.1%} of the squared norm captured; "
        f"largest error {result.error_max:.1e}; {result.elapsed_s:.1f} s"
    )


class _Progress:
    """Says now and then how many matrices are done."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, total: int, last: "MatrixResult") -> None:
        now = time.monotonic()
        if now - self._said >= LINE_INTERVAL_S or done == total:
            self._said = now
            share = "" if last.captured is None else f", {last.captured:.1%} captured"
            note(f"{done}/{total} {last.name}: rank {last.rank}{share}")
