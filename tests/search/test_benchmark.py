"""The build's benchmark, at a size that takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_RSS_BYTES = 3e9


@pytest.mark.slow
def test_runs_and_keeps_to_its_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/build.py", "--size", "tiny", "--folder", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    # every linear layer, norm and scalar of six layers, but none of what lies outside them
    assert said["n_changed"] == 6 * 17
    assert said["peak_rss_bytes"] < MAX_RSS_BYTES
    assert {"read", "merge", "quantise", "copy", "write", "load"} <= set(said["thread_seconds"])
    assert not (tmp_path / "out.gguf").exists()
