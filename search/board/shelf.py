"""Shelf: what a study's runs say of themselves, from its folder or from its artifact store.

A study and its folder in; a run's header and figures out. Needs no ingredient of the study and
writes nothing, so that a study can be looked at wherever its folder or its storage can be read.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.console import note
from harness.runs import Run, RunHeader, Usage
from metrics.stats import Estimate
from search.confirmation.confirmation import FOLDER, kept_confirmation
from search.errors import StorageError
from search.leases.lease import StudyJob
from search.study.artifacts import artifacts_at
from search.study.study import Study, TrialRow
from search.trials.bench import BASELINE
from search.trials.shared_baseline import DONE

TOLD = ("run.json", "summary.json")
"""The files of a run that are looked at."""


@dataclass(frozen=True)
class Told:
    """What a whole run says of itself."""

    header: RunHeader
    metrics: Mapping[str, Estimate]
    """By `task.metric`."""


class Shelf:
    """The runs of one study."""

    def __init__(self, study: Study, folder: Path) -> None:
        """A shelf on which nothing was looked up yet.

        Args:
            study: The study.
            folder: Its folder on this machine; need not be there.
        """
        self.study = study
        self.folder = folder
        self._known: dict[str, Told] = {}
        self._store_is_lost = False

    def baseline(self) -> Told | None:
        """The baseline's run; None before it is whole."""
        done: dict[str, Any] = self._baseline_job().get(DONE) or {}
        return self._told(BASELINE, self.folder / BASELINE, done.get("files", {}))

    def of(self, row: TrialRow) -> Told | None:
        """A trial's run; None where it is not whole, or is neither here nor in the store."""
        if row.run is None or not row.whole:
            return None
        if row.run == BASELINE:
            return self.baseline()
        return self._told(row.run, self.folder / "runs" / row.run, row.files)

    def begun(self, build: str) -> Usage:
        """What the runs of a build cost so far, whole or not, as far as they lie in the folder."""
        runs = [Run(path.parent) for path in (self.folder / "runs").glob(f"{build}-*/run.json")]
        return _sum([run.header().usage for run in runs])

    def begun_baseline(self) -> Usage:
        """What the baseline's run cost so far."""
        whole = self.baseline()
        if whole is not None:
            return whole.header.usage
        begun = self.folder / BASELINE / "run.json"
        return Run(begun.parent).header().usage if begun.is_file() else Usage()

    def confirming(self) -> Usage:
        """What the runs on prompts that were held back cost so far.

        From the storage alone, where the folder is not here, it is known once it is confirmed, and
        without the time.
        """
        begun = list((self.folder / FOLDER).rglob("run.json"))
        kept = kept_confirmation(self.study)
        if not begun and kept is not None:
            return Usage(n_tokens=kept.n_tokens)
        return _sum([Run(path.parent).header().usage for path in begun])

    def _told(self, name: str, folder: Path, files: Mapping[str, tuple[str, str]]) -> Told | None:
        if name not in self._known:
            if (folder / "summary.json").is_file():
                self._known[name] = _read(folder)
            elif "summary.json" in files and not self._store_is_lost:
                try:
                    self._known[name] = self._fetched(name, files)
                except StorageError as error:
                    # the trials are in the storage, and can be shown without their runs' figures
                    self._store_is_lost = True
                    note(f"figures of runs that are not here are left out: {error}")
        return self._known.get(name)

    def _fetched(self, name: str, files: Mapping[str, tuple[str, str]]) -> Told:
        with tempfile.TemporaryDirectory() as beside:
            place = Path(beside) / name
            wanted = {file: (files[file][0], files[file][1]) for file in TOLD if file in files}
            artifacts_at(self.study.record.artifacts, self.folder).fetch(wanted, place)
            return _read(place)

    def _baseline_job(self) -> Mapping[str, Any]:
        return StudyJob(self.study.storage, self.study.id, BASELINE).attributes()


def _read(folder: Path) -> Told:
    run = Run.open(folder)
    return Told(run.header(), run.summary().metrics)


def _sum(usages: Sequence[Usage]) -> Usage:
    return Usage(
        n_prompt_tokens=sum(usage.n_prompt_tokens for usage in usages),
        n_tokens=sum(usage.n_tokens for usage in usages),
        seconds=sum(usage.seconds for usage in usages),
    )
