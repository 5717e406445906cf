"""`weighin study` as a user runs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from search.study.study import Study

from .studies import WHY_FAILED, WHY_STOPPED, make_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The scripted study, in a folder of its own; not to be changed."""
    return make_study(tmp_path_factory.mktemp("command") / "demo")


def folder_of(study: Study) -> Path:
    return Path(study.url.removeprefix("sqlite:///")).parent


def weighin(*arguments: object, at: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "search.cli", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=at,
        env={"PYTHONPATH": str(Path.cwd()), "PATH": "", "HOME": "/nonexistent"},
    )


def test_it_prints_the_table_the_reasons_the_cost_and_the_answer(study: Study) -> None:
    done = weighin("study", folder_of(study))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("study demo: h_delta, ifeval.prompt_level_strict_acc >= ")
    assert sum(line.startswith("│ * │") for line in lines) == 1
    assert lines[-8:-3] == [
        f"trial 2 was stopped: {WHY_STOPPED}",
        f"trial 3 failed (build): {WHY_FAILED}",
        "spent: 4,500 tokens, 4 min",
        "left: nothing, every trial has ended",
        "best build: trial 1 (s=0.300), h_delta +4.10",
    ]
    assert lines[-1].startswith("nothing is confirmed yet")


def test_its_json_is_one_object_and_nothing_else(study: Study) -> None:
    done = weighin("study", folder_of(study), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["spending"] == {
        "spent": {"n_tokens": 4500, "seconds": 265.0},
        "left": {"n_tokens": 0, "seconds": 0.0},
        "n_trials_left": 0,
        "n_running": 0,
        "n_weighed": 4,
    }
    assert [trial["stopped"] for trial in told["trials"]] == [None, None, WHY_STOPPED, None, None]


def test_a_study_by_its_storage_is_shown_where_its_folder_is_not(
    study: Study, tmp_path: Path
) -> None:
    done = weighin("study", "demo", "--storage", study.url, "--json", at=tmp_path)
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["best"]["number"] == 1
    assert told["trials"][1]["metrics"] == {}
    assert list(tmp_path.iterdir()) == [], "looking at a study leaves nothing"


def test_a_study_whose_store_is_named_needs_no_folder(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", n=2, artifacts=str(tmp_path / "kept"))
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    shutil.move(tmp_path / "demo" / "study.db", tmp_path / "elsewhere.db")
    shutil.rmtree(tmp_path / "demo")
    done = weighin("study", "demo", "--storage", url, "--json", at=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["baseline"]["metrics"].keys() == told["trials"][1]["metrics"].keys() != set()
    assert told["spending"]["spent"] == {"n_tokens": 2800, "seconds": 160.0}


@pytest.mark.parametrize("command", ["study", "dashboard"])
def test_no_study_is_one_line(tmp_path: Path, command: str) -> None:
    done = weighin(command, tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"weighin: error: {tmp_path}: no study here")
