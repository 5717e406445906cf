"""What a study's table, JSON and sums say, on a study that the real loop worked on."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console

from harness.runs import Usage
from search.board.board import ended_early_lines, front_lines, study_json, study_table, verdict
from search.board.shelf import Shelf
from search.board.spending import Cost, Spending, duration, reckon, spending_of
from search.study.study import Study, TrialRow, load_study
from search.trials.claims import Claims

from .formula import QUICK, opened
from .studies import POINTS, WHY_FAILED, WHY_STOPPED, make_study, write_run
from .test_study import elsewhere


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The scripted study, all five trials ended; not to be changed."""
    return make_study(tmp_path_factory.mktemp("board") / "demo")


def shelf_of(study: Study) -> Shelf:
    return Shelf(study, Path(study.url.removeprefix("sqlite:///")).parent)


def printed(study: Study, shelf: Shelf) -> list[list[str]]:
    """The table's body as a terminal without colours shows it, cell by cell."""
    console = Console(file=io.StringIO(), width=160)
    console.print(study_table(study, shelf))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]


def test_the_table_holds_every_trial_with_its_runs_figures(study: Study) -> None:
    baseline, *rows = printed(study, shelf_of(study))
    assert baseline[:4] == ["", "baseline", "-", "-"]
    # 5 - 10 (s - 0.6)^2, and what each came to
    assert [(row[0], row[1], row[2], row[3], row[-1]) for row in rows] == [
        ("", "0", "0.100", "+2.50", "yes"),
        ("*", "1", "0.300", "+4.10", "yes"),
        ("", "2", "0.500", "~+4.90", "stopped"),
        ("", "3", "0.700", "-", "failed"),
        ("", "4", "0.900", "+4.10", "no"),
    ]
    # three of five answers of the baseline follow their instructions, and so do two or three there
    assert baseline[4] == figure_of(study, None)
    assert rows[1][4] == figure_of(study, 1)
    assert rows[1][4] != baseline[4]
    assert set(rows[2][4:-1]) == {"-"}, "a stopped trial has no figures of its own"


def figure_of(study: Study, number: int | None) -> str:
    shelf = shelf_of(study)
    told = shelf.baseline() if number is None else shelf.of(study.rows()[number])
    assert told is not None
    value = told.metrics["asked.prompt_level_strict_acc"].value
    assert value is not None
    return f"{100 * value:.2f}"


def test_the_json_has_all_of_it(study: Study) -> None:
    told = json.loads(json.dumps(study_json(study, shelf_of(study)), allow_nan=False))
    assert [trial["state"] for trial in told["trials"]] == [
        "complete",
        "complete",
        "complete",
        "fail",
        "complete",
    ]
    stopped, failed = told["trials"][2:4]
    assert (stopped["stopped"], stopped["n_tokens"], stopped["metrics"]) == (WHY_STOPPED, 400, {})
    assert (failed["failure"], failed["error"]) == ("build", WHY_FAILED)
    assert told["trials"][1]["metrics"].keys() == told["baseline"]["metrics"].keys()
    assert told["leaders"] == [1]
    assert told["best"]["number"] == 1
    assert told["spending"]["n_trials_left"] == 0
    assert told["n_trials"] == 5


def test_reasons_are_told_of_the_stopped_and_the_failed(study: Study) -> None:
    assert ended_early_lines(study) == [
        f"trial 2 was stopped: {WHY_STOPPED}",
        f"trial 3 failed (build): {WHY_FAILED}",
    ]


def test_the_verdict_names_the_leader_and_its_file(study: Study) -> None:
    said = verdict(study, shelf_of(study)).splitlines()
    assert said[0] == "best build: trial 1 (s=0.300), h_delta +4.10"
    assert said[1].endswith("/demo/builds/s0.3.gguf")
    assert said[2] == "SHA-256 " + "0" * 64


def test_before_a_trial_has_ended_there_is_no_verdict(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert verdict(study, Shelf(study, tmp_path)) == "no trial has ended yet"
    assert printed(study, Shelf(study, tmp_path)) == [["", "baseline", "-", "-", "-", "-"]]
    assert study_json(study, Shelf(study, tmp_path))["baseline"]["sha256"] is None


def test_with_several_objectives_the_front_is_told(tmp_path: Path) -> None:
    study = opened(
        tmp_path,
        space={"s": {"choices": POINTS}},
        maximize=["h_delta", "-prose.slop"],
        subject_to=[],
    )
    # the second is to be small: 1 is beaten by 0 in both, 2 pays for its gain
    for s, values in zip(POINTS, [(2.0, 3.0), (1.0, 4.0), (5.0, 6.0)], strict=False):
        study.optuna_study().add_trial(
            optuna.trial.create_trial(
                params={"s": s},
                distributions={"s": optuna.distributions.CategoricalDistribution(POINTS)},
                values=values,
                user_attrs={"numbers": {"s": s}, "build": f"s{s}", "sha256": "0" * 64},
            )
        )
    assert front_lines(study) == [
        "front, where none is better than another in every objective:",
        "  trial 2: h_delta +5.00, prose.slop 6.00",
        "  trial 0: h_delta +2.00, prose.slop 3.00",
    ]
    marks = [row[0] for row in printed(study, Shelf(study, tmp_path))]
    assert marks == ["", "*", "", "*"]
    assert study_json(study, Shelf(study, tmp_path))["leaders"] == [2, 0]


# Where the runs lie


def test_a_folder_that_was_moved_is_read_where_it_is(tmp_path: Path) -> None:
    made = make_study(tmp_path / "before")
    seen = printed(made, shelf_of(made))
    (tmp_path / "before").rename(tmp_path / "after")
    moved = load_study(tmp_path / "after")
    assert printed(moved, shelf_of(moved)) == seen


def test_runs_that_lie_in_the_store_alone_are_read_there_and_left_there(tmp_path: Path) -> None:
    made = make_study(tmp_path / "demo")
    seen = printed(made, shelf_of(made))
    for name in ("runs", "baseline"):
        shutil.rmtree(tmp_path / "demo" / name)
    assert printed(made, shelf_of(made)) == seen
    assert not (tmp_path / "demo" / "runs").exists()


def test_where_the_store_is_lost_the_trials_are_still_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_study(tmp_path / "demo")
    for name in ("runs", "artifacts"):
        shutil.rmtree(tmp_path / "demo" / name)
    baseline, *rows = printed(made, shelf_of(made))
    assert baseline[4] != "-"
    assert [row[3] for row in rows] == ["+2.50", "+4.10", "~+4.90", "-", "+4.10"]
    assert {cell for row in rows for cell in row[4:-1]} == {"-"}
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("figures of runs that are not here are left out: ")


# What it cost, and what is left


def test_what_was_spent_is_every_run_that_was_begun(study: Study) -> None:
    spending = spending_of(study, shelf_of(study))
    # the baseline, three whole trials, the stopped one, and what the failed one had generated
    assert spending.spent == Cost(800 + 3 * 1000 + 400 + 300, 40 + 3 * 60 + 25 + 20)
    assert spending.left == Cost(0, 0)
    assert spending.lines() == (
        "spent: 4,500 tokens, 4 min",
        "left: nothing, every trial has ended",
    )


def test_what_is_left_is_the_mean_of_the_weighed_for_each_that_has_not_ended(
    tmp_path: Path,
) -> None:
    make_study(tmp_path / "demo", n=3)
    study = opened(tmp_path / "demo", 5, sampler="grid", space={"s": {"choices": POINTS}})
    spending = spending_of(study, Shelf(study, tmp_path / "demo"))
    assert (spending.n_left, spending.n_running, spending.n_weighed) == (2, 0, 3)
    # (1000 + 1000 + 400) / 3 and (60 + 60 + 25) / 3, twice
    assert spending.left is not None
    assert spending.left.n_tokens == pytest.approx(1600)
    assert spending.left.seconds == pytest.approx(290 / 3)
    assert spending.lines()[1] == (
        "left: about 1,600 tokens, 2 min; 2 trials, by the mean of 3 weighed"
    )


def test_a_trial_in_hand_counts_for_what_it_has_generated(tmp_path: Path) -> None:
    make_study(tmp_path / "demo", n=2)
    study = opened(tmp_path / "demo", 5, sampler="grid", space={"s": {"choices": POINTS}})
    claim = Claims(study, elsewhere("a"), QUICK).next()
    assert claim is not None
    claim.job.set("build", "s0.5")
    write_run(tmp_path / "demo" / "runs" / "s0.5-asked", Usage(n_tokens=300, seconds=12.0))
    spending = spending_of(study, Shelf(study, tmp_path / "demo"))
    assert spending.spent == Cost(800 + 2 * 1000 + 300, 40 + 2 * 60 + 12)
    # two of 1000 are to come, and 700 of the one in hand
    assert spending.left == Cost(2 * 1000 + 700, 2 * 60 + 48)
    assert (spending.n_left, spending.n_running) == (3, 1)


def row(number: int, state: str = "complete", **given: Any) -> TrialRow:
    """A trial's row; what is not given does not matter here."""
    plain: dict[str, Any] = dict.fromkeys(TrialRow.__dataclass_fields__)
    return TrialRow(
        **{
            **plain,
            "number": number,
            "state": state,
            "build": f"b{number}",
            "run": f"b{number}-q",
            "n_tokens": 0,
            "seconds": 0.0,
            **given,
        }
    )


def test_the_baselines_own_point_is_no_measure_of_a_trial() -> None:
    rows = [row(0, n_tokens=100, seconds=10.0), row(1, build="baseline", run="baseline")]
    found = reckon(rows, n_claimable=4, beside=Cost(50, 5), begun={})
    assert found == Spending(
        spent=Cost(150, 15), left=Cost(200, 20), n_left=2, n_running=0, n_weighed=1
    )


def test_repeats_and_screened_trials_are_counted_for_what_they_are() -> None:
    rows = [
        row(0, n_tokens=100, seconds=10.0),
        # turned away before it generated anything: the build took 2 s
        row(1, "pruned", run=None, seconds=2.0),
        row(2, "fail", run=None, build="b0", repeats=0),
    ]
    # a repeat makes room for one more, so 5 of the budget and it
    found = reckon(rows, n_claimable=6, beside=Cost(), begun={"b0": Cost(100, 10)})
    assert found.spent == Cost(100, 12), "the run of a build that was weighed counts once"
    assert (found.n_left, found.left) == (3, Cost(150, 18))


def test_several_workers_share_the_time_that_is_left() -> None:
    rows = [row(0, n_tokens=100, seconds=3600.0), row(1, "running"), row(2, "running")]
    found = reckon(rows, n_claimable=5, beside=Cost(), begun={"b2": Cost(150, 4000)})
    # two are not begun, of one in hand nothing is known, one is beyond the mean already
    assert found.left == Cost(300, 3 * 3600)
    assert found.lines()[1] == (
        "left: about 300 tokens, 3 h 0 min, 1 h 30 min by 2 at once; 4 trials, by the mean of "
        "1 weighed"
    )


def test_before_a_trial_has_ended_nothing_is_estimated() -> None:
    found = reckon([row(0, "running")], n_claimable=3, beside=Cost(5, 1), begun={})
    assert found.left is None
    assert found.lines() == (
        "spent: 5 tokens, 1 s",
        "left: 3 trials; what one costs is known when one has ended",
    )
    assert found.to_json()["left"] is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3571, "1 h 0 min"),
        (12_000, "3 h 20 min"),
        (86_399, "1 d 0 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_store_named_from_another_folder_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert opened(tmp_path / "a", artifacts="kept").record.artifacts == str(tmp_path / "kept")
    bucket = opened(tmp_path / "b", artifacts="s3://runs").record.artifacts
    assert bucket == "s3://runs"
