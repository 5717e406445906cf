"""Record: what a study was made for, kept in its storage and beside its results.

One frozen record in and out of JSON; knows nothing of Optuna or of trials.
"""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.runs import write_whole
from search.errors import StudyError
from search.recipe import Recipe

SCHEMA_VERSION = 1
FILE = "study.json"
RECIPE_FILE = "recipe.yaml"
DATABASE = "study.db"
"""The default storage's file in the study's folder."""

NO_FOLDER = Path("/")
"""What a recorded recipe's paths are relative to: they are absolute, so nothing is."""


class Change(BaseModel):
    """Something that a study was bound to and that was changed with its user's consent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_trial: int
    """Number of the first trial that could be after it."""
    what: tuple[str, ...]
    """A phrase per part."""


class StudyRecord(BaseModel):
    """`study.json`, and the attribute `study` in the study's storage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    name: str
    """Its name in the storage."""
    storage: str | None
    """URL without a password; None is `study.db` beside this file."""
    artifacts: str | None
    """Where runs are kept for other machines: `s3://BUCKET` or a folder; None is `artifacts`
    beside this file."""
    ifeval_data: str | None
    """A local copy of IFEval that its prompts were read from."""
    recipe: Recipe
    """Resolved, every path absolute."""
    parts: dict[str, str]
    """What it is bound to: names with hashes or values."""
    changes: tuple[Change, ...] = ()
    """What was changed on the way."""

    @classmethod
    def parse(cls, value: Any, where: str) -> Self:
        """A record from plain JSON.

        Raises:
            StudyError: It is none, or another version's.
        """
        try:
            return cls.model_validate(value, context={"folder": NO_FOLDER})
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"])
            raise StudyError(
                f"{where}: not a study of this version of weighin ({at}: {first['msg']}); "
                "start another with --out"
            ) from None

    def write(self, folder: Path) -> None:
        """Write `study.json`, and the recipe as YAML for a reader, beside the results."""
        import yaml

        write_whole(folder / FILE, self.model_dump_json(indent=2) + "\n")
        plain = self.recipe.model_dump(mode="json", exclude_none=True)
        write_whole(folder / RECIPE_FILE, yaml.safe_dump(plain, sort_keys=False))


def read_record(folder: Path) -> StudyRecord:
    """The record beside a study's results.

    Raises:
        StudyError: There is none.
    """
    path = folder / FILE
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError:
        raise StudyError(
            f"{folder}: no study here (no {FILE}); make one with weighin search, or name it with "
            "--storage"
        ) from None
    except ValueError as error:
        raise StudyError(f"{path}: not JSON: {error}") from None
    return StudyRecord.parse(value, str(path))
