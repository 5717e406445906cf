"""Data frames: what the commands show, as tidy pandas frames for a notebook.

A folder in, one frame out: of a run, of several runs under one folder, or of a study. One row is
one figure, one answer or one difference; fractions are fractions, and what is undefined is missing.
The columns and their types are the constants below.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.comparison.directions import better
from harness.comparison.records import Comparison, Difference
from harness.comparison.sanity import Sanity, sanity_of
from harness.runs import ASKED, Run, RunError, Score
from metrics.prose import ProseScore
from metrics.stats import Estimate

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "baseline"
"""Folder of the baseline's run within a study."""

RUN_COLUMNS: Mapping[str, str] = {
    "run": "string",  # path below the folder that was read, or the run's own name
    "file": "string",  # the GGUF's
    "sha256": "string",  # of the GGUF
    "quantization": "string",
    "size_bytes": "Int64",
    "task": "string",
    "metric": "string",  # without the task
    "value": "Float64",
    "low": "Float64",  # 95 % interval
    "high": "Float64",
    "n": "Int64",  # prompts, texts or instructions
    "count": "Int64",  # numerator of a share; missing for other figures
}
"""Of `runs`: one row a run and figure."""

FLAGS: Mapping[str, str] = dict.fromkeys(Sanity.model_fields, "boolean")

PROSE: Mapping[str, str] = {
    name: "Int64" if field.annotation is int else "Float64"
    for name, field in ProseScore.model_fields.items()
}

SCORE_COLUMNS: Mapping[str, str] = {
    "run": "string",
    "task": "string",
    "prompt_id": "string",
    "sample": "Int64",
    "n_tokens": "Int64",  # generated
    "stop_reason": "string",  # eos, stop, length or context
    **FLAGS,  # what went wrong; other_language is missing where the prompt asks for a language
    "strict": "boolean",  # every instruction followed; missing for prose
    "loose": "boolean",
    "n_instructions": "Int64",
    "n_strict": "Int64",  # instructions followed
    "n_loose": "Int64",
    **PROSE,  # the figures of metrics.prose.ProseScore; missing for instructions
}
"""Of `scores`: one row an answer."""

COMPARISON_COLUMNS: Mapping[str, str] = {
    "baseline": "string",
    "candidate": "string",
    "kind": "string",  # metric, sanity or type
    "task": "string",
    "metric": "string",  # without the task
    "better": "string",  # higher or lower; missing where neither is
    **{
        f"{side}_{part}": "Int64" if part == "n" else "Float64"
        for side in ("baseline", "candidate")
        for part in ("value", "low", "high", "n")
    },
    "difference": "Float64",  # candidate minus baseline
    "low": "Float64",  # its 95 % interval
    "high": "Float64",
    "n": "Int64",  # prompts
    "p_value": "Float64",
    "p_holm": "Float64",  # missing for one candidate alone
    "smallest": "Float64",  # the least that could have been shown
    "noise": "Float64",  # missing where nobody measured it
}
"""Of `comparisons`: one row a candidate and figure."""


def runs(folder: Path | str) -> "pd.DataFrame":
    """The figures of every scored run in a folder, or of the run that it is.

    Args:
        folder: A run's folder, or one that has runs somewhere below it, such as a study's.

    Returns:
        RUN_COLUMNS, run by run in the order of their paths.

    Raises:
        RunError: There is no scored run.
    """
    rows = []
    for name, run in _scored(Path(folder)).items():
        header = run.header()
        for metric, estimate in run.summary().metrics.items():
            task, _, short = metric.partition(".")
            rows.append(
                {
                    "run": name,
                    "file": header.model.file,
                    "sha256": header.model.sha256,
                    "quantization": header.model.quantization,
                    "size_bytes": header.model.size_bytes,
                    "task": task,
                    "metric": short,
                    **estimate.model_dump(),
                }
            )
    return frame_of(rows, RUN_COLUMNS)


def scores(folder: Path | str) -> "pd.DataFrame":
    """What every answer scored, of every scored run in a folder, or of the run that it is.

    Args:
        folder: As for `runs`.

    Returns:
        SCORE_COLUMNS, in the order of the runs and of their waves.

    Raises:
        RunError: There is no scored run.
    """
    rows: list[dict[str, Any]] = []
    for name, run in _scored(Path(folder)).items():
        own, said = run.scores(), run.completions()
        flags = sanity_of(run.header(), run.prompt_sets(), said, own)
        for score, completion in zip(own, said, strict=True):
            key = (score.task, score.prompt_id, score.sample)
            rows.append(
                {
                    "run": name,
                    "task": score.task,
                    "prompt_id": score.prompt_id,
                    "sample": score.sample,
                    "n_tokens": completion.n_tokens,
                    "stop_reason": completion.stop_reason,
                    **flags[key].model_dump(),
                    **_figures(score),
                }
            )
    return frame_of(rows, SCORE_COLUMNS)


def comparisons(
    folder: Path | str, candidates: Sequence[Path | str] | None = None
) -> "pd.DataFrame":
    """Every difference of candidates to a baseline, as `weighin compare` gives them.

    Args:
        folder: The baseline's run; or a folder with a run called `baseline` in it, such as a
            study's, all other scored runs of which are candidates where they were asked the same.
        candidates: Folders of the candidates' runs, where `folder` is the baseline's.

    Returns:
        COMPARISON_COLUMNS: metrics, sanity counters and instruction types; p-values are corrected
        over all the candidates.

    Raises:
        RunError: There is no such run.
        PairingError: A named candidate was not asked the same.
    """
    from harness.comparison.compare import compare_in_detail

    place = Path(folder)
    if candidates is not None:
        found = compare_in_detail(Run.open(place), [Run.open(Path(c)) for c in candidates])
        names = [str(c) for c in candidates]
        return frame_of(_rows(str(folder), names, found.comparisons), COMPARISON_COLUMNS)
    baseline = Run.open(place / BASELINE)
    asked = baseline.header()
    others = {
        name: run
        for name, run in _scored(place).items()
        if name != BASELINE and not asked.differences(run.header(), ASKED)
    }
    if not others:
        raise RunError(f"{place}: no scored run beside the baseline's was asked the same")
    found = compare_in_detail(baseline, list(others.values()))
    return frame_of(_rows(BASELINE, list(others), found.comparisons), COMPARISON_COLUMNS)


def _scored(folder: Path) -> dict[str, Run]:
    """Scored runs by their path below the folder; the folder's own run by its name."""
    if (folder / "run.json").is_file():
        return {folder.resolve().name: Run(folder)}
    places = sorted(path.parent for path in folder.rglob("summary.json"))
    found = {
        str(place.relative_to(folder)): Run(place)
        for place in places
        if (place / "run.json").is_file()
    }
    if not found:
        raise RunError(f"{folder}: no scored run there; make one with weighin eval")
    return found


def _figures(score: Score) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if score.ifeval is not None:
        figures |= {
            "strict": score.ifeval.prompt_strict,
            "loose": score.ifeval.prompt_loose,
            "n_instructions": len(score.ifeval.strict),
            "n_strict": sum(score.ifeval.strict),
            "n_loose": sum(score.ifeval.loose),
        }
    return figures if score.prose is None else figures | score.prose.model_dump()


def _rows(baseline: str, names: Sequence[str], found: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [
        {"baseline": baseline, "candidate": name, "kind": kind, **_cells(row)}
        for name, comparison in zip(names, found, strict=True)
        for kind, rows in (
            ("metric", comparison.differences),
            ("sanity", comparison.sanity),
            ("type", comparison.types),
        )
        for row in rows
    ]


def _cells(row: Difference) -> dict[str, Any]:
    task, _, metric = row.metric.partition(".")
    moved = row.difference

    def side(name: str, estimate: Estimate) -> dict[str, Any]:
        parts = ("value", "low", "high", "n")
        return {f"{name}_{part}": getattr(estimate, part) for part in parts}

    return {
        "task": task,
        "metric": metric,
        "better": better(row.metric),
        **side("baseline", row.baseline),
        **side("candidate", row.candidate),
        "difference": moved.value,
        "low": moved.low,
        "high": moved.high,
        "n": moved.n,
        "p_value": row.p_value,
        "p_holm": row.p_holm,
        "smallest": row.smallest,
        "noise": row.noise,
    }


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> "pd.DataFrame":
    """Rows under typed columns; what a row lacks, or has as None, is missing."""
    import pandas as pd

    series = {
        name: pd.Series([row.get(name) for row in rows], dtype=pd.api.types.pandas_dtype(dtype))
        for name, dtype in columns.items()
    }
    return pd.DataFrame(series)
