"""The frame of a study's trials: documented columns and types, and what the study itself says."""

from pathlib import Path

import pandas as pd

from search.errors import BuildError
from search.frames import TRIAL_COLUMNS, trials
from search.study.study import default_url, load_study
from search.trials.work import Assignment

from .formula import LIMIT, Formula, finished, opened, worked


def test_trials_have_their_numbers_values_and_violations(tmp_path: Path) -> None:
    rows = finished(tmp_path, 5)
    frame = trials("demo", default_url(tmp_path))
    assert list(frame.columns) == [*TRIAL_COLUMNS, "s", "alpha", "h_delta", LIMIT]
    types = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert types == dict(TRIAL_COLUMNS) | dict.fromkeys(("s", "alpha", "h_delta", LIMIT), "Float64")
    assert list(frame["number"]) == [row.number for row in rows]
    for name in ("s", "alpha"):
        assert list(frame[name]) == [row.params[name] for row in rows]
    assert [(value,) for value in frame["h_delta"]] == [row.values for row in rows]
    assert list(frame[LIMIT]) == [row.violations[LIMIT] for row in rows]
    best = load_study("demo", default_url(tmp_path)).best()
    assert best is not None
    assert list(frame[frame["best"]]["number"]) == [best.number]


def test_a_failed_trial_has_its_reason_and_no_values(tmp_path: Path) -> None:
    def flaky(given: Assignment) -> None:
        if given.number == 1:
            raise BuildError("no room")

    study = opened(tmp_path, 3)
    worked(study, Formula(flaky))
    failed = trials("demo", default_url(tmp_path)).set_index("number").loc[1]
    assert (failed["state"], failed["error"]) == ("fail", "no room")
    assert pd.isna(failed["h_delta"])
    assert not failed["feasible"]
