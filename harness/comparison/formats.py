"""Comparison formats: a set of comparisons as a terminal, a page, a file or a program reads it.

Comparisons in, text out. Markdown and HTML are fragments, to be put into a page; CSV has one row a
candidate and metric, in the metrics' own units; JSON is the record itself.
"""

import csv
import html
import io

from harness.comparison.grids import escape_markdown, html_table, markdown
from harness.comparison.records import ComparisonSet, Difference
from harness.comparison.tables import comparison_grids
from metrics.stats import Estimate

CSV_COLUMNS = (
    "baseline_run",
    "candidate_run",
    "metric",
    *(
        f"{side}{part}"
        for side in ("baseline", "candidate")
        for part in ("", "_low", "_high", "_n")
    ),
    *(f"difference{part}" for part in ("", "_low", "_high", "_n")),
    "p_value",
    "p_holm",
    "smallest",
    "noise",
)


def to_markdown(found: ComparisonSet) -> str:
    """Tables and notes in GitHub's Markdown."""
    parts = []
    for comparison in found.comparisons:
        parts += [markdown(grid) for grid in comparison_grids(comparison)]
        parts += [f"- {escape_markdown(note)}" for note in comparison.notes]
        parts += [""]
    return "\n".join(parts).rstrip() + "\n"


def to_html(found: ComparisonSet) -> str:
    """Tables and notes as an HTML fragment."""
    parts = []
    for comparison in found.comparisons:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in comparison.notes)
        tables = "".join(html_table(grid) for grid in comparison_grids(comparison))
        listed = f"<ul>{notes}</ul>\n" if notes else ""
        parts.append(f"<section>\n{tables}{listed}</section>\n")
    return "".join(parts)


def to_json(found: ComparisonSet) -> str:
    """The record."""
    return found.model_dump_json(indent=2) + "\n"


def to_csv(found: ComparisonSet) -> str:
    """One row a candidate and metric; what is undefined is an empty field."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for comparison in found.comparisons:
        for row in (*comparison.differences, *comparison.sanity, *comparison.types):
            writer.writerow((comparison.baseline, comparison.candidate, *_cells(row)))
    return file.getvalue()


def _cells(row: Difference) -> tuple[str | float | int | None, ...]:
    def of(estimate: Estimate) -> tuple[float | int | None, ...]:
        return estimate.value, estimate.low, estimate.high, estimate.n

    return (
        row.metric,
        *of(row.baseline),
        *of(row.candidate),
        *of(row.difference),
        row.p_value,
        row.p_holm,
        row.smallest,
        row.noise,
    )
