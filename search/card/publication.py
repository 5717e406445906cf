"""Publication: what a user chose to publish, and the files that it becomes.

Names of folders in, a card's material and files beside the subject out; uploads nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.card.evidence import CardError
from harness.console import note
from harness.publish import CARD
from search.report.study import is_study

if TYPE_CHECKING:
    from harness.card.provenance import Terms
    from search.card.study import Material
    from search.study.study import Study

STAGED = "publish"
"""Folder in the study's or the run's, for the card and the report as they are uploaded."""

REPORT = "report.html"


@dataclass(frozen=True)
class Staged:
    """Files that are ready to be uploaded."""

    material: "Material"
    files: dict[str, Path]
    """By their path in the repository."""

    @property
    def scored(self) -> dict[str, str]:
        """SHA-256 that the build's file must have."""
        return {self.material.file: self.material.evidence.header.model.sha256}


@dataclass(frozen=True)
class Chosen:
    """A study or a run, and which build of it."""

    subject: Path
    models: Sequence[str]
    """Hub ids, `KEY=USER/NAME` each."""
    baseline: Path | None
    """For a run: the one to stand beside it."""
    gguf: Path | None
    trial: int | None
    storage: str | None

    @cached_property
    def study(self) -> "Study | None":
        """The study; None where the subject is a run.

        Raises:
            CardError: An option that belongs to the other of the two.
            StudyError, StorageError: The study cannot be opened.
        """
        from search.study.study import load_study

        if not is_study([self.subject], self.storage):
            if self.trial is not None:
                raise CardError(f"--trial {self.trial}: {self.subject} is no study's folder")
            return None
        if self.baseline is not None:
            raise CardError(f"--baseline {self.baseline}: a study has its own")
        return load_study(self.subject, self.storage)

    @property
    def name(self) -> str:
        """What to call the model where nobody says: the study's name, or the file's."""
        from harness.runs import Run

        if self.study is not None:
            return self.study.name
        return Path(Run.open(self.subject).header().model.file).stem

    def material(self, name: str) -> "Material":
        """All that the card is made of.

        Args:
            name: The model's.

        Raises:
            WeighinError: As `from_study` and `from_run`.
        """
        from search.card.study import from_run, from_study

        if self.study is not None:
            return from_study(
                self.study,
                self.subject,
                name=name,
                trial=self.trial,
                gguf=self.gguf,
                models=self.models,
            )
        return from_run(
            self.subject, name=name, baseline=self.baseline, gguf=self.gguf, models=self.models
        )

    def stage(self, terms: "Terms", *, report: bool) -> Staged:
        """Write the card and the report where they can be looked at before they are uploaded.

        Args:
            terms: The publisher's words.
            report: Whether there is to be one.

        Raises:
            CardError: The file that a run was made with is not at hand.
            BuildError: The build cannot be made again as it was scored.
            ReportError: A library of the extra `report` is missing.
            WeighinError: As `material`.
        """
        from harness.card.card import write_card

        material, place = self.material(terms.name), self.subject / STAGED
        files = {material.file: self._build(material, place), CARD: place / CARD}
        write_card(material.card(terms), files[CARD])
        if report:
            files[REPORT] = place / REPORT
            self._write_report(files[REPORT])
        return Staged(material, files)

    def _build(self, material: "Material", place: Path) -> Path:
        """The file that was scored; a study that kept it no more has it made again."""
        if material.gguf is not None:
            return material.gguf
        scored = material.evidence.header.model.sha256
        if self.study is None or material.row is None:
            raise CardError(
                f"{self.subject}: a run does not hold the file that was scored (SHA-256 "
                f"{scored[:12]}); name it with --gguf"
            )
        from search.confirmation.winner import write_build

        note(f"the study keeps the build of trial {material.row.number} no more; building it again")
        return write_build(self.study, material.row, self.subject, place / material.file).path

    def _write_report(self, path: Path) -> None:
        from harness.report.page import write_page
        from harness.report.report import report_on_runs
        from search.report.study import report_on_study

        if self.study is not None:
            _, html = report_on_study(self.study, self.subject)
        else:
            runs = [self.subject] if self.baseline is None else [self.baseline, self.subject]
            _, html = report_on_runs(runs)
        write_page(html, path)
