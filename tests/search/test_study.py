"""The study with Optuna and SQLite for real; only the weighing is a formula."""

from pathlib import Path
from typing import Any

import pytest

from harness.runs import Run
from metrics.errors import WeighinError
from search.errors import RecipeError
from search.recipe import Number, Recipe
from search.study import Study, TrialRow, open_study, run_trials
from search.trial import Outcome

from .test_objective import COMPARISON, row


def recipe(**search: Any) -> Recipe:
    space = {"s": [0.0, 1.0], "alpha": [0.0, 0.6]}
    return Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a"],
            "heal": {"adapter": "h"},
            "merge": {"s": 0.3, "alpha": 0.3},
            "search": {
                "space": space,
                "subject_to": ["ifeval.prompt_level_strict_acc >= baseline - 0.05"],
                **search,
            },
        }
    )


def weigh(numbers: dict[str, Number], _number: int) -> Outcome:
    """H peaks at s = 0.6; IFEval falls by 0.1 s."""
    s = float(numbers["s"])
    found = COMPARISON.model_copy(
        update={
            "differences": (
                row("ifeval.prompt_level_strict_acc", 0.8, 0.8 - 0.1 * s),
                row("prose.H", 50.0, 55.0 - 10 * (s - 0.6) ** 2),
            )
        }
    )
    return Outcome("build", "0" * 64, Path("b.gguf"), Run(Path("run")), found)


def opened(folder: Path, fingerprint: str = "f", **search: Any) -> Study:
    return open_study(
        recipe(**search),
        name="demo",
        storage=f"sqlite:///{folder / 'study.db'}",
        fingerprint=fingerprint,
    )


def finished(folder: Path, n: int, **search: Any) -> list[TrialRow]:
    study = opened(folder, **search)
    list(run_trials(study, n, weigh))
    return study.rows()


def test_the_recipes_own_point_comes_first(tmp_path: Path) -> None:
    (first,) = finished(tmp_path, 1)
    assert first.params == {"s": 0.3, "alpha": 0.3}


def test_more_trials_continue_the_same_study(tmp_path: Path) -> None:
    few = finished(tmp_path, 3)
    more = finished(tmp_path, 6)
    assert more[:3] == few
    assert [r.number for r in more] == list(range(6))
    assert finished(tmp_path, 6) == more


@pytest.mark.parametrize("stop_at", [0, 2, 4])
def test_a_stopped_study_proposes_what_an_unstopped_one_does(tmp_path: Path, stop_at: int) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()

    def killed(numbers: dict[str, Number], number: int) -> Outcome:
        if number == stop_at:
            raise KeyboardInterrupt
        return weigh(numbers, number)

    with pytest.raises(KeyboardInterrupt):
        list(run_trials(opened(stopped), 6, killed))
    assert opened(stopped).rows()[stop_at].state == "running"
    assert finished(stopped, 6) == finished(whole, 6)


def test_a_study_killed_before_its_first_number_is_gone_on_with(tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    finished(stopped, 2)
    opened(stopped).optuna.ask()
    assert finished(stopped, 4) == finished(whole, 4)


def test_best_is_the_best_that_keeps_the_constraint(tmp_path: Path) -> None:
    study = opened(tmp_path, space={"s": {"choices": [0.4, 0.6]}}, sampler="grid")
    list(run_trials(study, 2, weigh))
    best = study.best()
    # 0.6 has the higher H but loses 0.06 of the 0.05 that are allowed
    assert best is not None
    assert best.params["s"] == 0.4
    assert sorted(r.feasible for r in study.rows()) == [False, True]


def test_no_best_where_nothing_is_feasible(tmp_path: Path) -> None:
    study = opened(tmp_path, space={"s": {"choices": [0.9]}}, sampler="grid")
    list(run_trials(study, 1, weigh))
    assert study.best() is None


def test_a_failed_trial_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    def flaky(numbers: dict[str, Number], number: int) -> Outcome:
        if number == 1:
            raise WeighinError("out of memory")
        return weigh(numbers, number)

    rows = list(run_trials(opened(tmp_path), 4, flaky))
    assert [r.state for r in rows] == ["complete", "fail", "complete", "complete"]
    assert rows[1].error == "out of memory"


def test_three_failures_in_a_row_stop_the_search(tmp_path: Path) -> None:
    def broken(_numbers: dict[str, Number], _number: int) -> Outcome:
        raise WeighinError("no such file")

    with pytest.raises(WeighinError, match="3 trials failed in a row, the last: no such file"):
        list(run_trials(opened(tmp_path), 9, broken))
    assert len(opened(tmp_path).rows()) == 3


def test_a_study_made_for_something_else_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(RecipeError, match="made for another recipe"):
        opened(tmp_path, fingerprint="g")


def test_a_grid_is_walked_once(tmp_path: Path) -> None:
    space = {"s": {"low": 0, "high": 1, "step": 0.5}, "alpha": {"choices": [0.0, 0.6]}}
    rows = finished(tmp_path, 99, space=space, sampler="grid")
    assert [tuple(r.params.values()) for r in rows] == [
        (s, alpha) for s in (0.0, 0.5, 1.0) for alpha in (0.0, 0.6)
    ]


def test_a_grid_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"search\.space\.s: a grid needs a step"):
        opened(tmp_path, sampler="grid")


def test_an_empty_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing to search"):
        opened(tmp_path, space={})
