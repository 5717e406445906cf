"""Comparison tables: what is shown of a comparison, as grids of text.

Comparisons in, grids out; how a grid is printed is `harness.comparison.grids`' business.
"""

from collections.abc import Sequence

from harness.comparison.directions import better
from harness.comparison.grids import Grid, Tone
from harness.comparison.records import Comparison, Difference, Flip, Mover
from harness.comparison.sanity import COUNTERS
from harness.tables import UNDEFINED, figure, label, number
from metrics.stats import ALPHA, Estimate

N_MOVERS = 5
"""Texts shown that lost most, and that gained most."""
N_PARTS = 3
"""Components named for each."""
STRICT = "strict"
LEAST_PART = 0.5
"""Points of H from which a component is named."""


def comparison_grids(comparison: Comparison) -> list[Grid]:
    """Everything to show of one candidate; empty tables are left out."""
    grids = [
        metrics_grid(comparison),
        sanity_grid(comparison),
        *types_grids(comparison),
        flips_grid(comparison.flips),
        movers_grid(comparison.movers),
    ]
    return [grid for grid in grids if grid.rows]


def metrics_grid(comparison: Comparison) -> Grid:
    """The metrics: both values, difference, test, and what could have been shown."""
    title = f"{comparison.candidate} against {comparison.baseline}, {comparison.n_pairs} pairs"
    return _differences_grid(title, comparison.differences)


def types_grids(comparison: Comparison) -> list[Grid]:
    """IFEval-like tasks by family and instruction type, a table a task."""
    by_task: dict[str, list[Difference]] = {}
    for row in comparison.types:
        by_task.setdefault(row.metric.partition(f".{STRICT}.")[0], []).append(row)
    return [
        _differences_grid(
            f"{task} by instruction type, strict, %",
            rows,
            names=[_indented(row.metric.partition(f".{STRICT}.")[2]) for row in rows],
        )
        for task, rows in by_task.items()
    ]


def sanity_grid(comparison: Comparison) -> Grid:
    """How many answers of each run went wrong, task by task."""
    rows = []
    known = {d.metric: d for d in comparison.sanity}
    for task in dict.fromkeys(d.metric.rpartition(".")[0] for d in comparison.sanity):
        own = [known[f"{task}.{name}"] for name in COUNTERS]
        rows.append((task, comparison.baseline, *(_count(d.baseline) for d in own)))
        rows.append((task, comparison.candidate, *(_count(d.candidate) for d in own)))
    names = tuple(name.replace("_", " ") for name in COUNTERS)
    return Grid("answers that went wrong", ("task", "run", *names), tuple(rows), n_text=2)


def flips_grid(flips: Sequence[Flip]) -> Grid:
    """Prompts that only one of the two runs passed."""
    lost, won = ([f for f in flips if f.won is side] for side in (False, True))
    rows = [
        (
            "won" if flip.won else "lost",
            flip.task,
            flip.prompt_id,
            ", ".join(flip.instructions),
            "yes" if flip.loose_too else "no",
        )
        for flip in (*lost, *won)
    ]
    return Grid(
        f"prompts that flipped: {len(lost)} lost, {len(won)} won",
        ("", "task", "prompt", "instructions", "loose too"),
        tuple(rows),
        tuple("better" if flip.won else "worse" for flip in (*lost, *won)),
        n_text=5,
    )


def movers_grid(movers: Sequence[Mover]) -> Grid:
    """The texts that lost most in H, and those that gained most."""
    lost = [m for m in movers if m.difference < 0][:N_MOVERS]
    gained = [m for m in reversed(movers) if m.difference > 0][:N_MOVERS]
    rows = [
        (
            m.task,
            m.prompt_id,
            f"{m.baseline:.1f}",
            f"{m.candidate:.1f}",
            f"{m.difference:+.1f}",
            why(m),
        )
        for m in (*lost, *gained)
    ]
    tones: list[Tone] = ["worse" if m.difference < 0 else "better" for m in (*lost, *gained)]
    return Grid(
        "texts that lost and gained most in H, the prose-style score",
        ("task", "prompt", "baseline", "candidate", "H", "why (points of H)"),
        tuple(rows),
        tuple(tones),
        n_text=2,
    )


def why(mover: Mover) -> str:
    """The components that moved a text's H most: `loop -69.0, rep3g -4.1`."""
    by_size = sorted(mover.parts.items(), key=lambda part: -abs(part[1]))
    named = [(name, points) for name, points in by_size[:N_PARTS] if abs(points) >= LEAST_PART]
    return ", ".join(f"{name} {points:+.1f}" for name, points in named) or UNDEFINED


def tone_of(difference: Difference) -> Tone | None:
    """Whether the candidate is shown to be better, or worse; None where nothing is shown."""
    p = difference.p_value if difference.p_holm is None else difference.p_holm
    value, direction = difference.difference.value, better(difference.metric)
    if p is None or p >= ALPHA or not value or direction is None:
        return None
    return "better" if (value > 0) == (direction == "higher") else "worse"


def _differences_grid(
    title: str, rows: Sequence[Difference], names: Sequence[str] | None = None
) -> Grid:
    corrected = any(row.p_holm is not None for row in rows)
    floored = any(row.noise is not None for row in rows)
    columns = ["metric", "baseline [95 %]", "candidate [95 %]", "difference [95 %]"]
    columns += ["p, Holm" if corrected else "p", "could show"]
    columns += ["noise"] if floored else []
    cells = []
    for index, row in enumerate(rows):
        own = [
            label(row.metric) if names is None else names[index],
            figure(row.metric, row.baseline),
            figure(row.metric, row.candidate),
            figure(row.metric, row.difference, signed=True),
            _p(row.p_holm if corrected else row.p_value),
            _size(row.metric, row.smallest),
        ]
        own += [_size(row.metric, row.noise)] if floored else []
        cells.append((*own, _n(row)))
    return Grid(title, (*columns, "n"), tuple(cells), tuple(tone_of(row) for row in rows))


def _indented(name: str) -> str:
    """A family as it is, a type below it."""
    family, colon, kind = name.partition(":")
    return f"  {kind}" if colon else family


def _count(estimate: Estimate) -> str:
    if estimate.count is not None:
        return f"{estimate.count} of {estimate.n}"
    return UNDEFINED if estimate.value is None else f"{estimate.value * 100:.1f} %"


def _p(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.3g}"


def _size(metric: str, value: float | None) -> str:
    return UNDEFINED if value is None else number(metric, value)


def _n(row: Difference) -> str:
    """Prompts of the difference; both runs' own numbers before it where they are others."""
    own = {row.baseline.n, row.candidate.n, row.difference.n}
    if len(own) == 1:
        return str(row.difference.n)
    return f"{row.baseline.n}/{row.candidate.n}/{row.difference.n}"
