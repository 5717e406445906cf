"""Benchmark: the subspace of a whole checkpoint against torch.linalg.svd of its matrices.

Makes pairs of checkpoints of a few square matrices, whose difference falls off quickly (an
adapter's, rounded to bfloat16) or hardly at all (a full fine-tune's), takes their subspace, and
prints seconds, their ratio to the plain SVD in float32 without any file, and peak memory. Each
measurement is a process of its own.

    python benchmarks/subspace.py
    python benchmarks/subspace.py --width 4096
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from search.subspace.build import build_subspace
from search.tensors.checkpoint import Checkpoint

N_MATRICES = 2
ADAPTER_RANK = 32
KINDS = ("adapter", "full")
CONFIG = {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": N_MATRICES}


def write_pair(folder: Path, kind: str, width: int) -> None:
    """PT and IT, bfloat16."""
    rng = torch.Generator().manual_seed(0)
    pt: dict[str, torch.Tensor] = {}
    it: dict[str, torch.Tensor] = {}
    for layer in range(N_MATRICES):
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        weight = 0.02 * torch.randn(width, width, generator=rng)
        if kind == "adapter":
            rows = torch.randn(width, ADAPTER_RANK, generator=rng)
            columns = torch.randn(ADAPTER_RANK, width, generator=rng)
            delta = 0.001 * rows @ columns / ADAPTER_RANK**0.5
        else:
            delta = 0.002 * torch.randn(width, width, generator=rng)
        pt[name] = weight.bfloat16()
        it[name] = (pt[name].float() + delta).bfloat16()
    for side, tensors in (("pt", pt), ("it", it)):
        (folder / side).mkdir(parents=True)
        save_file(tensors, folder / side / "model.safetensors")
        (folder / side / "config.json").write_text(json.dumps(CONFIG))


def measure(what: str, folder: Path, rank: int) -> dict[str, float]:
    """Seconds per matrix and peak memory of this process, of one way.

    A process starts with its parent's peak, so whoever asks must be small.
    """
    it, pt = Checkpoint(folder / "it"), Checkpoint(folder / "pt")
    hashes = it.sha256, pt.sha256  # remembered; not part of what is measured
    del hashes
    began = time.perf_counter()
    if what == "subspace":
        result = build_subspace(it, folder / "subspace.safetensors", rank=rank, pt=pt)
        elapsed_s = (time.perf_counter() - began) / N_MATRICES
        (folder / "subspace.safetensors").unlink()
        extra = {"captured_min": result.captured_min, "error_max": result.error_max}
    else:
        name = it.names[0]
        torch.linalg.svd(it.rows(name) - pt.rows(name), full_matrices=False)
        elapsed_s = time.perf_counter() - began
        extra = {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds_per_matrix": round(elapsed_s, 2), "peak_rss_bytes": peak, **extra}


def main() -> None:
    """Measure both kinds both ways; print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--measure", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, place = arguments.measure
        if what == "write":
            write_pair(Path(place), Path(place).name, arguments.width)
            return
        print(json.dumps(measure(what, Path(place), arguments.rank)))
        return
    report: dict[str, object] = {
        "width": arguments.width,
        "rank": arguments.rank,
        "threads": torch.get_num_threads(),
        "matrix_bytes_float32": 4 * arguments.width**2,
    }
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "WEIGHIN_CACHE": f"{scratch}/cache"}
        base = [sys.executable, __file__]
        base += ["--rank", str(arguments.rank), "--width", str(arguments.width)]

        def child(what: str, kind: str) -> str:
            command = [*base, "--measure", what, f"{scratch}/{kind}"]
            return subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, text=True, check=True
            ).stdout

        for kind in KINDS:
            child("write", kind)
            found = {what: json.loads(child(what, kind)) for what in ("subspace", "svd")}
            seconds = [found[what]["seconds_per_matrix"] for what in ("subspace", "svd")]
            report[kind] = {**found, "time_ratio": round(seconds[0] / seconds[1], 3)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
