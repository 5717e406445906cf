"""Seals: are a run's files still those that were scored?

A folder in, hashes or the name of what was changed out; knows nothing of records. A run is judged
by its figures, and whoever edits an answer or a score by hand must not be believed by accident.
Prompts need no seal: the header has their hash.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict

HEADER = "run.json"
SCORES = "scores.jsonl"
SEALED = (HEADER, "completions.jsonl", SCORES)
"""Files whose edits are noticed."""


class Seal(BaseModel):
    """A file as it was when the run was scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int
    sha256: str


def seal_files(folder: Path, keys: Sequence[str]) -> dict[str, Seal]:
    """Seals of a run's files as they are now, by name.

    Args:
        folder: The run's.
        keys: Of `run.json`, those that could change a completion; the rest may change.
    """
    return {
        name: Seal(size_bytes=len(data), sha256=sha256(data).hexdigest())
        for name in SEALED
        if (data := _bytes(folder, name, keys)) is not None
    }


def broken_seal(
    folder: Path, seals: Mapping[str, Seal], keys: Sequence[str], *, to_score: bool = False
) -> str | None:
    """What was changed since the run was scored, in words; None where nothing was.

    Args:
        folder: The run's.
        seals: As `seal_files` gave them.
        keys: As for `seal_files`.
        to_score: The run is about to be scored again: answers may have been added, and neither
            scores nor the header matter.
    """
    for name, seal in seals.items():
        if to_score and name in (HEADER, SCORES):
            continue
        data = _bytes(folder, name, keys) or b""
        if sha256(data[: seal.size_bytes]).hexdigest() != seal.sha256:
            return (
                f"{name} was edited after the run was scored (SHA-256 expected "
                f"{seal.sha256[:12]}); put the original back, or make the run again in a new folder"
            )
        if len(data) > seal.size_bytes and not to_score:
            return (
                f"{name} has grown since the run was scored; finish it with the same weighin eval "
                "command"
            )
    return None


def _bytes(folder: Path, name: str, keys: Sequence[str]) -> bytes | None:
    """The bytes that a file's seal is taken of; None where there is no such file."""
    path = folder / name
    if not path.is_file():
        return None
    if name != HEADER:
        return path.read_bytes()
    header = json.loads(path.read_text("utf-8"))
    kept = {key: header.get(key) for key in keys}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()
