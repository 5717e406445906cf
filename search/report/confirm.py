"""Report on a confirmation: what builds gain on both halves of the prompts, and the drop.

A record in, one section of the harness's neutral document out.
"""

import re

from harness.report.document import Cell, Column, Section, Strip, Table
from harness.report.numerals import MINUS, UNDEFINED, interval, name_of, number, p_text
from metrics.stats import Estimate
from search.board.confirmed import confirmation_lines
from search.confirmation.confirmation import (
    Bound,
    Candidate,
    Confirmation,
    Gain,
    is_current,
    kept_confirmation,
)
from search.study.study import Study

NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")
"""The hyphen of a negative number, which print has a sign of its own for."""


def confirm_sections(study: Study) -> list[Section]:
    """The section on what was confirmed; where nothing was, one sentence says why."""
    record = kept_confirmation(study)
    lines = tuple(_sentence(line) for line in confirmation_lines(study))
    title = "Does it hold?"
    if record is None:
        return [Section(id="confirmed", title=title, notes=lines)]
    asked = " and ".join(f"{n} prompts of {task}" for task, n in record.n_prompts.items())
    return [
        Section(
            id="confirmed",
            title=title,
            lead=f"On {asked} that the search has not seen. Figures are differences to the "
            f"baseline; all intervals hold together at {record.confidence:.0%}, corrected for "
            f"{record.n_claims} figure{'s' if record.n_claims != 1 else ''}. The drop is what the "
            "search had found too much: the highest of many figures is high by luck as well.",
            tables=(
                gains_table(record),
                *((bounds_table(record),) if any(c.bounds for c in record.candidates) else ()),
                baseline_table(record),
            ),
            notes=lines,
        )
    ]


def confirmed_claim(study: Study) -> str | None:
    """The study's answer where it was confirmed and no trial has ended since."""
    record = kept_confirmation(study)
    if record is None or not is_current(record, study.ranked()):
        return None
    return _sentence(confirmation_lines(study)[0])


def gains_table(record: Confirmation) -> Table:
    """Every build's gain on both halves and the drop between them."""
    reach = _reach(record)
    rows = [
        (
            Cell(text=f"Trial {candidate.trial}", detail=", ".join(candidate.roles)),
            Cell(text=gain.metric),
            _cell(gain, gain.search),
            _cell(gain, gain.confirmed).model_copy(update={"tone": gain.shown}),
            Cell(text="", strip=_strip(gain, reach[gain.metric])),
            _cell(gain, gain.drop),
            Cell(text=p_text(gain.p_holm)),
        )
        for candidate in record.candidates
        for gain in candidate.gains
    ]
    winner = next(
        (index for index, row in enumerate(rows) if row[0].text == f"Trial {record.winner}"), None
    )
    return Table(
        caption="Gain on both halves",
        columns=(
            Column(label="Build", numeric=False),
            Column(label="Figure", numeric=False),
            Column(label="In the search"),
            Column(label="Confirmed"),
            Column(label="Around no gain", numeric=False),
            Column(label="Drop"),
            Column(label="p, Holm"),
        ),
        rows=tuple(rows),
        marked=winner,
    )


def bounds_table(record: Confirmation) -> Table:
    """Every build's limits on the prompts that were held back."""
    rows = [
        (
            Cell(text=f"Trial {candidate.trial}", detail=", ".join(candidate.roles)),
            Cell(text=bound.text),
            Cell(
                text=number(bound.metric, bound.confirmed.value, signed=bound.relative),
                detail=interval(bound.metric, bound.confirmed, signed=bound.relative),
                tone=None if bound.kept else "worse",
            ),
            Cell(text=_standing(candidate, bound)),
        )
        for candidate in record.candidates
        for bound in candidate.bounds
    ]
    return Table(
        caption="Limits on the prompts held back",
        columns=(
            Column(label="Build", numeric=False),
            Column(label="Limit", numeric=False),
            Column(label="Figure"),
            Column(label="Stands", numeric=False),
        ),
        rows=tuple(rows),
    )


def baseline_table(record: Confirmation) -> Table:
    """The baseline's own figures: how much harder, or easier, the one half is."""
    return Table(
        caption="The baseline on both halves",
        columns=(
            Column(label="Figure", numeric=False),
            Column(label="In the search"),
            Column(label="Held back"),
        ),
        rows=tuple(
            (
                Cell(text=name_of(own.metric), detail=own.metric.split(".", 1)[0]),
                *(
                    Cell(text=number(own.metric, e.value), detail=interval(own.metric, e))
                    for e in (own.search, own.confirmed)
                ),
            )
            for own in record.baseline
        ),
    )


def _cell(gain: Gain, estimate: Estimate) -> Cell:
    if estimate.value is None:
        return Cell(text=UNDEFINED)
    return Cell(
        text=number(gain.metric, estimate.value, signed=True),
        detail=interval(gain.metric, estimate, signed=True),
    )


def _strip(gain: Gain, reach: float) -> Strip | None:
    found = gain.confirmed
    if found.value is None or found.low is None or found.high is None or reach == 0:
        return None
    return Strip(
        low=found.low / reach,
        value=found.value / reach,
        high=found.high / reach,
        tone=gain.shown,
    )


def _reach(record: Confirmation) -> dict[str, float]:
    """The largest end of any interval of a figure, which its strips are drawn to."""
    found: dict[str, float] = {}
    for candidate in record.candidates:
        for gain in candidate.gains:
            ends = (gain.confirmed.low, gain.confirmed.high)
            sizes = [abs(end) for end in ends if end is not None]
            found[gain.metric] = max([found.get(gain.metric, 0.0), *sizes])
    return found


def _standing(candidate: Candidate, bound: Bound) -> str:
    word = "kept" if bound.kept else "broken"
    told = word if bound.sure else f"{word}, within chance"
    return told if candidate.kept_in_search else f"{told}; not kept in the search"


def _sentence(line: str) -> str:
    return NEGATIVE.sub(MINUS, f"{line[0].upper()}{line[1:]}.")
