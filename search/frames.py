"""Data frames of a study's trials, for a notebook; those of its runs are in `harness.frames`.

A study in, one frame out, one row a trial. What every study has is in TRIAL_COLUMNS; behind it come
a column for each number that is searched, under its own name, one for each objective, under its
metric, and one for each constraint, under its text, with how far it is broken.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.frames import frame_of
from search.recipe import Number
from search.study.study import load_study

if TYPE_CHECKING:
    import pandas as pd

TRIAL_COLUMNS: Mapping[str, str] = {
    "number": "Int64",
    "state": "string",  # Optuna's: complete, running, fail or pruned
    "whole": "boolean",  # every answer was given; the values of others are estimates
    "feasible": "boolean",  # every constraint is kept
    "best": "boolean",  # the best feasible whole trial, or one of the front
    "build": "string",  # first digits of the build's hash
    "sha256": "string",  # of the GGUF
    "run": "string",  # the run's folder; harness.frames calls it runs/NAME
    "stopped": "string",  # why it ended before its last answer
    "repeats": "Int64",  # the trial that had the same build before
    "error": "string",  # why it failed
    "n_tokens": "Int64",  # generated for it
    "seconds": "Float64",  # building and generating
    "host": "string",
}
"""Of `trials`, before the study's own numbers, objectives and constraints."""


def trials(place: Path | str, storage: str | None = None) -> "pd.DataFrame":
    """Every trial of a study that was begun, in order.

    Args:
        place: The study's folder, or with `storage` its name.
        storage: Storage URL, where the folder does not name it.

    Raises:
        StudyError: No such study.
        StorageError: The storage cannot be reached.
    """
    study = load_study(place, storage)
    rows = study.rows()
    leaders = {row.number for row in study.leaders()}
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    metrics = [objective.metric for objective in study.objectives]
    texts = [constraint.text for constraint in study.constraints]
    columns = dict(TRIAL_COLUMNS)
    columns |= {name: _type([row.params.get(name) for row in rows]) for name in names}
    columns |= dict.fromkeys((*metrics, *texts), "Float64")
    return frame_of(
        [
            {name: getattr(row, name) for name in TRIAL_COLUMNS if name != "best"}
            | {"best": row.number in leaders}
            | row.params
            | dict(zip(metrics, row.values or [None] * len(metrics), strict=True))
            | row.violations
            for row in rows
        ],
        columns,
    )


def _type(values: Sequence[Number | None]) -> str:
    """The narrowest type that holds a number's values."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, int) for value in given):
        return "Int64"
    return "Float64" if all(isinstance(value, int | float) for value in given) else "string"
