"""Charts: how every picture of a report looks, and those of runs.

Rows of figures in, Vega-Lite out, by Altair. Colours are the page's CSS variables, so that one
picture is right in light, in dark and on paper. Knows nothing of runs or files; the search draws
its own pictures in the same dress (`dressed`).
"""

import math
from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any, Literal, NamedTuple

from harness.report.document import Key

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
SIGNS: tuple[Literal["circle", "triangle", "square", "diamond"], ...] = (
    "circle",
    "triangle",
    "square",
    "diamond",
)
"""Signs of the candidates, in order; a colour alone would not tell them apart."""
VEGA_SHAPES = {"triangle": "triangle-up"}
"""Vega's names of the signs that it calls otherwise."""
ROW_PX = 26
"""Height of one row of a chart of rows."""
MAX_SERIES = 5
"""Colours that the page has, the baseline's included."""

MUTED, INK, LINE, BAND, PAPER = (
    f"var(--{name})" for name in ("muted", "ink", "line", "band", "paper")
)


def series_colour(index: int) -> str:
    """The page's colour of a run: 0 the baseline, then the candidates."""
    return f"var(--series-{index % MAX_SERIES})"


def sign_of(candidate: int) -> Literal["circle", "triangle", "square", "diamond"]:
    """The sign of a candidate, 0 the first."""
    return SIGNS[candidate % len(SIGNS)]


def dressed(chart: Any, *, height: int) -> dict[str, Any]:
    """An Altair chart as Vega-Lite in the report's dress, as wide as its place.

    Args:
        chart: A single or a layered chart.
        height: In pixels.
    """
    spec: dict[str, Any] = chart.properties(width="container", height=height).to_dict()
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["config"] = {
        "aria": False,  # the page says the same in words and as a table
        "background": None,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "domain": False,
            "ticks": False,
            "grid": True,
            "gridColor": LINE,
            "labelColor": MUTED,
            "labelFontSize": 12,
            "labelPadding": 6,
            "titleColor": MUTED,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "text": {"color": INK, "fontSize": 12},
    }
    return spec


class TypeRow(NamedTuple):
    """One instruction type in all runs."""

    label: str
    n: int
    """Instructions of this type."""
    values: tuple[float | None, ...]
    """Shares followed, the baseline's first; None where a run has none."""


def types_chart(rows: Sequence[TypeRow], runs: Sequence[str]) -> dict[str, Any]:
    """Shares of instructions followed, one row a type: the baseline a tick, candidates signs.

    Args:
        rows: From top to bottom.
        runs: Names, the baseline's first.
    """
    import altair as alt

    data = [
        {"type": f"{row.label} · {row.n}", "run": name, "series": index, "value": row.values[index]}
        for row in rows
        for index, name in enumerate(runs)
        if row.values[index] is not None
    ]
    order = [f"{row.label} · {row.n}" for row in rows]
    base = alt.Chart(alt.Data(values=data))
    y = alt.Y("type:N", sort=order, title=None, axis=alt.Axis(grid=False))
    x = alt.X(
        "value:Q",
        title=None,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%", tickCount=5),
    )
    tip = [
        alt.Tooltip("type:N", title="Type"),
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("value:Q", title="Followed", format=".1%"),
    ]
    layers = [
        base.mark_rule(strokeWidth=3, color=LINE, strokeCap="round").encode(
            y=y, x=alt.X("min(value):Q", title=None), x2="max(value):Q"
        ),
        base.transform_filter("datum.series === 0")
        .mark_tick(thickness=3, size=16, color=series_colour(0))
        .encode(y=y, x=x, tooltip=tip),
    ]
    for index in range(len(runs) - 1, 0, -1):  # the first candidate on top
        sign = sign_of(index - 1)
        layers.append(
            base.transform_filter(f"datum.series === {index}")
            .mark_point(
                filled=True,
                size=95 if sign == "triangle" else 75,
                opacity=1,
                color=series_colour(index),
                stroke=PAPER,
                strokeWidth=1,
                shape=VEGA_SHAPES.get(sign, sign),
            )
            .encode(y=y, x=x, tooltip=tip)
        )
    return dressed(alt.layer(*layers), height=ROW_PX * len(rows))


def runs_legend(runs: Sequence[str]) -> tuple[Key, ...]:
    """The baseline's tick and the candidates' signs."""
    return (
        Key(sign="tick", series=0, label=runs[0]),
        *(
            Key(sign=sign_of(index), series=index + 1, label=name)
            for index, name in enumerate(runs[1:])
        ),
    )


class Quartiles(NamedTuple):
    """The middle half of some values."""

    low: float
    median: float
    high: float


def quartiles_of(values: Sequence[float]) -> Quartiles:
    """Quartiles, the ends included among the values; one value is all three.

    Args:
        values: At least one.
    """
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    low, median, high = quantiles(values, n=4, method="inclusive")
    return Quartiles(low, median, high)


def distribution_chart(
    values: Mapping[str, Sequence[tuple[str, float]]],
    band: tuple[float, float] | None,
    *,
    end: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """One figure of every text: a stroke a text, one row a run, the middle half a bar.

    Args:
        values: Per run, in order, each text's name and figure.
        band: Where human prose lies; an end may be infinite. None draws none.
        end: Least and most that the figure can be, where the whole range is to be shown.
    """
    import altair as alt

    names = list(values)
    texts = [
        {"run": run, "series": index, "text": text, "value": value}
        for index, (run, found) in enumerate(values.items())
        for text, value in found
    ]
    middles = []
    for index, (run, found) in enumerate(values.items()):
        if found:
            q = quartiles_of([value for _, value in found])
            middles.append(
                {"run": run, "series": index, "low": q.low, "value": q.median, "high": q.high}
            )
    every = [value for found in values.values() for _, value in found]
    every += [edge for edge in band or () if math.isfinite(edge)]
    if band is None or math.isinf(band[0]):
        every.append(0.0)
    low, high = end or (min(every), max(every))
    scale = alt.Scale(domain=[low, high], nice=end is None, zero=False)
    x = alt.X("value:Q", title=None, scale=scale, axis=alt.Axis(tickCount=5))
    rows = alt.Scale(domain=names)  # a run without a value keeps its row
    y = alt.Y("run:N", scale=rows, sort=names, title=None, axis=alt.Axis(grid=False))
    colour = alt.Color(
        "series:N",
        legend=None,
        scale=alt.Scale(
            domain=list(range(len(names))), range=[series_colour(i) for i in range(len(names))]
        ),
    )
    tip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("text:N", title="Text"),
        alt.Tooltip("value:Q", title="Value", format=".3~g"),
    ]
    layers = []
    if band is not None:
        edges = [{"from": max(band[0], low), "to": min(band[1], high)}]
        layers.append(
            alt.Chart(alt.Data(values=edges))
            .mark_rect(color=BAND)
            .encode(x=alt.X("from:Q", scale=scale, title=None), x2="to:Q")
        )
    strokes = alt.Chart(alt.Data(values=texts))
    bars = alt.Chart(alt.Data(values=middles))
    layers += [
        strokes.mark_tick(thickness=1.5, size=16, opacity=0.55, cursor="pointer").encode(
            x=x, y=y, color=colour, tooltip=tip
        ),
        bars.mark_rule(strokeWidth=5, opacity=0.9, strokeCap="round").encode(
            x=alt.X("low:Q", scale=scale, title=None), x2="high:Q", y=y, color=colour
        ),
        bars.mark_point(filled=True, size=70, opacity=1, fill=PAPER, strokeWidth=2.5).encode(
            x=x, y=y, stroke=colour
        ),
    ]
    return dressed(alt.layer(*layers), height=(ROW_PX + 4) * len(names))
