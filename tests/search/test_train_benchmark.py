"""The benchmark of masked training, at a size that takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_runs() -> None:
    sizes = ("--size", "tiny", "--rank", "8", "--tokens", "32", "--rounds", "1")
    done = subprocess.run(
        [sys.executable, "benchmarks/masked_training.py", *sizes],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["tokens_per_step"] == 32
    assert said["ratio"] > 0
