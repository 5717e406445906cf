"""Real builds, recorded as a grid and replayed; real builds, screened before they generate."""

import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.evaluate import Chat
from harness.settings import EngineSettings
from harness.tasks import load_tasks
from harness.weigh import weigh
from search.baseline import make_baseline
from search.build import build
from search.recipe import Recipe, Screen
from search.trials.screen import screen
from tests.search.models import make_adapter

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def recipe(
    checkpoint_of: Callable[..., Path], converter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A recipe over a random model that has a chat template, with a strong adapter."""
    folder = tmp_path_factory.mktemp("recipe")
    it = folder / "it"
    shutil.copytree(checkpoint_of("gemma4"), it)
    make_adapter(folder / "adapter", it, strength=0.5)
    make_baseline(str(it), folder / "it.gguf", n_threads=1)
    (folder / "tales.jsonl").write_text('{"prompt": "A tale."}\n{"prompt": "Rain."}\n')
    path = folder / "recipe.yaml"
    path.write_text(
        "it: it\nbaseline: it.gguf\nadapters: [adapter]\n"
        "search: {space: {s: [0.0, 1.0]}, "
        "subject_to: [mini.prompt_level_strict_acc >= baseline - 0.5]}\n"
        "evaluate:\n  confirm: false\n  parallel: 2\n  tasks:\n"
        "    mini: {limit: 3, max_tokens: 4}\n    prose: {prompts: tales.jsonl, max_tokens: 4}\n"
    )
    return path


def script(name: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_grid_is_recorded_and_replayed(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [str(recipe), "--grid", "s=0:1:0.5", "-o", str(out)]
    script("record_grid.py", *arguments, cwd=tmp_path)
    lines = [json.loads(line) for line in (out / "builds.jsonl").read_text().splitlines()]
    assert [line["numbers"] for line in lines] == [{}, {"s": 0.0}, {"s": 0.5}, {"s": 1.0}]
    # a point that changes nothing is the baseline's own file
    assert [line["sha256"] for line in lines].index(lines[1]["sha256"]) == 0
    assert len({line["sha256"] for line in lines}) == 3
    assert all(len(line["strict"]["mini"]) == 3 for line in lines)
    assert all(len(line["prose"]["prose"]) == 2 for line in lines)
    with lzma.open(out / "completions.jsonl.xz", "rt") as file:
        assert len(list(file)) == 3 * 5
    assert not list(tmp_path.rglob("*.gguf"))
    # what was done is not done again
    before = (out / "builds.jsonl").read_bytes()
    script("record_grid.py", *arguments, cwd=tmp_path)
    assert (out / "builds.jsonl").read_bytes() == before
    said = script("replay.py", str(out), "--seeds", "2", "--trials", "3", cwd=tmp_path)
    about, stopped, whole = (json.loads(line) for line in said.splitlines())
    assert about["builds"] == 3
    assert stopped["searches"] == whole["searches"] == 2
    assert whole["share"] == 1.0


def test_a_build_far_from_the_baseline_is_screened(recipe: Path, tmp_path: Path) -> None:
    folder = recipe.parent
    made = Recipe.model_validate(
        {
            "it": str(folder / "it"),
            "baseline": str(folder / "it.gguf"),
            "adapters": [str(folder / "adapter")],
        }
    )
    build(made, {"s": 2.0}, tmp_path / "far.gguf")
    settings = EngineSettings(parallel=2, threads=1)
    tasks = load_tasks(["mini"], limit=4, max_tokens=12)
    run = weigh(folder / "it.gguf", tasks, tmp_path / "run", settings=settings, chat=Chat())
    itself = screen(run, folder / "it.gguf", folder / "it.gguf", Screen(kld=0.01), settings)
    assert itself.kld == pytest.approx(0, abs=1e-4)
    assert itself.violation < 0
    far = screen(run, folder / "it.gguf", tmp_path / "far.gguf", Screen(kld=0.01), settings)
    assert far.violation == pytest.approx(far.kld - 0.01) and far.violation > 0
    assert far.text == "screen.kld <= 0.01"
    assert far.reason.startswith(f"screened: {far.kld:.3g} nats a token from the baseline")
    fewer = screen(
        run, folder / "it.gguf", tmp_path / "far.gguf", Screen(kld=0.01, limit=1), settings
    )
    assert 0 < fewer.n_tokens < far.n_tokens
