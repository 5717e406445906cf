"""Evidence: the runs that a card may speak of, and the proof that they are whole and untouched.

Runs in, figures and their comparison out. A figure that does not follow from a sealed run's own
scores is refused; knows nothing of how a build was made or of how a card looks.
"""

from dataclasses import dataclass
from pathlib import Path

from harness.comparison.compare import compare_in_detail
from harness.comparison.records import Comparison
from harness.runs import Run, RunHeader, Summary, file_sha256
from harness.scoring import summarise
from metrics.errors import WeighinError


class CardError(WeighinError):
    """A card that cannot be written as asked, or a figure that has no run behind it."""


@dataclass(frozen=True)
class Evidence:
    """A build's run, and the baseline's on the same prompts where there is one."""

    run: Run
    baseline: Run | None
    header: RunHeader
    summary: Summary
    comparison: Comparison | None
    """Of the two, under the names that a card has for them."""


def gather(run: Run, baseline: Run | None, *, names: tuple[str, str]) -> Evidence:
    """The figures of a build, proved.

    Args:
        run: The build's.
        baseline: The run to stand beside it; None compares with nothing.
        names: What a card calls the baseline and the build.

    Raises:
        CardError: A run was not sealed, or its figures are not those of its scores.
        RunError: A run was edited, or is not scored.
        PairingError: The two were not asked the same.
    """
    for own in (run, baseline):
        if own is not None:
            require_proved(own)
    comparison = None
    if baseline is not None:
        (compared,) = compare_in_detail(baseline, [run]).comparisons
        comparison = compared.model_copy(
            update={
                "baseline": names[0],
                "candidate": names[1],
                "notes": tuple(_renamed(note, baseline, run, names) for note in compared.notes),
            }
        )
    return Evidence(run, baseline, run.header(), run.summary(), comparison)


def require_proved(run: Run) -> None:
    """Refuse figures that do not follow from the run's own answers.

    Raises:
        CardError: No seals, or a figure that the scores do not give.
        RunError: A file was edited since it was scored, or it was never scored.
    """
    summary = run.summary()
    if not summary.seals:
        raise CardError(
            f"{run.folder}: scored before runs were sealed, so that nothing proves its figures; "
            "score it again with weighin score"
        )
    run.require_unedited()
    found = summarise(run.scores(), run.header(), run.completions()).metrics
    for name in {**summary.metrics, **found}:
        if summary.metrics.get(name) != found.get(name):
            raise CardError(
                f"{run.folder}/summary.json: {name} is not what the run's scores give; "
                "score it again with weighin score"
            )


def require_scored(gguf: Path, header: RunHeader) -> None:
    """Refuse a file that is not the one that was scored.

    Raises:
        CardError: It is another, or not there.
    """
    if not gguf.is_file():
        raise CardError(f"{gguf}: no such file; name the GGUF that was scored with --gguf")
    digest = file_sha256(gguf)
    if digest != header.model.sha256:
        raise CardError(
            f"{gguf} is not the file that was scored (SHA-256 {digest[:12]}, scored "
            f"{header.model.sha256[:12]}); name that one with --gguf, or weigh this one first"
        )


def _renamed(note: str, baseline: Run, run: Run, names: tuple[str, str]) -> str:
    """A note that begins with a run's name, with the card's name for it."""
    for own, name in ((baseline, names[0]), (run, names[1])):
        if note.startswith(f"{own.name}: "):
            return f"{name}: {note.removeprefix(f'{own.name}: ')}"
    return note
