"""The study with Optuna and SQLite for real; only the weighing is a formula."""

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from metrics.errors import WeighinError
from search.errors import DiskFullError, RecipeError, StudyError
from search.interrupt import Interrupt
from search.lease import Owner, Pulse, this_process
from search.recipe import Number, Recipe
from search.study import Study, TrialRow, default_url, load_study, open_study
from search.work import Assignment, Outcome, run_trials

QUICK = Pulse(beat_s=0.05, grace_s=0.3, settle_s=0.02)
LIMIT = "ifeval.prompt_level_strict_acc >= baseline - 0.05"


def recipe(**search: Any) -> Recipe:
    space = {"s": [0.0, 1.0], "alpha": [0.0, 0.6]}
    return Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a"],
            "heal": {"adapter": "h"},
            "merge": {"s": 0.3, "alpha": 0.3},
            "search": {"space": space, "subject_to": [LIMIT], **search},
        }
    )


class Formula:
    """A bench whose builds are points: H peaks at s = 0.6, and IFEval falls by 0.1 s."""

    def __init__(self, then: Callable[[Assignment], None] = lambda _given: None) -> None:
        self.then = then
        self.weighed: list[int] = []

    def build_name(self, numbers: Mapping[str, Number]) -> str:
        return "-".join(f"{name}{value}" for name, value in numbers.items())

    def weigh_trial(self, given: Assignment) -> Outcome:
        self.weighed.append(given.number)
        self.then(given)
        given.check()
        s = float(given.numbers["s"])
        return Outcome(
            values=(5.0 - 10 * (s - 0.6) ** 2,),
            violations={LIMIT: 0.1 * s - 0.05},
            sha256="0" * 64,
            run=given.build,
            n_tokens=100,
        )


def opened(folder: Path, n: int = 6, parts: dict[str, str] | None = None, **search: Any) -> Study:
    folder.mkdir(exist_ok=True)
    return open_study(
        recipe(**search),
        name="demo",
        storage=default_url(folder),
        parts=parts or {"it": "sha256 " + "1" * 64},
        n_trials=n,
        default_storage=True,
    )


def worked(
    study: Study, bench: Formula | None = None, *, me: Owner | None = None
) -> list[TrialRow]:
    with Interrupt() as interrupt:
        return list(
            run_trials(
                study,
                bench or Formula(),
                me=me or this_process(),
                interrupt=interrupt,
                pulse=QUICK,
            )
        )


def finished(folder: Path, n: int, **search: Any) -> list[TrialRow]:
    study = opened(folder, n, **search)
    worked(study)
    return study.rows()


def test_the_recipes_own_point_comes_first_then_the_baselines(tmp_path: Path) -> None:
    first, second = finished(tmp_path, 2)
    assert first.params == {"s": 0.3, "alpha": 0.3}
    assert second.params == {"s": 0.0, "alpha": 0.0}


def test_more_trials_continue_the_same_study(tmp_path: Path) -> None:
    few = finished(tmp_path, 3)
    more = finished(tmp_path, 6)
    assert more[:3] == few
    assert [r.number for r in more] == list(range(6))
    assert finished(tmp_path, 6) == more


class Killed(BaseException):
    """Stands for a process that ends in the middle of a trial."""


def dead_process() -> Owner:
    """An owner on this machine whose process is no more."""
    return this_process().model_copy(update={"id": "dead", "pid": 2**22 + 1})


@pytest.mark.parametrize("stop_at", [0, 2, 4])
def test_a_stopped_study_goes_on_under_the_trials_own_number(tmp_path: Path, stop_at: int) -> None:
    def kill(given: Assignment) -> None:
        if given.number == stop_at:
            raise Killed

    study = opened(tmp_path / "stopped")
    with pytest.raises(Killed):
        worked(study, Formula(kill), me=dead_process())
    assert study.rows()[stop_at].state == "running"
    assert finished(tmp_path / "stopped", 6) == finished(tmp_path / "whole", 6)
