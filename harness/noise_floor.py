"""The noise floor of a run: how far each figure moves between two schedules of the same file.

A run's folder in, one number a metric out; knows where `weighin noise` keeps what it found, not how
it is measured.
"""

from collections.abc import Mapping

from harness.comparison.records import Comparison
from harness.runs import ASKED, Record, Run, read_record

KEPT = "noise.json"
"""File of the folder that `weighin noise` writes."""
SUFFIX = "-noise"
"""What that folder's name has behind the run's."""
AS_LISTED = "as-listed"
SHUFFLED = "shuffled"
"""The two runs in it."""


class Noise(Record):
    """`noise.json`: two runs of one file under two orders of the prompts."""

    n_completions: int
    n_texts_moved: int
    """Completions that are not the same to the byte."""
    n_scores_moved: int
    """Completions with any figure changed."""
    comparison: Comparison
    """The two runs, metric by metric; the differences are noise."""


def noise_floor(run: Run) -> Mapping[str, float]:
    """How far each metric moved between two schedules, without its sign.

    Args:
        run: Its noise lies beside it, in the folder of its name with `-noise` behind it.

    Returns:
        Nothing where nobody measured, or on another file or other prompts.

    Raises:
        RunError: What is kept there is broken.
    """
    folder = run.folder.resolve().with_name(run.folder.resolve().name + SUFFIX)
    if not (folder / KEPT).is_file() or not (folder / AS_LISTED / "run.json").is_file():
        return {}
    own, measured = run.header(), Run(folder / AS_LISTED).header()
    if own.model.sha256 != measured.model.sha256 or own.differences(measured, ASKED):
        return {}
    found = read_record(Noise, folder / KEPT).comparison.by_metric()
    return {
        name: abs(row.difference.value)
        for name, row in found.items()
        if row.difference.value is not None
    }
