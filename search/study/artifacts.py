"""Artifacts: runs kept where every machine, and optuna-dashboard, can read them.

A run's folder in, its files in Optuna's artifact store out, and back; a folder or an
S3-compatible bucket. Each file's id and SHA-256 are told to the caller, who keeps them with the
trial. Knows nothing of what the files hold.
Source: `optuna.artifacts`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.runs import file_sha256
from metrics.errors import WeighinError
from search.disk import sibling
from search.errors import StorageError
from search.study.storage import EXTRA

if TYPE_CHECKING:
    import optuna
    from optuna.artifacts._protocol import ArtifactStore

S3 = "s3://"
FILES = ("run.json", "prompts.jsonl", "completions.jsonl", "scores.jsonl", "summary.json")
"""What a run is made of; `summary.json` comes last, since it says that a run is whole."""

FOLDER = "artifacts"
"""The store of a study that names none, in its folder."""

Files = dict[str, tuple[str, str]]
"""Id in the store and SHA-256, by the file's name."""


@dataclass(frozen=True)
class Artifacts:
    """An artifact store by its place."""

    place: str
    """`s3://BUCKET`, for an S3-compatible server with AWS_ENDPOINT_URL set, or a folder."""

    @cached_property
    def store(self) -> "ArtifactStore":
        """Optuna's own.

        Raises:
            StorageError: boto3 is missing.
        """
        from optuna import artifacts

        if self.place.startswith(S3):
            try:
                return artifacts.Boto3ArtifactStore(self.place.removeprefix(S3).strip("/"))
            except ImportError:
                raise StorageError(f"{self.place}: boto3 is missing; {EXTRA}") from None
        return artifacts.FileSystemArtifactStore(self.place)

    def keep(
        self,
        run: Path,
        of: "optuna.Study | optuna.trial.FrozenTrial",
        storage: "optuna.storages.BaseStorage",
    ) -> Files:
        """Put a run's files into the store, under a trial or the study.

        Args:
            run: The run's folder.
            of: What optuna-dashboard shows them under; a trial must not have ended.
            storage: The study's.

        Raises:
            StorageError: The store refuses.
        """
        from optuna.artifacts import upload_artifact

        self._make_folder()
        kept: Files = {}
        for path in (run / name for name in FILES):
            if not path.is_file():
                continue
            try:
                place = upload_artifact(
                    artifact_store=self.store,
                    file_path=str(path),
                    study_or_trial=of,
                    storage=storage,
                )
            except Exception as error:
                if isinstance(error, WeighinError):
                    raise
                raise StorageError(f"{self.place}: cannot keep {path.name} ({error})") from error
            kept[path.name] = (place, file_sha256(path))
        return kept

    def fetch(self, files: Mapping[str, tuple[str, str]], folder: Path) -> None:
        """Bring a run's files back; the folder is there when all of them are.

        Raises:
            StorageError: A file is gone from the store, or is not the one that was kept.
        """
        beside = sibling(folder, "fetched")
        beside.mkdir(parents=True, exist_ok=True)
        try:
            for name, (place, digest) in files.items():
                self._read(place, beside / name)
                if file_sha256(beside / name) != digest:
                    raise StorageError(f"{self.place}: {name} of {folder.name} was changed")
            folder.mkdir(exist_ok=True)
            for name in FILES:
                if name in files:
                    (beside / name).replace(folder / name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _make_folder(self) -> None:
        """Make the folder that the store is, if it is one."""
        if self.place.startswith(S3):
            return
        try:
            Path(self.place).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.place}: cannot be made ({error.strerror})") from error

    def _read(self, place: str, path: Path) -> None:
        try:
            with self.store.open_reader(place) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        except Exception as error:
            raise StorageError(f"{self.place}: cannot read {path.name} ({error})") from error


def absolute_place(place: str) -> str:
    """A store's place that holds in every folder."""
    return place if place.startswith(S3) else str(Path(place).absolute())


def artifacts_at(said: str | None, folder: Path) -> Artifacts:
    """A study's store.

    Args:
        said: What the study says of its place; None is in its folder.
        folder: The study's, wherever it was moved to.
    """
    return Artifacts(said or str(folder / FOLDER))
