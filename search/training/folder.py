"""Training folder: where an adapter comes to lie, and where its training is kept until then.

Folders and locks; knows nothing of what is trained.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from harness.console import note
from search.disk import check_room, sibling
from search.errors import TrainingError
from search.training.record import TrainingPlan

PLAN_NAME = "plan.json"


def check_place(out: Path) -> None:
    """Refuse to write an adapter over something else; make the folder that it is to lie in.

    Raises:
        TrainingError: there is a file, or a folder that holds no adapter, or nothing can be made.
    """
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not (out / "adapter_config.json").exists():
        raise TrainingError(f"{out} is there and is no adapter; name another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make {out.parent}: {error.strerror}") from None
    check_room(out.parent, 0)


def begin(folder: Path, plan: TrainingPlan) -> None:
    """Make the folder of a training, or see that it is this one's.

    Raises:
        TrainingError: another training was broken off there.
    """
    if not folder.exists():
        beside = sibling(folder, "part")
        beside.mkdir()
        (beside / PLAN_NAME).write_text(plan.model_dump_json(indent=1), encoding="utf-8")
        beside.rename(folder)
        return
    known = _plan_in(folder)
    if known is None or known.key != plan.key:
        why = "its plan cannot be read" if known is None else known.differences(plan)[0]
        raise TrainingError(
            f"{folder} holds another training that was broken off ({why}); delete it, or name "
            "another --out"
        )


def clear(folder: Path, plan: TrainingPlan) -> None:
    """Remove what a training left that was killed after its adapter came to its place."""
    known = _plan_in(folder)
    if known is not None and known.key == plan.key:
        shutil.rmtree(folder)


def put(folder: Path, out: Path) -> None:
    """Put a whole adapter in its place, an older one going out of it."""
    old = sibling(out, "old")
    if out.exists():
        out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _plan_in(folder: Path) -> TrainingPlan | None:
    try:
        return TrainingPlan.model_validate_json((folder / PLAN_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Wait until no other process trains the same adapter; a killed one lets go by itself."""
    path = out.with_name(f".{out.name}.lock")
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note(f"{out.name}: waiting for another process that trains it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # whoever had it before has removed the file, so that the lock must be on the new one
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            break
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
