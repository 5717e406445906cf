"""Objectives and constraints: read from text, computed from a comparison."""

import pytest

from harness.comparison.records import Comparison, Difference
from metrics.stats import Estimate
from search.errors import RecipeError
from search.recipe import Recipe
from search.study.objective import (
    DEFAULT_CONSTRAINT,
    Objective,
    constraints_of,
    find,
    match_metric,
    nondominated,
    parse_constraint,
    parse_objectives,
)


def estimate(value: float | None) -> Estimate:
    return Estimate(value=value, low=None, high=None, n=10)


def row(metric: str, before: float, after: float | None) -> Difference:
    moved = None if after is None else after - before
    return Difference(
        metric=metric,
        baseline=estimate(before),
        candidate=estimate(after),
        difference=estimate(moved),
        p_value=None,
        smallest=None,
    )


COMPARISON = Comparison(
    baseline="base",
    candidate="cand",
    n_pairs=10,
    differences=(
        row("ifeval.prompt_level_strict_acc", 0.8, 0.77),
        row("prose.H", 50.0, 53.5),
        row("prose.slop", 20.0, 15.0),
        row("prose.rep3g", 3.0, None),
    ),
)


def test_h_delta_is_the_difference_of_the_prose_task() -> None:
    assert Objective("h_delta").value(COMPARISON) == pytest.approx(3.5)
    assert Objective("prose.h_delta").value(COMPARISON) == pytest.approx(3.5)


def test_another_metric_is_the_candidates_own_value() -> None:
    assert Objective("prose.slop").value(COMPARISON) == 15.0


def test_a_minus_asks_for_less() -> None:
    assert parse_objectives("h_delta") == (Objective("h_delta"),)
    assert parse_objectives(["h_delta", "-prose.slop"])[1] == Objective("prose.slop", "minimize")


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        # 0.77 - 0.80 = -0.03: 0.02 more than the 0.01 that is allowed
        ("ifeval.prompt_level_strict_acc >= baseline - 0.01", 0.02),
        ("ifeval.prompt_level_strict_acc >= baseline - 0.05", -0.02),
        ("ifeval.prompt_level_strict_acc>=baseline", 0.03),
        ("ifeval.prompt_level_strict_acc >= 0.75", -0.02),
        ("prose.slop <= baseline", -5.0),
        ("prose.slop <= baseline - 6", 1.0),
        ("prose.slop <= 10", 5.0),
        ("h_delta >= baseline + 4", 0.5),
    ],
)
def test_violation_is_the_distance_beyond_the_bound(text: str, violation: float) -> None:
    assert parse_constraint(text).violation(COMPARISON) == pytest.approx(violation)


@pytest.mark.parametrize(
    "text",
    ["", "prose.slop", "prose.slop > 3", "prose.slop >= baseline * 2", "a >= b", "a >= 1.2.3"],
)
def test_a_constraint_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(RecipeError, match="expected METRIC >= baseline - NUMBER"):
        parse_constraint(text)


def test_an_unknown_metric_gets_a_hint() -> None:
    with pytest.raises(RecipeError, match=r"did you mean prose\.slop"):
        find(COMPARISON, "prose.slopp")


def test_an_undefined_figure_is_no_objective() -> None:
    with pytest.raises(RecipeError, match="undefined"):
        Objective("prose.rep3g").value(COMPARISON)


def test_a_limit_that_is_just_kept_is_kept() -> None:
    # 0.39 - 0.40 is -0.010000000000000009
    just = COMPARISON.model_copy(update={"differences": (row("ifeval.strict", 0.40, 0.39),)})
    assert parse_constraint("ifeval.strict >= baseline - 0.01").violation(just) == 0


def wanting(tasks: list[str], **search: object) -> Recipe:
    return Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a"],
            "search": search,
            "evaluate": {"tasks": {name: {} for name in tasks}},
        }
    )


def test_ifeval_is_guarded_unless_something_is_said() -> None:
    assert [c.text for c in constraints_of(wanting(["ifeval", "prose"]))] == [DEFAULT_CONSTRAINT]
    assert constraints_of(wanting(["mini", "prose"])) == ()
    assert constraints_of(wanting(["ifeval"], subject_to=[])) == ()
    (own,) = constraints_of(wanting(["ifeval"], subject_to=["prose.slop <= baseline"]))
    assert own.metric == "prose.slop"


def test_a_front_by_hand() -> None:
    objectives = parse_objectives(["h_delta", "-prose.slop"])
    points = [(1.0, 5.0), (2.0, 5.0), (2.0, 9.0), (0.0, 1.0), (2.0, 5.0)]
    # more H and less slop; equal points both count
    assert nondominated(points, objectives) == [1, 3, 4]
    assert nondominated([], objectives) == []


def test_a_metric_may_leave_its_task_out_where_one_has_it() -> None:
    names = ["prose.H", "tales.slop", "prose.slop"]
    assert match_metric("H", names) == "prose.H"
    assert match_metric("tales.slop", names) == "tales.slop"
    assert match_metric("slop", names) is None
