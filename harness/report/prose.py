"""Prose: how H and its parts are distributed over the texts of every run.

Runs in, one section of small pictures out; the human ranges are those of `metrics.style`.
"""

from collections.abc import Sequence

from harness.report.charts import distribution_chart, quartiles_of
from harness.report.document import Cell, Chart, Column, Section, Table, slug
from harness.report.numerals import NAMES, UNDEFINED, UNITS, number
from harness.report.subject import Subject
from harness.runs import Score
from metrics.style import LIMITS

PARTS = ("H", "slop", "rep3g", "contrast", "diversity", "openers", "rhythm")
"""Prose figures whose distributions are drawn: H and its parts, by weight."""
BLURBS = {
    "H": "Style and form against human prose; not plot or sense.",
    "slop": "Words and phrases that language models over-use.",
    "rep3g": "Word trigrams that repeat within 400 words.",
    "contrast": "“Not X but Y” constructions.",
    "diversity": "Different words among 100 neighbours.",
    "openers": "Neighbouring sentences that begin alike.",
    "rhythm": "How much sentence lengths vary.",
}


def prose_section(task: str, subjects: Sequence[Subject]) -> Section:
    """Distributions of H and its parts."""
    scores = {
        subject.name: [s for s in subject.run.scores() if s.task == task] for subject in subjects
    }
    own = [_distribution(task, part, scores) for part in PARTS]
    return Section(
        id=f"prose-{slug(task)}",
        title=f"Prose style: {task}" if task != "prose" else "Prose style",
        lead="One stroke a text, the middle half of the texts as a bar, their median as a ring. "
        "The shaded range is where human prose lies. A stroke opens its text below.",
        charts=tuple(chart for chart in own if chart is not None),
    )


def _distribution(task: str, part: str, scores: dict[str, list[Score]]) -> Chart | None:
    values = {
        run: [
            (f"{s.task}/{s.prompt_id}/{s.sample}", round(float(value), 4))
            for s in found
            if s.prose is not None and (value := getattr(s.prose, part)) is not None
        ]
        for run, found in scores.items()
    }
    if not any(values.values()):
        return None
    limit = LIMITS.get(part)
    band = None if limit is None else (limit.low, limit.high)
    rows = []
    for run, found in values.items():
        row = [Cell(text=run), Cell(text=str(len(found)))]
        if found:
            q = quartiles_of([value for _, value in found])
            row += [Cell(text=number(f"{task}.{part}", value)) for value in q]
        else:
            row += [Cell(text=UNDEFINED)] * 3
        rows.append(tuple(row))
    name = NAMES[part]
    return Chart(
        id=f"distribution-{slug(task)}-{part.replace('_', '-')}",
        title=f"{name}, {UNITS[part]}" if part in UNITS else name,
        caption=BLURBS[part],
        spec=distribution_chart(values, band, end=(0.0, 100.0) if part == "H" else None),
        table=Table(
            caption=f"{name}: quartiles over texts",
            columns=(
                Column(label="Run", numeric=False),
                Column(label="Texts"),
                Column(label="Lower quartile"),
                Column(label="Median"),
                Column(label="Upper quartile"),
            ),
            rows=tuple(rows),
        ),
        wide=part == "H",
    )
