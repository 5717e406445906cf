"""The live board: on a real terminal together with a run's own bar, and what fits on it."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from harness.console import progress_console
from search.board.live import Snapshot, chosen
from search.board.shelf import Shelf
from tests.terminal import shown

from .studies import N_ANSWERS, WHY_STOPPED, make_study
from .test_board import row
from .test_real_study import recipe

__all__ = ["recipe"]

PROGRAM = [sys.executable, "-m", "tests.search.studies"]


def test_table_and_run_live_on_one_terminal_and_leave_only_what_was_noted(tmp_path: Path) -> None:
    done = shown([*PROGRAM, str(tmp_path / "demo")], lines=40)
    assert done.code == 0
    tables = [frame for frame in done.frames if any("study demo:" in line for line in frame)]
    assert all(sum("study demo:" in line for line in frame) == 1 for frame in tables)
    both = [frame for frame in tables if any(line.startswith("trial 1 ━") for line in frame)]
    assert both, "the run's bar is under the table"
    texts = ["\n".join(frame) for frame in tables]
    assert any("│ running │" in text for text in texts)
    last = [text for text in texts if "\nleft: " in text][-1]
    assert "│ * │     1 │ 0.300 │   +4.10 │   yes   │  1,000 │ 1 min │" in last
    assert "│   │     2 │ 0.500 │  ~+4.90 │ stopped │    400 │  25 s │" in last
    # the baseline, two whole trials, the stopped one, what the failed one had generated
    assert any("spent: 3,500 tokens, 3 min" in text for text in texts)
    assert any(
        "left: about 800 tokens, 48 s; 1 trial, by the mean of 3 weighed" in text for text in texts
    )
    final = done.frames[-1]
    assert not any("study demo:" in line for line in final)
    assert [line for line in final if line.endswith("has ended")] == [
        f"trial {n} has ended" for n in range(5)
    ]


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, str(tmp_path / "demo")], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert "study demo" not in done.stderr
    lines = done.stderr.splitlines()
    assert any(line.startswith(f"trial 0: {N_ANSWERS}/{N_ANSWERS} answers") for line in lines)
    assert lines[-1] == "trial 4 has ended"


@pytest.mark.model
@pytest.mark.slow
def test_a_search_of_a_real_model_on_a_terminal(
    recipe: Callable[..., Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "search.cli", "search", str(recipe)]
    done = shown([*command, "--out", str(tmp_path / "live"), "--json"], lines=40)
    assert done.code == 0
    assert done.out.startswith('{"study": "live"'), "standard output holds the result alone"
    assert done.out.count("\n") == 1
    tables = [frame for frame in done.frames if any("study live:" in line for line in frame)]
    assert all(sum("study live:" in line for line in frame) == 1 for frame in tables)
    assert any(line.startswith("trial 0 ━") for frame in tables for line in frame)
    assert any(line.startswith("baseline ━") for frame in tables for line in frame)
    assert not any("study live:" in line for line in done.frames[-1])


def test_all_that_is_live_shares_one_console() -> None:
    assert progress_console() is progress_console()
    assert progress_console().stderr


@pytest.mark.parametrize(
    ("n", "seen"),
    [(4, [1, 7, 8, 9]), (5, [1, 6, 7, 8, 9]), (0, [1, 7, 8, 9]), (99, list(range(10)))],
)
def test_what_fits_are_the_leaders_those_in_hand_and_the_latest(n: int, seen: list[int]) -> None:
    rows = [row(i, "running" if i == 7 else "complete") for i in range(10)]
    assert [r.number for r in chosen(rows, {1}, n)] == seen


def test_a_low_terminal_says_how_many_more_there_are(tmp_path: Path) -> None:
    study = make_study(tmp_path / "demo")
    console = Console(file=io.StringIO(), width=100, height=14, force_terminal=True)
    console.print(Snapshot.of(study, Shelf(study, tmp_path / "demo")))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 more: weighin study" in said
    assert "\x1b[1;32m" in said, "the leader is coloured"
    assert WHY_STOPPED not in said
