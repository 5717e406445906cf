"""Types: a task's instructions by type, as a picture and a table.

Comparisons in detail in, one section out.
"""

from collections.abc import Sequence

from harness.comparison.records import Comparison, Difference
from harness.report.charts import TypeRow, runs_legend, types_chart
from harness.report.document import Cell, Chart, Column, Section, Table, slug
from harness.report.numerals import UNDEFINED, interval, number, tone_of


def types_section(task: str, comparisons: Sequence[Comparison]) -> Section:
    """A task's instructions by type: a picture of all, the figures behind it."""
    prefix = f"{task}.strict."
    by_name = [
        {d.metric.removeprefix(prefix): d for d in c.types if d.metric.startswith(prefix)}
        for c in comparisons
    ]
    names = [name for name in by_name[0] if ":" in name]
    runs = [comparisons[0].baseline, *(c.candidate for c in comparisons)]
    rows = []
    for name in names:
        found = [own.get(name) for own in by_name]
        first = found[0]
        assert first is not None
        values = (first.baseline.value, *(d.candidate.value if d else None for d in found))
        rows.append(TypeRow(_type_label(name), first.baseline.n, values))
    order = sorted(range(len(rows)), key=lambda i: (_moved(by_name, names[i]), names[i]))
    chart = Chart(
        id=f"types-{slug(task)}",
        title=f"{task}: instructions followed, by type",
        caption="Share of instructions followed to the letter, from the type that lost most to "
        "the one that gained most; the number beside a type is how many instructions have it.",
        spec=types_chart([rows[i] for i in order], runs),
        table=_types_table(task, by_name, runs),
        legend=runs_legend(runs),
    )
    return Section(
        id=f"types-{slug(task)}-section",
        title=f"Instructions by type: {task}",
        lead="Few instructions a type: a single type that moves is a hint, seldom a proof.",
        charts=(chart,),
    )


def _types_table(task: str, by_name: Sequence[dict[str, Difference]], runs: Sequence[str]) -> Table:
    rows = []
    for name, first in by_name[0].items():
        cells = [
            Cell(text=_type_label(name)),
            Cell(text=f"{first.baseline.n:,}"),
            Cell(text=number(first.metric, first.baseline.value)),
        ]
        for own in by_name:
            d = own.get(name)
            if d is None:
                cells.append(Cell(text=UNDEFINED))
                continue
            moved = number(d.metric, d.difference.value, signed=True)
            ends = interval(d.metric, d.difference, signed=True)
            cells.append(
                Cell(
                    text=number(d.metric, d.candidate.value),
                    detail=f"{moved} {ends}".strip(),
                    tone=tone_of(d),
                )
            )
        rows.append(tuple(cells))
    families = [name.split(":")[0] for name in by_name[0]]
    return Table(
        caption=f"{task}: instructions followed by type, in percent",
        columns=(
            Column(label="Type", numeric=False),
            Column(label="n"),
            *(Column(label=run) for run in runs),
        ),
        rows=tuple(rows),
        groups=tuple((f.replace("_", " "), families.count(f)) for f in dict.fromkeys(families)),
    )


def _moved(by_name: Sequence[dict[str, Difference]], name: str) -> float:
    """Mean difference of a type over the candidates."""
    values = [own[name].difference.value or 0.0 for own in by_name if name in own]
    return sum(values) / len(values)


def _type_label(name: str) -> str:
    family, _, kind = name.partition(":")
    return kind.replace("_", " ") if kind else f"{family.replace('_', ' ')}, all"
