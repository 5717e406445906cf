"""Contents: what a report on runs says, section by section.

Runs and their comparison in, a neutral document out. Knows which figures belong to which question;
nothing of HTML.
"""

from collections.abc import Sequence

from harness.comparison.records import Comparison
from harness.report.document import Cell, Column, Document, Section, Table
from harness.report.glance import comparison_table, figures_table, runs_table, sanity_table
from harness.report.numerals import number
from harness.report.prose import prose_section
from harness.report.subject import Matter, Subject
from harness.report.types import types_section
from harness.report.verdict import verdict_on
from harness.runs import Run


def document_on(
    matter: Matter,
    *,
    kind: str | None = None,
    title: str | None = None,
    claim: str | None = None,
    facts: Sequence[tuple[str, str]] = (),
    sections: Sequence[Section] = (),
) -> Document:
    """A report on a baseline and its candidates, or on one run alone.

    Args:
        matter: What it is about.
        kind: What to call that; by default a comparison or a run.
        title: The document's; by default made of the runs' names.
        claim: A verdict in place of the one that the comparison gives.
        facts: More names and values for its head.
        sections: Of what the runs came from, shown behind the first table.
    """
    baseline, comparisons = matter.baseline, matter.comparisons
    verdicts = [verdict_on(comparison) for comparison in comparisons]
    own = [_glance(matter), *sections]
    if comparisons:
        own += [types_section(task, comparisons) for task in _tasks(baseline.run, "ifeval")]
    own += [prose_section(task, matter.subjects) for task in _tasks(baseline.run, "prose")]
    if comparisons:
        own.append(_wrong(comparisons))
    own.append(_made(matter.subjects))
    names = [subject.name for subject in matter.candidates]
    of_comparison = f"{' · '.join(names)} against {baseline.name}" if names else baseline.name
    return Document(
        title=title or of_comparison,
        kind=kind or ("Comparison" if names else "Run"),
        verdict=claim or (verdicts[0].sentence if verdicts else _alone(baseline)),
        evidence=verdicts[0].evidence if verdicts and claim is None else "",
        remarks=tuple(verdicts[1:] if claim is None else verdicts),
        facts=(*facts, *_facts(matter)),
        sections=tuple(own),
    )


def _alone(subject: Subject) -> str:
    """What one run's figures come to, compared with nothing."""
    figures = subject.run.summary().metrics
    heads = [
        f"{metric.split('.', 1)[0]} {number(metric, estimate.value)} % of prompts followed"
        for metric, estimate in figures.items()
        if metric.endswith(".prompt_level_strict_acc")
    ]
    heads += [f"H {number(m, e.value)}" for m, e in figures.items() if m.endswith(".H")]
    return f"{subject.name}: {', '.join(heads)}." if heads else f"{subject.name}."


def _facts(matter: Matter) -> tuple[tuple[str, str], ...]:
    header = matter.baseline.run.header()
    asked = ", ".join(f"{task.n_prompts} {task.name}" for task in header.tasks)
    files = {subject.run.header().model.quantization for subject in matter.subjects}
    return (
        ("Prompts", asked),
        ("Files", ", ".join(sorted(files))),
        *((("Thinking", "on"),) if header.chat.thinking else ()),
    )


def _tasks(run: Run, kind: str) -> list[str]:
    return [task.name for task in run.header().tasks if task.kind == kind]


def _glance(matter: Matter) -> Section:
    comparisons = matter.comparisons
    notes = dict.fromkeys(note for comparison in comparisons for note in comparison.notes)
    if not comparisons:
        figures = matter.baseline.run.summary().metrics
        return Section(id="glance", title="At a glance", tables=(figures_table(figures),))
    tables = [comparison_table(comparison) for comparison in comparisons]
    if len(comparisons) == 1:
        shown, folded = tables, []
    else:
        runs = {subject.name: subject.run.summary().metrics for subject in matter.subjects}
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


def _made(subjects: Sequence[Subject]) -> Section:
    """What was run, with which hashes and settings, so that it can be run again."""
    rows = []
    for subject in subjects:
        model = subject.run.header().model
        rows.append(
            (
                Cell(text=subject.name),
                Cell(text=model.file, detail=model.quantization),
                Cell(text=f"{model.size_bytes / 1e9:.2f} GB"),
                Cell(text=model.sha256),
            )
        )
    first = subjects[0].run.header()
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
    signature = subjects[0].run.summary().prose_signature
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
