"""Data frames: the columns and types that are documented, and the values of the runs behind."""

from pathlib import Path

import pandas as pd
import pytest

from harness import frames
from harness.comparison.compare import compare_in_detail
from harness.runs import Run, RunError

from .made_runs import changed, make_run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder as a study has it: a baseline, and runs in a folder of their own."""
    make_run(tmp_path / "baseline")
    make_run(tmp_path / "runs" / "one", changed(p0="a, comma"))
    make_run(tmp_path / "runs" / "two", changed(mill="", dogs=""))
    return tmp_path


def types_of(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


def test_runs_have_a_row_a_figure(study: Path) -> None:
    frame = frames.runs(study)
    assert types_of(frame) == dict(frames.RUN_COLUMNS)
    assert list(frame["run"].unique()) == ["baseline", "runs/one", "runs/two"]
    strict = frame[frame["metric"] == "prompt_level_strict_acc"].set_index("run")
    assert list(strict["value"]) == [0.75, 0.5, 0.75]
    assert list(strict["count"]) == [3, 2, 3]
    assert frame[frame["metric"] == "H"]["count"].isna().all()
    assert len(frame) == 3 * len(Run(study / "baseline").summary().metrics)


def test_a_run_s_own_folder_is_read_too(study: Path) -> None:
    assert set(frames.runs(study / "baseline")["run"]) == {"baseline"}
    assert set(frames.scores(str(study / "baseline"))["run"]) == {"baseline"}


def test_scores_have_a_row_an_answer(study: Path) -> None:
    frame = frames.scores(study)
    assert types_of(frame) == dict(frames.SCORE_COLUMNS)
    assert len(frame) == 3 * 7
    one = frame[frame["run"] == "runs/one"].set_index("prompt_id")
    assert not one.loc["p0", "strict"]
    assert one.loc["p2", "n_instructions"] == 2
    assert pd.isna(one.loc["mill", "strict"])
    assert pd.isna(one.loc["p0", "H"])
    two = frame[frame["run"] == "runs/two"].set_index("prompt_id")
    assert two.loc["mill", "empty"]
    assert two.loc["mill", "H"] == 0
    assert two.loc["mill", "word_count"] == 0
    assert pd.isna(two.loc["mill", "slop"])


def test_comparisons_are_those_of_the_command(study: Path) -> None:
    frame = frames.comparisons(study)
    assert types_of(frame) == dict(frames.COMPARISON_COLUMNS)
    runs = [Run(study / "runs" / name) for name in ("one", "two")]
    found = compare_in_detail(Run(study / "baseline"), runs)
    for name, comparison in zip(("runs/one", "runs/two"), found.comparisons, strict=True):
        own = frame[frame["candidate"] == name]
        rows = [*comparison.differences, *comparison.sanity, *comparison.types]
        assert list(own["task"] + "." + own["metric"]) == [row.metric for row in rows]
        assert [None if pd.isna(v) else v for v in own["difference"]] == [
            row.difference.value for row in rows
        ]
        assert [None if pd.isna(v) else v for v in own["p_holm"]] == [row.p_holm for row in rows]
    slop = frame[frame["metric"] == "slop"].iloc[0]
    assert (slop["better"], slop["kind"]) == ("lower", "metric")
    assert set(frame[frame["metric"] == "empty"]["kind"]) == {"sanity"}
    assert set(frame[frame["metric"] == "strict.punctuation"]["kind"]) == {"type"}


def test_named_candidates_are_compared_with_a_named_baseline(study: Path) -> None:
    frame = frames.comparisons(study / "baseline", [study / "runs" / "one"])
    assert set(frame["candidate"]) == {str(study / "runs" / "one")}
    assert frame["p_holm"].isna().all()


def test_runs_that_were_asked_other_prompts_are_left_out(study: Path) -> None:
    make_run(study / "confirm" / "x", {"told": dict.fromkeys(("mill", "dogs", "rain"), "Rain.")})
    assert set(frames.comparisons(study)["candidate"]) == {"runs/one", "runs/two"}
    assert "confirm/x" in set(frames.runs(study)["run"])


def test_a_folder_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no scored run there"):
        frames.runs(tmp_path)
    make_run(tmp_path / "baseline")
    with pytest.raises(RunError, match="no scored run beside the baseline"):
        frames.comparisons(tmp_path)
