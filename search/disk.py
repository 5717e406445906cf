"""Disk: room checked before, files renamed when whole.

Paths and bytes; knows nothing of what is written.
"""

import os
import shutil
from pathlib import Path

from search.errors import BuildError, DiskFullError

RESERVE_BYTES = 64 << 20
"""Left free, so that logs and databases can still be written."""


def check_room(folder: Path, size_bytes: int) -> None:
    """Refuse to start what will not fit.

    Raises:
        BuildError: the folder is missing or not writable.
        DiskFullError: it is too full.
    """
    if not folder.is_dir():
        raise BuildError(f"{folder} is not a folder; make it first")
    if not os.access(folder, os.W_OK):
        raise BuildError(f"{folder} is not writable")
    free = shutil.disk_usage(folder).free
    if free < size_bytes + RESERVE_BYTES:
        raise DiskFullError(
            f"{folder} has {free / 1e9:.1f} GB free, {(size_bytes + RESERVE_BYTES) / 1e9:.1f} GB "
            "are needed; free some, or write elsewhere"
        )


def sibling(path: Path, word: str) -> Path:
    """A hidden file beside a path, this process's own, to be renamed to it."""
    return path.with_name(f".{path.name}.{word}.{os.getpid()}")
