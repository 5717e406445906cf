"""Check report: what became of a candidate, as a record.

The data that a check's lines, JUnit, Markdown and JSON are made of; knows nothing of how it came
about.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from harness.comparison.records import Comparison, RunFacts
from harness.gates.gates import Verdict
from harness.runs import Record

Outcome = Literal["kept", "broken", "undecided"]

EXIT_CODES: Mapping[Outcome, int] = {"kept": 0, "broken": 1, "undecided": 2}


class CheckReport(Record):
    """One candidate against one baseline's run."""

    schema_version: int = 1
    outcome: Outcome
    """kept: every gate is; broken: at least one is; undecided: none is broken, but one cannot be
    judged."""
    candidate: str
    """Its GGUF's file name, or its run's."""
    candidate_sha256: str
    """Of the GGUF."""
    baseline: RunFacts
    run: str | None
    """Folder of the candidate's run, which may be unfinished; None where none was begun."""
    n_answers: int
    """Answers of the candidate that were judged."""
    n_answers_all: int
    """Answers that the baseline has."""
    verdicts: tuple[Verdict, ...]
    """The broken ones first, otherwise in the order of the gates."""
    comparison: Comparison | None = None
    """Of the whole runs; None where the check ended before the last answer."""

    @property
    def exit_code(self) -> int:
        """0 kept, 1 broken, 2 undecided."""
        return EXIT_CODES[self.outcome]


def outcome_of(verdicts: Iterable[Verdict]) -> Outcome:
    """What verdicts come to together; skipped ones say nothing."""
    found = {verdict.status for verdict in verdicts}
    if "broken" in found:
        return "broken"
    return "undecided" if "undecided" in found else "kept"


def broken_first(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Verdicts with the broken ones in front, otherwise in their order."""
    return tuple(sorted(verdicts, key=lambda verdict: verdict.status != "broken"))
