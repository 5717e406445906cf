"""Searches replayed on a made-up grid, through the study's own code."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def replay() -> Any:
    """benchmarks/replay.py, which finds its neighbours as a script does."""
    sys.path.insert(0, BENCHMARKS)
    try:
        yield importlib.import_module("replay")
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.fixture(scope="module")
def grid(replay: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.search.synthetic_grid import write_grid

    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder, seed=1, n_ifeval=256, n_prose=128, drop=1.6, fall=40)
    return replay.Grid(folder)


def searched(replay: ModuleType, grid: Any, n_seeds: int, **choices: Any) -> dict[str, Any]:
    bench = replay.Bench(grid, choices.pop("error_rate", 0.2))
    searches = [
        replay.search(bench, seed=seed, n_trials=24, sampler="tpe", **choices)
        for seed in range(n_seeds)
    ]
    figures: dict[str, Any] = replay.report(bench, searches)
    return figures


def test_stopping_trials_saves_most_of_the_tokens(replay: ModuleType, grid: Any) -> None:
    found = searched(replay, grid, 6)
    assert found["share"] < 0.4
    assert found["found"] == 6
    assert found["best_stopped"] == 0


def test_a_search_that_stops_nothing_spends_them_all(replay: ModuleType, grid: Any) -> None:
    found = searched(replay, grid, 2, stops=False)
    assert found["share"] == found["share_worst"] == 1.0
    assert found["whole_runs"] == found["trials"]


def test_the_same_seed_searches_alike(replay: ModuleType, grid: Any) -> None:
    bench = replay.Bench(grid, 0.2)
    first, again = (replay.search(bench, seed=3, n_trials=12, sampler="random") for _ in range(2))
    assert first == again
    assert replay.search(bench, seed=4, n_trials=12, sampler="random") != first


def test_a_record_is_read_as_it_was_written(replay: ModuleType, grid: Any) -> None:
    build = grid.points[5]
    ifeval, prose = importlib.import_module("grid").scores_of(grid.header, build)
    assert [s.ifeval.prompt_strict for s in ifeval] == [d == "1" for d in build.strict["ifeval"]]
    assert [s.prose for s in prose] == list(build.prose["prose"])
    again = importlib.import_module("grid").build_of(
        grid.header, build.numbers, build.sha256, [*prose, *ifeval], _completions(grid, build)
    )
    assert again == build


def _completions(grid: Any, build: Any) -> list[Any]:
    from harness.runs import Completion

    return [
        Completion(
            task=task.settings.name,
            prompt_id=prompt_id,
            sample=sample,
            text="",
            n_prompt_tokens=1,
            n_tokens=build.n_tokens[task.settings.name][index],
            stop_reason="eos",
        )
        for task in grid.header.tasks
        for index, (prompt_id, sample) in enumerate(task.keys)
    ]
