"""Glance: the tables of a card, as grids of text.

Evidence in, grids out; how a grid is printed is `harness.comparison.grids`' business. Beside each
figure stand its interval and its n, beside the build the baseline.
"""

from collections.abc import Iterable, Sequence

from harness.card.evidence import Evidence
from harness.card.provenance import Provenance
from harness.comparison.grids import Grid
from harness.comparison.records import Difference
from harness.comparison.sanity import COUNTERS
from harness.report.glance import HEADLINES, LEFT_OUT
from harness.report.numerals import (
    UNDEFINED,
    interval,
    name_of,
    number,
    p_of,
    p_text,
    unit_of,
)
from harness.runs import RunHeader
from harness.settings import Sampling
from metrics.stats import Estimate


def glance_grid(evidence: Evidence) -> Grid:
    """The figures that matter most and the answers that went wrong, beside the baseline's."""
    return _grid(evidence, HEADLINES, wrong=True)


def figures_grid(evidence: Evidence) -> Grid:
    """Every figure but the counts of answers that went wrong."""
    return _grid(evidence, None, wrong=False)


def never(evidence: Evidence) -> list[str]:
    """What happened in no answer of either run, task by task, in words."""
    if evidence.comparison is None:
        return []
    found: dict[str, list[str]] = {}
    for row in evidence.comparison.sanity:
        if (row.baseline.value, row.candidate.value) == (0, 0):
            found.setdefault(_task(row.metric), []).append(name_of(row.metric).lower())
    return [f"{task}: {', '.join(names)}" for task, names in found.items()]


def files_grid(evidence: Evidence, file: str) -> Grid:
    """The build and the baseline, with what proves which they are.

    Args:
        evidence: Of the build.
        file: What the build's file is called where it is published.
    """
    sides = [("this build", file, evidence.header)]
    if evidence.baseline is not None:
        header = evidence.baseline.header()
        sides.append(("baseline", header.model.file, header))
    return Grid(
        "",
        ("", "File", "Quantisation", "Bytes", "SHA-256"),
        tuple(
            (name, called, h.model.quantization, f"{h.model.size_bytes:,}", h.model.sha256)
            for name, called, h in sides
        ),
        n_text=3,
    )


def ingredients_grid(provenance: Provenance) -> Grid:
    """What the build was made of."""
    return Grid(
        "",
        ("Part", "Name", "How", "SHA-256"),
        tuple(
            (found.role, found.name, found.detail, found.sha256 or UNDEFINED)
            for found in provenance.ingredients
        ),
        n_text=4,
    )


def numbers_grid(provenance: Provenance) -> Grid:
    """The merge's numbers."""
    return Grid("", ("Number", "Value"), provenance.numbers)


def tasks_grid(header: RunHeader) -> Grid:
    """What was asked, and how."""
    return Grid(
        "",
        ("Task", "Prompts", "Answers each", "Sampling", "New tokens", "SHA-256 of the prompts"),
        tuple(
            (
                task.name,
                f"{task.n_prompts:,}",
                str(task.samples),
                _sampling(task.sampling),
                f"at most {task.sampling.max_tokens:,}",
                task.prompts_sha256,
            )
            for task in header.tasks
        ),
        n_text=6,
    )


def named(rows: Iterable[Difference]) -> str:
    """Rows in a sentence: `ifeval: prompts followed, strict −7.0 [−9.4, −5.0]`."""
    return "; ".join(
        f"{_task(row.metric)}: {_lower(name_of(row.metric))} "
        f"{_figure(row.metric, row.difference, signed=True)}"
        for row in rows
    )


def _grid(evidence: Evidence, only: Sequence[str] | None, *, wrong: bool) -> Grid:
    """Figures with n and interval, beside the baseline's and the difference where there is one."""

    def shown(metric: str) -> bool:
        short = metric.partition(".")[2]
        if short in COUNTERS:
            return wrong
        return short not in LEFT_OUT if only is None else short in only

    comparison = evidence.comparison
    if comparison is None:
        rows = tuple(
            (_task(m), _label(m), _figure(m, e), f"{e.n:,}")
            for m, e in evidence.summary.metrics.items()
            if shown(m)
        )
        return Grid("", ("Task", "Figure", "This build", "n"), rows, n_text=2)
    found = [d for d in comparison.differences if shown(d.metric)]
    if wrong:
        found += [d for d in comparison.sanity if (d.baseline.value, d.candidate.value) != (0, 0)]
    order = [task.name for task in evidence.header.tasks]
    found.sort(key=lambda d: order.index(_task(d.metric)))
    return Grid(
        "",
        ("Task", "Figure", "This build", "Baseline", "Difference", "p", "n"),
        tuple(_row(d) for d in found),
        n_text=2,
    )


def _row(row: Difference) -> tuple[str, ...]:
    return (
        _task(row.metric),
        _label(row.metric),
        _figure(row.metric, row.candidate),
        _figure(row.metric, row.baseline),
        _figure(row.metric, row.difference, signed=True),
        p_text(p_of(row)),
        _n(row),
    )


def _figure(metric: str, estimate: Estimate, *, signed: bool = False) -> str:
    ends = interval(metric, estimate, signed=signed)
    text = number(metric, estimate.value, signed=signed)
    return f"{text} {ends}" if ends else text


def _n(row: Difference) -> str:
    """Of the build and of the baseline where they differ, then the pairs."""
    own = [row.candidate.n, row.baseline.n, row.difference.n]
    return f"{own[0]:,}" if len(set(own)) == 1 else " / ".join(f"{n:,}" for n in own)


def _label(metric: str) -> str:
    unit = unit_of(metric)
    return f"{name_of(metric)} ({unit})" if unit else name_of(metric)


def _task(metric: str) -> str:
    return metric.partition(".")[0]


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]


def _sampling(sampling: Sampling) -> str:
    if sampling.temperature == 0:
        return "greedy"
    return (
        f"temperature {sampling.temperature:g}, top-k {sampling.top_k}, top-p "
        f"{sampling.top_p:g}, min-p {sampling.min_p:g}, seed {sampling.seed}"
    )
