"""Contents: what a report on runs says, section by section.

Runs and their comparison in, a neutral document out. Knows which figures belong to which question;
nothing of HTML.
"""

from collections.abc import Sequence

from harness.comparison import Comparison, ComparisonSet, Difference
from harness.report import charts
from harness.report.document import Cell, Chart, Column, Document, Section, Table
from harness.report.glance import comparison_table, figures_table, runs_table, sanity_table
from harness.report.numerals import (
    NAMES,
    UNDEFINED,
    UNITS,
    interval,
    number,
    tone_of,
)
from harness.report.verdict import best_first, verdict_on
from harness.runs import Run, Score
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


def runs_document(
    baseline: Run,
    candidates: Sequence[Run],
    compared: ComparisonSet | None,
    *,
    title: str | None = None,
    sections: Sequence[Section] = (),
) -> Document:
    """A report on a baseline and its candidates, or on one run alone.

    Args:
        baseline: The run that the others are compared with, or the only one.
        candidates: In the order in which they are shown.
        compared: Their comparison, in detail; None without candidates.
        title: The document's; by default made of the runs' names.
        sections: Of what the runs came from, shown behind the first table.
    """
    comparisons = compared.comparisons if compared is not None else ()
    verdicts = [verdict_on(comparison) for comparison in best_first(comparisons)]
    own = [_glance(baseline, candidates, comparisons)]
    own += sections
    own += [_types(task, comparisons) for task in _tasks(baseline, "ifeval") if comparisons]
    own += [_prose(task, (baseline, *candidates)) for task in _tasks(baseline, "prose")]
    if comparisons:
        own.append(_wrong(comparisons))
    own.append(_made((baseline, *candidates)))
    names = [run.name for run in candidates]
    return Document(
        title=title or (f"{' · '.join(names)} against {baseline.name}" if names else baseline.name),
        kind="Comparison" if names else "Run",
        verdict=verdicts[0].sentence if verdicts else _alone(baseline),
        evidence=verdicts[0].evidence if verdicts else "",
        remarks=tuple(verdicts[1:]),
        facts=_facts(baseline, candidates),
        sections=tuple(own),
    )


def _alone(run: Run) -> str:
    figures = run.summary().metrics
    heads = [
        f"{m.split('.', 1)[0]} {NAMES[m.split('.', 1)[1]].lower()} {number(m, figures[m].value)} %"
        for m in figures
        if m.endswith(".prompt_level_strict_acc")
    ]
    heads += [f"H {number(m, figures[m].value)}" for m in figures if m.endswith(".H")]
    return f"{run.name}: {', '.join(heads)}." if heads else f"{run.name}, alone."


def _facts(baseline: Run, candidates: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    header = baseline.header()
    asked = ", ".join(f"{task.n_prompts} {task.name}" for task in header.tasks)
    files = {run.header().model.quantization for run in (baseline, *candidates)}
    return (
        ("Baseline", baseline.name),
        *(
            (("Candidates" if len(candidates) > 1 else "Candidate", str_of(candidates)),)
            if candidates
            else ()
        ),
        ("Prompts", asked),
        ("Files", ", ".join(sorted(files))),
        ("Thinking", "on" if header.chat.thinking else "off"),
    )


def str_of(runs: Sequence[Run]) -> str:
    """The runs' names."""
    return ", ".join(run.name for run in runs)


def _tasks(run: Run, kind: str) -> list[str]:
    return [task.name for task in run.header().tasks if task.kind == kind]


def _glance(baseline: Run, candidates: Sequence[Run], comparisons: Sequence[Comparison]) -> Section:
    notes = dict.fromkeys(note for comparison in comparisons for note in comparison.notes)
    if not comparisons:
        return Section(
            id="glance", title="At a glance", tables=(figures_table(baseline.summary().metrics),)
        )
    tables = [comparison_table(comparison) for comparison in comparisons]
    if len(comparisons) == 1:
        shown, folded = tables, []
    else:
        runs = {run.name: run.summary().metrics for run in (baseline, *candidates)}
        shown, folded = [runs_table(runs, comparisons)], tables
    return Section(
        id="glance",
        title="At a glance",
        lead="Brackets are 95 % intervals over prompts. ▲ shown to be better, ▼ shown to be worse "
        "at the 5 % level; without a sign, nothing is shown. Detectable is the smallest "
        "difference that these prompts could have shown.",
        tables=tuple(shown),
        folded=tuple(folded),
        notes=tuple(notes),
    )


def _types(task: str, comparisons: Sequence[Comparison]) -> Section:
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
        rows.append(charts.TypeRow(_type_label(name), first.baseline.n, values))
    order = sorted(range(len(rows)), key=lambda i: (_moved(by_name, names[i]), names[i]))
    chart = Chart(
        id=f"types-{_slug(task)}",
        title=f"{task}: instructions followed, by type",
        caption="Share of instructions followed to the letter, from the type that lost most to "
        "the one that gained most; the number beside a type is how many instructions have it.",
        spec=charts.types_chart([rows[i] for i in order], runs),
        table=_types_table(task, by_name, runs),
        legend=charts.runs_legend(runs),
    )
    return Section(
        id=f"types-{_slug(task)}-section",
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


def _prose(task: str, runs: Sequence[Run]) -> Section:
    """Distributions of H and its parts."""
    scores = {run.name: [s for s in run.scores() if s.task == task] for run in runs}
    own = [_distribution(task, part, scores) for part in PARTS]
    return Section(
        id=f"prose-{_slug(task)}",
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
            q = charts.quartiles_of([value for _, value in found])
            row += [Cell(text=number(f"{task}.{part}", value)) for value in q]
        else:
            row += [Cell(text=UNDEFINED)] * 3
        rows.append(tuple(row))
    name = NAMES[part]
    return Chart(
        id=f"distribution-{_slug(task)}-{part.replace('_', '-')}",
        title=f"{name}, {UNITS[part]}" if part in UNITS else name,
        caption=BLURBS[part],
        spec=charts.distribution_chart(values, band, end=(0.0, 100.0) if part == "H" else None),
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


def _wrong(comparisons: Sequence[Comparison]) -> Section:
    """Answers that went wrong, counted; what happened in no run in one line."""
    counted, never = sanity_table(comparisons)
    return Section(
        id="wrong",
        title="Answers that went wrong",
        lead="A mean can hide them, so they are counted beside it.",
        tables=(counted,) if counted is not None else (),
        notes=(f"In no run: {', '.join(never)}.",) if never else (),
    )


def _made(runs: Sequence[Run]) -> Section:
    """What was run, with which hashes and settings, so that it can be run again."""
    rows = []
    for run in runs:
        header = run.header()
        model = header.model
        rows.append(
            (
                Cell(text=run.name),
                Cell(text=model.file, detail=model.quantization),
                Cell(text=f"{model.size_bytes / 1e9:.2f} GB"),
                Cell(text=model.sha256),
            )
        )
    first = runs[0].header()
    settings = [
        (
            Cell(text=f"{task.name}"),
            Cell(text=f"{task.n_prompts:,} prompts, {task.samples} answer each"),
            Cell(
                text="greedy"
                if task.sampling.temperature == 0
                else f"temperature {task.sampling.temperature:g}, top-k {task.sampling.top_k}, "
                f"top-p {task.sampling.top_p:g}, min-p {task.sampling.min_p:g}, "
                f"seed {task.sampling.seed}",
                detail=f"at most {task.sampling.max_tokens:,} new tokens",
            ),
            Cell(text=task.prompts_sha256),
        )
        for task in first.tasks
    ]
    signature = runs[0].summary().prose_signature
    machine, versions = first.machine, first.versions
    notes = [
        f"llama-cpp-python {machine.llama_cpp_python} on {machine.processor or machine.platform}, "
        f"{machine.n_cpus} CPUs; weighin {versions.weighin}, lm-eval {versions.lm_eval}.",
        f"Chat template SHA-256 {first.chat.template_sha256}.",
    ]
    if signature is not None:
        notes.append(f"Prose scored as {signature}.")
    return Section(
        id="made",
        title="How it was measured",
        tables=(
            Table(
                caption="Files",
                columns=tuple(
                    Column(label=label, numeric=label == "Size")
                    for label in ("Run", "File", "Size", "SHA-256")
                ),
                rows=tuple(rows),
            ),
            Table(
                caption="Prompts",
                columns=tuple(
                    Column(label=label, numeric=False)
                    for label in ("Task", "Asked", "Sampling", "SHA-256 of the prompts")
                ),
                rows=tuple(settings),
            ),
        ),
        notes=tuple(notes),
    )


def _slug(name: str) -> str:
    """A name as a part of an id: letters, digits and hyphens."""
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
