"""Cache: facts that are dear to find and safe to forget, one small JSON file each.

Holds hashes of big files and proofs of mappings; deleting it costs time, never an answer.
Knows nothing of what the facts mean.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from harness import runs


def cache_folder() -> Path:
    """WEIGHIN_CACHE, or `weighin` in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    own = os.environ.get("WEIGHIN_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base) / "weighin" if base else Path.home() / ".cache" / "weighin"


def recall(kind: str, key: str) -> Any | None:
    """A remembered fact, or None."""
    try:
        return json.loads(_place(kind, key).read_text(encoding="utf-8"))["value"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(kind: str, key: str, value: Any) -> None:
    """Keep a fact; a cache that cannot be written is no error, only slower next time."""
    place = _place(kind, key)
    beside = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps({"key": key, "value": value}), encoding="utf-8")
        beside.replace(place)
    except OSError:
        beside.unlink(missing_ok=True)


def file_stamp(path: Path) -> str:
    """What tells a file from a changed one without reading it: place, size, times, inode."""
    status = path.stat()
    parts = (path.resolve(), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return "|".join(str(part) for part in parts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, remembered by its stamp."""
    stamp = file_stamp(path)
    known = recall("sha256", stamp)
    if isinstance(known, str):
        return known
    digest = runs.file_sha256(path)
    remember("sha256", stamp, digest)
    return digest


def _place(kind: str, key: str) -> Path:
    return cache_folder() / kind / (hashlib.sha256(key.encode()).hexdigest() + ".json")
