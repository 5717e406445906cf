"""Document: what a report says, before it is a page.

Neutral records of tables, charts and sections. Knows nothing of runs, studies or HTML; whoever has
something to report (this room, and the search) makes these, and `harness.report.page` prints them.
Every text in them is plain text: the page escapes it.
"""

from typing import Any, Literal

from harness.runs import Record

Tone = Literal["better", "worse"]


class Strip(Record):
    """A difference with its interval, to be drawn in a table's cell, around zero."""

    low: float
    """The ends and the value are fractions of the strip's half width, -1 to 1."""
    value: float
    high: float
    limit: float | None = None
    """Where a bound lies, such as the noise floor; drawn on both sides."""
    tone: Tone | None = None


class Cell(Record):
    """One cell of a table."""

    text: str
    detail: str = ""
    """In smaller print: an interval, a unit."""
    minor: bool = False
    """Whether a narrow screen may leave the detail out."""
    tone: Tone | None = None
    strip: Strip | None = None


class Column(Record):
    """How a table's column looks."""

    label: str
    numeric: bool = True
    """Set in figures, to the right."""


class Table(Record):
    """Rows under columns; the first cell of a row names it."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    groups: tuple[tuple[str, int], ...] = ()
    """Headings between the rows, each with the number of rows it stands above; may be none."""
    marked: int | None = None
    """Index of the row that matters most."""


class Key(Record):
    """One line of a chart's legend."""

    sign: Literal[
        "tick", "bar", "circle", "triangle", "square", "diamond", "hollow", "line", "band"
    ]
    series: int
    """Colour: 0 is the baseline's, 1 the first candidate's, and so on."""
    label: str


class Chart(Record):
    """A picture of figures, with the same figures as a table for whoever cannot see it."""

    id: str
    """Unique in the document; letters, digits and hyphens."""
    title: str
    caption: str
    """What is to be seen, one sentence, in plain words: the picture's text alternative as well."""
    spec: dict[str, Any]
    """Vega-Lite, self-contained."""
    table: Table
    legend: tuple[Key, ...] = ()
    wide: bool = True
    """Whether it takes the full width; two narrow ones stand side by side."""


class Section(Record):
    """A part of the document, in its table of contents."""

    id: str
    title: str
    lead: str = ""
    """What the section is for, in a sentence."""
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    folded: tuple[Table, ...] = ()
    """Long tables, shown on demand."""
    notes: tuple[str, ...] = ()


class Document(Record):
    """A whole report but for its completions."""

    title: str
    kind: str
    """What was reported on: a study, a comparison, a run."""
    verdict: str
    """The answer in a sentence."""
    evidence: str = ""
    """The figures that it rests on."""
    remarks: tuple[tuple[str, str], ...] = ()
    """The same of each other candidate: a sentence, and its figures."""
    facts: tuple[tuple[str, str], ...] = ()
    """Name and value of what a reader asks first."""
    sections: tuple[Section, ...]


def slug(name: str) -> str:
    """A name as a part of an id: letters, digits and hyphens."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
