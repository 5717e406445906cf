"""Studies of a small real model through llama.cpp, in processes that are really stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from search.errors import StudyError
from search.recipe_file import load_recipe
from search.study.study import TrialRow, load_study
from search.trials.joining import open_bench

pytestmark = [pytest.mark.model, pytest.mark.slow]

WAIT_S = 120.0
N_PROMPTS = 8
RECIPE = """\
it: {it}
baseline: {baseline}
adapters: [{adapter}]
heal: {{adapter: {heal}, onto: it}}
merge: {{s: 0.3, alpha: 0.3}}
search:
  space: {{s: [0.0, 1.0], alpha: [0.0, 0.6]}}
  trials: 3
  maximize: p.word_count
  subject_to: []
  error_rate: 0
evaluate:
  tasks: {{p: {{prompts: p.jsonl, max_tokens: 24}}}}
  parallel: 2
"""

Search = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def recipe(
    tmp_path: Path,
    checkpoint_of: Callable[..., Path],
    adapter_of: Callable[..., Path],
    baseline_of: Callable[..., Path],
) -> Path:
    """A recipe on a random model of Gemma 4's kind, which has a chat template."""
    it = checkpoint_of("gemma4")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        RECIPE.format(
            it=it,
            baseline=baseline_of(it, "Q8_0"),
            adapter=adapter_of(it, seed=1),
            heal=adapter_of(it, seed=2),
        )
    )
    prompts = [{"id": str(n), "prompt": f"the quick brown fox {n}"} for n in range(N_PROMPTS)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    return path


def weighin(*arguments: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "search.cli", *(str(a) for a in arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, told = process.communicate(timeout=WAIT_S)
    return process.returncode, out, told


def stop_when(
    process: "subprocess.Popen[str]", seen: Callable[[], bool], how: signal.Signals
) -> None:
    """Send a signal in the very moment that something lies on the disk."""
    began = time.monotonic()
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - began < WAIT_S
        time.sleep(0.005)
    process.send_signal(how)


def without_chance(rows: list[TrialRow]) -> list[TrialRow]:
    """Rows without what no two sessions share: seconds, and ids in the artifact store."""
    return [replace(row, seconds=0.0, files={}) for row in rows]


def test_killed_in_a_build_interrupted_in_a_run_and_out_of_disk_it_ends_as_if_never_stopped(
    recipe: Path, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    code, out, told = ended(weighin("search", recipe, "--out", whole, "--keep", "all", "--json"))
    assert code == 0, told
    assert [trial["state"] for trial in json.loads(out)["trials"]] == ["complete"] * 3
    search = ("search", recipe, "--out", stopped, "--keep", "all")

    process = weighin(*search)
    stop_when(process, lambda: any((stopped / "builds").glob(".*.part.*")), signal.SIGKILL)
    assert ended(process)[0] == -signal.SIGKILL
    assert any((stopped / "builds").glob(".*.part.*"))

    process = weighin(*search)
    stop_when(process, lambda: any((stopped / "runs").glob("*/run.json")), signal.SIGINT)
    code, _, told = ended(process)
    assert code == 130, told
    assert "stopping after the wave in hand" in told
    (begun,) = (stopped / "runs").iterdir()
    n_kept = len((begun / "completions.jsonl").read_text().splitlines())
    assert (
        0
        < n_kept
        < len((whole / "runs" / begun.name / "completions.jsonl").read_text().splitlines())
    )
    assert not (begun / "summary.json").exists()

    (last,) = {p.name for p in (whole / "runs").iterdir()} - {begun.name}
    (stopped / "runs" / last).mkdir()
    (stopped / "runs" / last / "completions.jsonl.tmp").symlink_to("/dev/full")
    code, _, told = ended(weighin(*search))
    assert code == 2, told
    assert told.splitlines()[-1].startswith("weighin: error: trial 2: ")
    assert "No space left on device" in told
    assert "goes on with the same command once there is room" in told

    code, _, told = ended(weighin(*search))
    assert code == 0, told
    one, other = load_study(whole), load_study(stopped)
    assert without_chance(other.rows()) == without_chance(one.rows())
    for run in ("baseline", *(f"runs/{row.run}" for row in one.rows() if row.run != "baseline")):
        for name in ("completions.jsonl", "scores.jsonl", "summary.json"):
            assert (stopped / run / name).read_bytes() == (whole / run / name).read_bytes(), run
    builds = [sorted(p.name for p in (x / "builds").iterdir()) for x in (whole, stopped)]
    assert builds[0] == builds[1], "nothing half-written is left"
    assert load_recipe(whole / "recipe.yaml") == load_recipe(recipe)


def test_a_worker_finishes_what_a_killed_search_began(recipe: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "here", tmp_path / "there"
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    place = tmp_path / "store"
    search = weighin(
        "search", recipe, "--out", folder, "--storage", url, "--artifacts", place, "--trials", "4"
    )
    stop_when(search, lambda: any((folder / "runs").glob("*/completions.jsonl")), signal.SIGKILL)
    assert ended(search)[0] == -signal.SIGKILL
    # from another folder, so that the baseline's run has to come from the artifact store
    code, _, told = ended(weighin("worker", "here", "--storage", url, "--out", other))
    assert code == 0, told
    assert (other / "baseline" / "summary.json").is_file()
    assert "baseline:" not in told, "it was not generated again"
    rows = load_study("here", url).rows()
    assert [row.state for row in rows] == ["complete"] * 4
    # prompts that are not the study's are named
    study = load_study("here", url)
    (tmp_path / "p.jsonl").write_text(
        '{"id": "1", "prompt": "another"}\n{"id": "2", "prompt": "x"}\n'
    )
    with pytest.raises(StudyError, match="here cannot be joined from here: prompts of p changed"):
        open_bench(study, other)
