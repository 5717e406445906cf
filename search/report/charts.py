"""Report charts: the path of a search, what it trades, and which numbers matter.

Points in, Vega-Lite out, in the dress of `harness.report.charts`. Knows nothing of studies.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from harness.report.charts import MUTED, PAPER, ROW_PX, dressed, series_colour
from harness.report.document import Key

Kind = Literal["kept", "broken", "stopped"]
"""Whether a trial kept the constraints, broke one, or ended before its last answer."""
HEIGHT_PX = 300


class Point(NamedTuple):
    """One trial in a picture."""

    trial: int
    numbers: str
    """What was built, in words."""
    kind: Kind
    x: float
    y: float


class Axis(NamedTuple):
    """One direction of a picture."""

    title: str
    baseline: float | None = None
    """Where the baseline stands; None where that is not known."""
    bound: float | None = None
    """A limit that a trial must keep to; None where there is none."""


LEGEND = (
    Key(sign="circle", series=1, label="keeps the constraints"),
    Key(sign="hollow", series=0, label="breaks one"),
)
STOPPED = Key(sign="diamond", series=0, label="stopped early: an estimate")


def path_chart(
    points: Sequence[Point], best: Sequence[tuple[int, float]], y: Axis
) -> dict[str, Any]:
    """One objective, trial by trial, with the best so far as steps.

    Args:
        points: `x` is the trial's number.
        best: Number of a trial and the best objective from it on.
        y: The objective.
    """
    import altair as alt

    last = max(point.trial for point in points)
    line = [{"x": number, "y": value} for number, value in best]
    if line and line[-1]["x"] < last:
        line.append({"x": last, "y": line[-1]["y"]})
    scale = alt.Scale(domain=[-0.5, last + 0.5], nice=False, zero=False)
    x_axis = alt.Axis(grid=False, format="d", tickMinStep=1)
    here = alt.X("x:Q", scale=scale, axis=x_axis, title="Trial")
    layers = [
        *_rule(y.baseline, "y", dash=[3, 3]),
        *_line(line, here, _y(y), interpolate="step-after"),
        *_points(points, here, _y(y), y.title),
    ]
    return dressed(alt.layer(*layers), height=HEIGHT_PX)


def front_chart(points: Sequence[Point], front: Sequence[int], x: Axis, y: Axis) -> dict[str, Any]:
    """What is gained against what is lost: all trials, and the front joined by a line.

    Args:
        points: Every trial that has both figures.
        front: Numbers of the trials that no other beats in both.
        x, y: The two figures.
    """
    import altair as alt

    by_number = {point.trial: point for point in points}
    joined = sorted((by_number[number] for number in front), key=lambda point: (point.x, point.y))
    line = [{"x": point.x, "y": point.y} for point in joined]
    here = alt.X(
        "x:Q",
        title=x.title,
        scale=alt.Scale(zero=False, padding=16),
        axis=alt.Axis(grid=True, tickCount=6),
    )
    layers = [
        *_rule(x.bound, "x", dash=[]),
        *_rule(x.baseline, "x", dash=[3, 3]),
        *_rule(y.baseline, "y", dash=[3, 3]),
        *_line(line, here, _y(y), interpolate="linear"),
        *_points(points, here, _y(y), y.title, x.title),
    ]
    return dressed(alt.layer(*layers), height=HEIGHT_PX)


def importance_chart(shares: Mapping[str, float]) -> dict[str, Any]:
    """How much each number of the recipe moves the objective, as bars.

    Args:
        shares: Fractions by name; they add up to 1.
    """
    import altair as alt

    rows = [{"name": name, "share": share} for name, share in shares.items()]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("name:N", sort=list(shares), title=None, axis=alt.Axis(grid=False)),
        x=alt.X(
            "share:Q",
            title=None,
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format="%", tickCount=5),
        ),
    )
    bars = base.mark_bar(color=series_colour(1), height=12, cornerRadiusEnd=2).encode(
        tooltip=[
            alt.Tooltip("name:N", title="Number"),
            alt.Tooltip("share:Q", title="Importance", format=".0%"),
        ]
    )
    labels = base.mark_text(align="left", dx=6, color=MUTED).encode(
        text=alt.Text("share:Q", format=".0%")
    )
    return dressed(alt.layer(bars, labels), height=(ROW_PX + 4) * len(shares))


def legend_of(points: Sequence[Point], *, constrained: bool) -> tuple[Key, ...]:
    """What the signs of these points mean."""
    keys = LEGEND if constrained else (Key(sign="circle", series=1, label="trial"),)
    return (*keys, STOPPED) if any(point.kind == "stopped" for point in points) else keys


def _y(axis: Axis) -> Any:
    import altair as alt

    return alt.Y(
        "y:Q",
        title=axis.title,
        scale=alt.Scale(zero=False, padding=12),
        axis=alt.Axis(
            tickCount=6, titleAngle=0, titleAlign="left", titleAnchor="end", titleY=-14, titleX=0
        ),
    )


def _rule(at: float | None, channel: Literal["x", "y"], *, dash: Sequence[int]) -> list[Any]:
    """A line across the picture at one value; none where there is no value."""
    import altair as alt

    if at is None:
        return []
    chart = alt.Chart(alt.Data(values=[{channel: at}]))
    mark = chart.mark_rule(strokeWidth=1.5, strokeDash=list(dash), color=MUTED)
    return [mark.encode(**{channel: f"{channel}:Q"})]


def _points(points: Sequence[Point], x: Any, y: Any, y_title: str, x_title: str = "") -> list[Any]:
    """The trials as signs, those that count most on top."""
    import altair as alt

    rows = [point._asdict() for point in points]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("trial:Q", title="Trial"),
            alt.Tooltip("numbers:N", title="Numbers"),
            alt.Tooltip("y:Q", title=y_title, format="+.2f"),
            *([alt.Tooltip("x:Q", title=x_title, format="+.2f")] if x_title else []),
        ],
    )
    grey, accent = series_colour(0), series_colour(1)
    marks = {
        "stopped": {"shape": "diamond", "filled": True, "size": 40, "color": grey, "opacity": 0.7},
        "broken": {"filled": False, "size": 60, "stroke": grey, "strokeWidth": 2, "opacity": 1},
        "kept": {"filled": True, "size": 80, "color": accent, "stroke": PAPER, "opacity": 1},
    }
    present = {point.kind for point in points}
    return [
        base.transform_filter(f"datum.kind === '{kind}'").mark_point(**style)
        for kind, style in marks.items()
        if kind in present
    ]


def _line(rows: Sequence[Mapping[str, float]], x: Any, y: Any, *, interpolate: str) -> list[Any]:
    """A line through points in their order; none through fewer than two."""
    import altair as alt

    if len(rows) < 2:
        return []
    chart = alt.Chart(alt.Data(values=[{**row, "order": i} for i, row in enumerate(rows)]))
    mark = chart.mark_line(
        interpolate=interpolate, strokeWidth=2, color=series_colour(1), opacity=0.45
    )
    return [mark.encode(x=x, y=y, order="order:Q")]
