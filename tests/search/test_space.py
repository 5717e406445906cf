"""The space: what is proposed, in which words, and what is tried first."""

import math
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import RecipeError
from search.proposing.samplers import check_sampler, sampler_for, trial_seed
from search.proposing.space import (
    NUMBERS_KEY,
    first_points,
    fresh_point,
    grid_points,
    is_baseline_point,
    suggest,
)
from search.recipe import Recipe

SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "random")


def recipe(space: dict[str, Any], merge: dict[str, Any] | None = None, **search: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a", {"path": "b", "weight": 0.25}],
            "fisher": "fisher.safetensors",
            "subspace": "subspace.safetensors",
            "heal": {"adapter": "h", "mask": {"mode": "project"}},
            "merge": merge or {"s": 0.3, "alpha": 0.3, "rank": 256},
            "search": {"space": space, **search},
        }
    )


EVERYTHING = {
    "s": [0.0, 1.0],
    "alpha": [0.0, 0.6],
    "rank": {"choices": [0, 64, 256]},
    "strength": {"low": 0, "high": 1, "when": {"rank": [64, 256]}},
    "s.first": [0.0, 1.0],
    "weight.b": [-0.5, 1.5],
    "density": {"low": 0.01, "high": 1.0, "log": True},
    "fisher.transform": {"choices": ["minmax", "rank", "log"]},
}


def proposed(found: Recipe, n: int) -> tuple[optuna.Study, list[dict[str, Any]]]:
    """A study of n trials whose value falls with the distance of s from 0.7."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    points = []
    for number in range(n):
        study.sampler = sampler_for(found.search, number)
        trial = study.ask()
        point = suggest(trial, found)
        points.append(point)
        trial.set_constraint("kept", float(point["alpha"]) - 0.5)
        study.tell(trial, -((float(point["s"]) - 0.7) ** 2))
    return study, points


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_proposes_every_kind_of_number(name: str) -> None:
    found = recipe(EVERYTHING, sampler=name)
    study, points = proposed(found, 16)
    for trial, point in zip(study.trials, points, strict=True):
        assert trial.user_attrs[NUMBERS_KEY] == point
        assert set(EVERYTHING) - set(point) == ({"strength"} if point["rank"] == 0 else set())
        assert point["s"] == round(float(point["s"]), 3)
        density = float(point["density"])
        assert density == float(f"{density:.3g}") and 0.01 <= density <= 1
        assert type(point["rank"]) is int
    # a study made again proposes the same
    assert proposed(found, 16)[1] == points


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2"])
def test_samplers_learn_from_values_and_constraints(name: str) -> None:
    late = []
    for seed in range(1 if name == "gp" else 8):
        found = recipe({"s": [0.0, 1.0], "alpha": [0.0, 0.6]}, sampler=name, seed=seed)
        late += proposed(found, 40)[1][20:]
    # drawn evenly, s would be 0.29 from 0.7 on average, and one alpha in six above 0.5
    assert sum(abs(float(p["s"]) - 0.7) for p in late) / len(late) < 0.24
    assert sum(float(p["alpha"]) > 0.5 for p in late) / len(late) < 0.14


def test_seeds_differ_by_study_and_by_trial() -> None:
    assert len({trial_seed(seed, number) for seed in range(20) for number in range(20)}) == 400


def test_cmaes_wants_two_ranges_and_one_objective() -> None:
    one = recipe({"s": [0.0, 1.0], "rank": {"choices": [0, 64]}}, sampler="cmaes").search
    with pytest.raises(RecipeError, match="found 1 such ranges; take tpe"):
        check_sampler(one, 1)
    two = recipe({"s": [0.0, 1.0], "alpha": [0.0, 0.5]}, sampler="cmaes").search
    check_sampler(two, 1)
    with pytest.raises(RecipeError, match="found 2 objectives"):
        check_sampler(two, 2)


def test_the_recipes_point_and_the_baseline_come_first() -> None:
    assert first_points(recipe(EVERYTHING, {"s": 0.3, "alpha": 0.3, "rank": 64})) == [
        {
            "s": 0.3,
            "alpha": 0.3,
            "rank": 64,
            "strength": 1.0,
            "s.first": 0.3,
            "weight.b": 0.25,
            "density": 1.0,
            "fisher.transform": "minmax",
        },
        {
            "s": 0.0,
            "alpha": 0.0,
            "rank": 64,
            "strength": 1.0,
            "s.first": 0.0,
            "weight.b": 0.25,
            "density": 1.0,
            "fisher.transform": "minmax",
        },
    ]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        # alpha is not searched and is 0.3 in the recipe: the baseline is no point of this space
        ({"s": [0.0, 1.0]}, [{"s": 0.3}]),
        ({"s": [0.1, 1.0], "alpha": [0.0, 0.5]}, [{"s": 0.3, "alpha": 0.3}]),
        ({"s": [0.0, 0.2], "alpha": [0.0, 0.5]}, [{"s": 0.0, "alpha": 0.0}]),
        ({"s": [0.5, 1.0]}, []),
        ({"rank": {"choices": [0, 64]}}, []),
    ],
)
def test_points_outside_the_space_are_left_out(
    space: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    assert first_points(recipe(space)) == expected


def test_a_point_without_scale_and_alpha_is_the_baseline() -> None:
    found = recipe(EVERYTHING)
    assert is_baseline_point(found, {"s": 0, "alpha": 0.0, "rank": 64})
    assert not is_baseline_point(found, {"s": 0, "alpha": 0.001})
    assert not is_baseline_point(found, {"s": 0.0, "s.last": 0.1, "alpha": 0.0})


def test_a_grid_knows_steps_and_conditions() -> None:
    space = {
        "rank": {"choices": [0, 64]},
        "s": {"low": 0.1, "high": 0.45, "step": 0.1, "when": {"rank": 64}},
    }
    assert grid_points(recipe(space)) == [
        {"rank": 0},
        *({"rank": 64, "s": s} for s in (0.1, 0.2, 0.3, 0.4)),
    ]


def test_steps_are_proposed_by_their_plain_names() -> None:
    space = {
        "s": {"low": 0.1, "high": 0.45, "step": 0.1},
        "alpha": {"low": 0, "high": 0.6, "step": 0.1},
    }
    _, points = proposed(recipe(space), 60)
    assert {p["s"] for p in points} == {0.1, 0.2, 0.3, 0.4}
    assert {p["alpha"] for p in points} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}


def test_conditions_must_name_choices_that_stand_before() -> None:
    with pytest.raises(ValueError, match="when rank: expected choices that stand before it"):
        recipe({"s": {"low": 0, "high": 1, "when": {"rank": 64}}, "rank": {"choices": [0, 64]}})
    with pytest.raises(ValueError, match="rank is never 65"):
        recipe({"rank": {"choices": [0, 64]}, "s": {"low": 0, "high": 1, "when": {"rank": 65}}})


def test_logarithms_want_positive_numbers_without_steps() -> None:
    with pytest.raises(ValueError, match="log needs a low above 0"):
        recipe({"s": {"low": 0, "high": 1, "log": True}})


@given(seed=st.integers(0, 2**32 - 1))
def test_a_fresh_point_lies_in_the_space_and_is_new(seed: int) -> None:
    found = recipe(EVERYTHING)
    point = fresh_point(found, lambda p: float(p["s"]) < 0.5, seed)
    assert point is not None
    assert 0.5 <= float(point["s"]) <= 1.0
    assert 0.01 <= float(point["density"]) <= 1.0
    assert ("strength" in point) == (point["rank"] != 0)
    assert point == fresh_point(found, lambda p: float(p["s"]) < 0.5, seed)


def test_a_used_up_space_has_no_fresh_point() -> None:
    found = recipe({"rank": {"choices": [0, 64, 128]}})
    known = [{"rank": 0}, {"rank": 128}]
    assert fresh_point(found, lambda point: point in known, 7) == {"rank": 64}
    assert fresh_point(found, lambda _: True, 7) is None


def test_small_numbers_are_drawn_as_often_as_large_ones_on_a_logarithmic_range() -> None:
    found = recipe({"density": {"low": 0.01, "high": 1.0, "log": True}})
    drawn = [fresh_point(found, lambda _: False, seed) for seed in range(400)]
    below = sum(float(point["density"]) < 0.1 for point in drawn if point is not None)
    assert math.isclose(below / 400, 0.5, abs_tol=0.1)
