"""What a card tells of a confirmation: the figures of the prompts held back, and what held there.

A study's confirmation in, evidence and a sentence out. Knows where the runs on those prompts lie.
"""

from pathlib import Path

from harness.card.evidence import CardError, Evidence, gather
from harness.report.numerals import p_text
from harness.runs import Run, RunHeader
from search.confirmation.confirmation import (
    FOLDER,
    Candidate,
    Confirmation,
    is_current,
    kept_confirmation,
)
from search.report.trials import value_text
from search.study.study import Study


def current_confirmation(study: Study) -> Confirmation | None:
    """What the search's choice came to on other prompts; None where trials have ended since."""
    kept = kept_confirmation(study)
    return kept if kept is not None and is_current(kept, study.ranked()) else None


def evidence_of(
    candidate: Candidate, folder: Path, header: RunHeader, names: tuple[str, str]
) -> Evidence:
    """The figures of the prompts that were held back, proved.

    Args:
        candidate: The build, as it was confirmed.
        folder: The study's.
        header: Of its run in the search.
        names: What a card calls the baseline and the build.

    Raises:
        CardError: They are of another file.
        RunError: A run is not there, or was edited.
    """
    run = Run.open(folder / FOLDER / "runs" / candidate.run)
    if run.header().model.sha256 != header.model.sha256:
        raise CardError(
            f"{run.folder}: a run of another file than trial {candidate.trial} built; confirm the "
            "study again"
        )
    return gather(run, Run.open(folder / FOLDER / "baseline"), names=names)


def told_of(confirmation: Confirmation, candidate: Candidate) -> str:
    """What was confirmed, and how much less that is, in a sentence or two."""
    n_prompts = ", ".join(f"{n} {task}" for task, n in confirmation.n_prompts.items())
    gains = "; ".join(
        f"{gain.metric} {value_text(gain.metric, gain.confirmed.value, True)} "
        f"[{value_text(gain.metric, gain.confirmed.low, True)}, "
        f"{value_text(gain.metric, gain.confirmed.high, True)}] to the baseline, p "
        f"{p_text(gain.p_holm)}, where the search had found "
        f"{value_text(gain.metric, gain.search.value, True)}"
        for gain in candidate.gains
    )
    limits = "every limit is kept" if candidate.keeps else "not every limit is kept"
    return (
        f"On {n_prompts} prompts that the search had not seen (builds run on them: "
        f"{len(confirmation.candidates)}): {gains}; {limits}. These "
        f"intervals hold together over {confirmation.n_claims} comparisons, and p is corrected "
        "for them (Holm)."
    )
