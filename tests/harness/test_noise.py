"""The noise floor of a real model, kept where a comparison finds it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.comparison.compare import compare_in_detail
from harness.noise_floor import KEPT, Noise
from harness.runs import Run, read_record

ASKED = ("--tasks", "mini", "--limit", "4", "--max-tokens", "8", "--threads", "1")


@pytest.mark.model
def test_noise_is_kept_beside_the_run_that_it_is_of(smollm2_gguf: Path, tmp_path: Path) -> None:
    def weighin(*arguments: str) -> str:
        command = [sys.executable, "-m", "search.cli", *arguments, *ASKED, "--parallel", "2"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = weighin("noise", str(smollm2_gguf), "-o", str(tmp_path / "base-noise"), "--json")
    noise = read_record(Noise, tmp_path / "base-noise" / KEPT)
    assert Noise.model_validate(json.loads(told)) == noise
    assert noise.n_completions == 4
    weighin("eval", str(smollm2_gguf), "-o", str(tmp_path / "base"))
    run = Run(tmp_path / "base")
    (found,) = compare_in_detail(run, [run]).comparisons
    for row in (*found.differences, *found.sanity):
        measured = noise.comparison.by_metric()[row.metric].difference.value
        assert row.noise == (None if measured is None else abs(measured))
