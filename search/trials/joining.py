"""Joining: a study and the bench to work on it with, opened on this machine.

A recipe or a study in, a bench out whose ingredients, prompts and baseline are, by their hashes,
what the study is bound to. Knows the study's folder; nothing of trials.
"""

from dataclasses import replace
from pathlib import Path

from harness.waves import Task
from search.errors import StudyError
from search.fisher.overlap import check_overlap
from search.prepare import prepare
from search.recipe import Recipe
from search.study.artifacts import artifacts_at
from search.study.fingerprint import Parts, changes, parts_of, told
from search.study.objective import constraints_of, parse_objectives
from search.study.study import Study
from search.trials.bench import Bench, tasks_of_recipe


def make_bench(recipe: Recipe, folder: Path, *, ifeval_data: Path | None = None) -> Bench:
    """A bench for a recipe: ingredients open, baseline there, prompts read.

    Args:
        recipe: The study's.
        folder: The study's on this machine.
        ifeval_data: A local copy of IFEval.

    Raises:
        WeighinError: Something that the recipe names is not in order.
    """
    objectives, constraints = parse_objectives(recipe.search.maximize), constraints_of(recipe)
    tasks = tasks_of_recipe(recipe, ifeval_data)
    held_back: tuple[Task, ...] = ()
    if recipe.evaluate.confirm:
        held_back = tasks_of_recipe(recipe, ifeval_data, "confirm")
    for asked in (tasks, held_back):
        check_overlap(recipe, [task.prompts for task in asked])
    ready = prepare(recipe)
    return Bench(ready, tasks, folder, objectives, constraints, held_back=held_back)


def bench_parts(bench: Bench) -> Parts:
    """What a study on this bench is bound to."""
    return parts_of(bench.ready, bench.tasks, bench.settings)


def attach(bench: Bench, study: Study) -> Bench:
    """The bench with the place that the study's runs are kept in."""
    return replace(bench, artifacts=artifacts_at(study.record.artifacts, bench.folder))


def open_bench(
    study: Study, folder: Path, *, recipe: Recipe | None = None, ifeval_data: Path | None = None
) -> Bench:
    """A bench for a study that exists.

    Args:
        study: The study.
        folder: Its folder on this machine.
        recipe: This machine's own, where files lie elsewhere than on the one that made the study.
        ifeval_data: A local copy of IFEval; by default the one that the study was made with.

    Raises:
        StudyError: An ingredient, prompt or setting here is not the study's; it is named.
    """
    data = ifeval_data
    if data is None and study.record.ifeval_data is not None:
        data = Path(study.record.ifeval_data)
    bench = make_bench(recipe or study.recipe, folder, ifeval_data=data)
    found = changes(study.record.parts, bench_parts(bench))
    if found:
        raise StudyError(
            f"study {study.name} cannot be joined from here: {told(found)}; bring the study's own "
            "files, or name them with --recipe"
        )
    return attach(bench, study)
