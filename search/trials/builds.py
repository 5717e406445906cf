"""Builds: which GGUFs of a study stay on disk.

Rows of a study in, files deleted; knows nothing of how a build is made. What several workers share
a folder for is decided by the study alone: a build in use is one whose trial is running.
"""

from contextlib import suppress
from pathlib import Path

from metrics.errors import WeighinError
from search.leases.lease import Owner
from search.study.study import Study

Keep = str | int
"""`best`, `all`, or how many."""


def parse_keep(text: str) -> Keep:
    """Read `--keep`.

    Raises:
        WeighinError: Neither `best`, `all` nor a whole number from 1 on.
    """
    if text in ("best", "all"):
        return text
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise WeighinError(f"--keep {text}: expected best, all or a number of builds")


def sweep_builds(folder: Path, study: Study, keep: Keep) -> list[str]:
    """Delete the builds that need not be kept; never a leader's, nor one in use.

    Args:
        folder: Where the builds lie, `BUILD.gguf` each.
        study: Knows which lead and which are in use.
        keep: `best` keeps the leaders' builds, a number that many of the best beside them.

    Returns:
        Names of the builds that were deleted.
    """
    if keep == "all":
        return []
    kept = {row.build for row in study.leaders()}
    if isinstance(keep, int):
        kept |= {row.build for row in study.ranked()[:keep]}
    deleted = []
    for path in sorted(folder.glob("*.gguf")):
        if path.stem in kept or path.stem in _in_use(study):
            continue
        with suppress(FileNotFoundError):  # another worker swept it
            path.unlink()
            deleted.append(path.stem)
    return deleted


def remove_parts(build: Path, dead: Owner) -> None:
    """Remove what a process that was killed had written of a build."""
    for part in build.parent.glob(f".*{build.name}.*.{dead.pid}"):
        part.unlink(missing_ok=True)


def _in_use(study: Study) -> set[str | None]:
    """Builds of the trials that are running just now."""
    return {row.build for row in study.rows() if row.state == "running"}
