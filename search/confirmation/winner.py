"""Winner: the build that a study comes to, made again and checked before it is put anywhere.

A trial in, its GGUF out: the very bytes that were scored, or none. Knows how a build is made anew;
nothing of how it was weighed.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.cache import file_sha256
from search.confirmation.confirmation import is_current, kept_confirmation
from search.disk import check_room, sibling
from search.errors import BuildError, StudyError
from search.leases.lease import Owner
from search.prepare import Prepared, prepare
from search.recipe import Recipe
from search.study.fingerprint import changes, ingredient_parts, told
from search.study.study import Study, TrialRow
from search.trials.bench import BASELINE, BUILD_DIGITS
from search.trials.builds import remove_parts

if TYPE_CHECKING:
    from search.build import Progress

SHOWN_DIGITS = 12


@dataclass(frozen=True)
class Written:
    """A build that was put where its user wants it."""

    path: Path
    sha256: str
    """The one that was scored."""
    copied: bool
    """Whether the study had kept the build; else it was made again."""
    hf: Path | None
    """The merged checkpoint's folder."""


def winner_of(study: Study) -> TrialRow | None:
    """The trial whose build is to be shipped: the confirmed one, else the search's leader.

    Returns:
        None where the baseline is to be shipped: nothing beats it, or nothing keeps the limits.

    Raises:
        StudyError: No trial has ended yet.
    """
    ranked = study.ranked()
    if not ranked:
        raise StudyError(f"study {study.name}: no whole trial has ended yet; run weighin search")
    kept = kept_confirmation(study)
    if kept is not None and is_current(kept, ranked):
        return next((row for row in ranked if row.number == kept.winner), None)
    best = study.best()
    if best is None or best.build == BASELINE or not _gains(study, best):
        return None
    return best


def trial_of(study: Study, number: int) -> TrialRow:
    """A trial that has a build of its own that was scored.

    Raises:
        StudyError: It has none.
    """
    row = next((row for row in study.rows() if row.number == number), None)
    if row is None or row.sha256 is None:
        raise StudyError(f"study {study.name}: trial {number} has no build that was scored")
    if row.build == BASELINE:
        raise StudyError(f"study {study.name}: trial {number} is the baseline itself")
    return row


def write_build(
    study: Study,
    row: TrialRow,
    folder: Path,
    out: Path,
    *,
    hf: Path | None = None,
    recipe: Recipe | None = None,
    progress: "Progress | None" = None,
) -> Written:
    """Put the GGUF that a trial scored somewhere; whole, or not at all.

    Args:
        study: The trial's.
        row: The trial.
        folder: The study's; a build that it kept is copied if its hash is right.
        out: The file; an existing one is replaced when the new one is whole.
        hf: Folder for the merged checkpoint as well; the build is then made anew, which proves that
            the ingredients are those that were scored.
        recipe: This machine's own, where files lie elsewhere than on the one that made the study.
        progress: Told how far a build is.

    Raises:
        StudyError: An ingredient has changed; it is named.
        BuildError: The build is not the one that was scored, or cannot be written.
    """
    assert row.sha256 is not None
    if out.is_dir():
        raise BuildError(f"{out} is a folder; name the file, such as {out / 'best.gguf'}")
    if hf is not None:
        from search.export.hf import require_free

        require_free(hf)
    kept = folder / "builds" / f"{row.build}.gguf"
    if hf is None and kept.is_file() and _copy(kept, out, row.sha256):
        return Written(out, row.sha256, copied=True, hf=None)
    ready = prepare(recipe or study.recipe)
    _require_ingredients(study, ready, row)
    make_again(ready, row, out, hf=hf, progress=progress)
    return Written(out, row.sha256, copied=False, hf=hf)


def scored_build(ready: Prepared, row: TrialRow, path: Path, *, dead: Owner | None = None) -> Path:
    """The GGUF that a trial scored, where the study keeps it; built anew if it is not there.

    Args:
        ready: The study's recipe made ready.
        row: The trial.
        path: Its place.
        dead: A process that was about to build it and died.

    Raises:
        BuildError: The build is not the one that was scored.
    """
    if dead is not None:
        remove_parts(path, dead)
    if not path.is_file() or file_sha256(path) != row.sha256:
        make_again(ready, row, path)
    return path


def make_again(
    ready: Prepared,
    row: TrialRow,
    out: Path,
    *,
    hf: Path | None = None,
    progress: "Progress | None" = None,
) -> None:
    """Build what a trial scored; it takes its place only if it is that to the byte.

    Raises:
        BuildError: It is not, or cannot be written.
    """
    from search.build import build
    from search.export.hf import export_hf

    if out.exists() and out.samefile(ready.template.file.path):
        raise BuildError(f"{out} is the template itself; write the build elsewhere")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = sibling(out, "again")
    try:
        made = build(ready, row.params, beside, progress=progress)
        _require_scored(row, made.sha256)
        if hf is not None:
            export_hf(ready.ingredients, made.numbers, hf)
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)


def _gains(study: Study, row: TrialRow) -> bool:
    """Whether a trial does better than the baseline in an objective, as far as that can be told.

    A figure of the candidate's own says nothing without the baseline's, which only a trial at the
    baseline's own point has.
    """
    itself = next((r for r in study.ranked() if r.build == BASELINE), None)
    for index, objective in enumerate(study.objectives):
        assert row.values is not None
        zero = 0.0 if objective.relative else None
        if zero is None and itself is not None and itself.values is not None:
            zero = itself.values[index]
        sign = 1 if objective.direction == "maximize" else -1
        if zero is None or sign * (row.values[index] - zero) > 0:
            return True
    return False


def _require_ingredients(study: Study, ready: Prepared, row: TrialRow) -> None:
    """Refuse before building where it cannot become the build that was scored.

    Raises:
        StudyError: What is another than it was; named where that is an ingredient.
    """
    from search.build import build_hash

    now = ingredient_parts(ready)
    was = {name: value for name, value in study.record.parts.items() if name in now}
    found = changes(was, now)
    if found:
        raise StudyError(
            f"study {study.name}: the build that was scored cannot be made again: {told(found)}; "
            "bring the study's own files, or name them with --recipe"
        )
    if build_hash(ready, row.params)[:BUILD_DIGITS] != row.build:
        raise StudyError(
            f"study {study.name}: trial {row.number} was scored before something in the recipe "
            "was changed; bring back the recipe of then, and name it with --recipe"
        )


def _require_scored(row: TrialRow, sha256: str) -> None:
    if sha256 != row.sha256:
        raise BuildError(
            f"trial {row.number}: the build made now has SHA-256 {sha256[:SHOWN_DIGITS]}.., but "
            f"{(row.sha256 or '')[:SHOWN_DIGITS]}.. was scored; build on the machine, and with "
            "the weighin, that scored it"
        )


def _copy(kept: Path, out: Path, sha256: str) -> bool:
    """Copy a build if the copy has that hash."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.exists() and out.samefile(kept):
        raise BuildError(f"{out} is where the study keeps the build; write it elsewhere")
    check_room(out.parent, kept.stat().st_size)
    beside = sibling(out, "copy")
    try:
        shutil.copyfile(kept, beside)
        if file_sha256(beside) != sha256:
            return False
        beside.replace(out)
    except OSError as error:
        raise BuildError(f"cannot write {out}: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return True
