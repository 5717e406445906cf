"""Subject: a run under the name by which a report speaks of it.

A run's folder may be called by a hash; a reader is told "trial 12". Comparisons are renamed with
their runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.comparison.compare import compare_in_detail
from harness.comparison.records import Comparison
from harness.report.verdict import by_favour
from harness.runs import Run


@dataclass(frozen=True)
class Subject:
    """One run of a report."""

    run: Run
    name: str


@dataclass(frozen=True)
class Matter:
    """What a report on runs is about."""

    baseline: Subject
    candidates: tuple[Subject, ...]
    comparisons: tuple[Comparison, ...]
    """One a candidate, in their order, under the subjects' names."""

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The baseline and its candidates."""
        return (self.baseline, *self.candidates)

    @property
    def names(self) -> list[str]:
        """Theirs."""
        return [subject.name for subject in self.subjects]


def matter_of(baseline: Subject, candidates: Sequence[Subject], *, sort: bool = True) -> Matter:
    """Compare candidates with a baseline, under the names that a reader is told.

    Args:
        baseline: The run to compare with.
        candidates: Scored runs of the same prompts; none is a report on one run.
        sort: Whether the candidate that did best comes first.

    Raises:
        PairingError, RunError: As `compare_in_detail`.
    """
    if not candidates:
        return Matter(baseline, (), ())
    compared = compare_in_detail(baseline.run, [subject.run for subject in candidates])
    comparisons = [
        comparison.model_copy(update={"baseline": baseline.name, "candidate": subject.name})
        for comparison, subject in zip(compared.comparisons, candidates, strict=True)
    ]
    order = by_favour(comparisons) if sort else range(len(comparisons))
    return Matter(
        baseline,
        tuple(candidates[index] for index in order),
        tuple(comparisons[index] for index in order),
    )
