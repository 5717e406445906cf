"""Report on a study: what the search came to, and the builds that matter beside the baseline.

A study and its folder in, the harness's neutral document and its page out. What the search did,
trial by trial, is told by `search.report.trials`; the page, and everything about runs, is the
harness's.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.report.contents import document_on
from harness.report.document import Document
from harness.report.page import require_extra
from harness.report.report import page_of
from harness.report.subject import Subject, matter_of
from harness.runs import Run
from search.errors import StudyError
from search.report.confirm import confirm_sections, confirmed_claim
from search.report.trials import front_of, numbers_of, objectives_of, search_section, value_text
from search.study.artifacts import artifacts_at
from search.study.record import FILE
from search.study.study import Study, TrialRow

MAX_BUILDS = 3
"""Builds whose completions stand beside the baseline's."""


def report_on_study(study: Study, folder: Path) -> tuple[Document, str]:
    """A report on a study, as far as it has come.

    Args:
        study: The study.
        folder: Where its runs are.

    Returns:
        What the report says, and its page.

    Raises:
        StudyError: No trial has ended yet.
        RunError: The baseline's run is not there.
        ReportError: A library of the extra `report` is missing.
    """
    require_extra()
    if not study.ranked():
        raise StudyError(f"study {study.name}: no trial has ended yet; nothing to report on")
    baseline = Subject(Run.open(folder / "baseline"), "baseline")
    chosen = [row for row in builds_that_matter(study) if run_of(study, folder, row) is not None]
    builds = [
        Subject(run, f"Trial {row.number}")
        for row in chosen[:MAX_BUILDS]
        if (run := run_of(study, folder, row)) is not None
    ]
    matter = matter_of(baseline, builds, sort=False)
    document = document_on(
        matter,
        kind="Study",
        title=study.name,
        claim=confirmed_claim(study) or claim_of(study),
        facts=_facts(study),
        sections=[*confirm_sections(study), search_section(study)],
    )
    return document, page_of(matter, document)


def is_study(places: Sequence[Path], storage: str | None) -> bool:
    """Whether what a user named is a study, and not runs.

    Raises:
        StudyError: It is a study and something else.
    """
    studies = [place for place in places if (place / FILE).is_file()]
    if storage is None and not studies:
        return False
    if len(places) > 1:
        named = studies[0] if studies else places[0]
        raise StudyError(f"{named}: a study is reported on alone; leave out the other folders")
    return True


def builds_that_matter(study: Study) -> list[TrialRow]:
    """The leader, then the rest of the front, then the next best; each build once.

    The baseline's own point is no build.
    """
    ranked = study.ranked()
    best = study.best() or ranked[0]
    front = set(front_of(study, ranked))
    order = [best, *(r for r in ranked if r.number in front and r.feasible)]
    order += [r for r in ranked if r.feasible] + ranked
    found: dict[str, TrialRow] = {}
    for row in order:
        if row.run is not None and row.run != "baseline" and row.build is not None:
            found.setdefault(row.build, row)
    return list(found.values())


def claim_of(study: Study) -> str:
    """The study's answer so far, in a sentence."""
    best = study.best()
    n_whole = len(study.ranked())
    of = f"Of {n_whole} trials" if n_whole > 1 else "Of one trial"
    if best is None:
        return f"{of} none keeps the constraints: ship the baseline."
    assert best.values is not None
    objective = study.objectives[0]
    at = f"trial {best.number} ({numbers_of(best)})"
    moved = f"{objective.metric} {value_text(objective.metric, best.values[0], objective.relative)}"
    kept = " that keeps the constraints" if study.constraints else ""
    if len(study.objectives) > 1:
        return (
            f"{of}, {len(study.leaders())} are beaten by no other in every objective; "
            f"{at} leads in the first: {moved}."
        )
    if objective.relative and (best.values[0] > 0) != (objective.direction == "maximize"):
        return f"{of} none beats the baseline; the nearest{kept} is {at}: {moved}."
    return f"{of}, {at} is the best{kept}: {moved}."


def _facts(study: Study) -> tuple[tuple[str, str], ...]:
    rows = study.rows()
    stopped = sum(row.stopped is not None for row in rows)
    told = f"{len(study.ranked())} whole" + (f", {stopped} stopped early" if stopped else "")
    return (("Trials", told), ("Objective", objectives_of(study)))


def run_of(study: Study, folder: Path, row: TrialRow) -> Run | None:
    """A trial's run, fetched from the artifact store if need be; None where it is lost."""
    if row.run is None:
        return None
    place = folder / "runs" / row.run
    if not (place / "summary.json").is_file() and row.files:
        artifacts_at(study.record.artifacts, folder).fetch(row.files, place)
    return Run.open(place) if (place / "summary.json").is_file() else None
