"""Limits: what a card's figures do not show, and what nobody measured.

Evidence and provenance in, sentences out, each of which follows from what the runs hold or lack.
"""

from collections.abc import Iterator

from harness.card.evidence import Evidence
from harness.card.glance import named
from harness.card.metadata import is_ifeval
from harness.card.provenance import Provenance
from harness.ifeval_set import N_PROMPTS
from harness.noise_floor import noise_floor
from harness.report.numerals import is_fraction, name_of, number, tone_of
from harness.report.verdict import STRICT, STYLE


def limitations(evidence: Evidence, provenance: Provenance) -> Iterator[str]:
    """What a reader must know before believing the figures."""
    comparison = evidence.comparison
    if provenance.chosen_by_figures:
        yield (
            "The build was chosen by these very figures, on these very prompts, so that they "
            "flatter it; prompts that the choice has not seen would show less."
        )
    if comparison is not None:
        rows = (*comparison.differences, *comparison.sanity)
        worse = [row for row in rows if tone_of(row) == "worse"]
        if worse:
            yield f"Shown to be worse than the baseline: {named(worse)}."
        heads = [d for d in comparison.differences if d.metric.endswith((STRICT, STYLE))]
        for row in heads:
            if row.smallest:  # 0 where every answer has the same figure
                points = " points" if is_fraction(row.metric) else ""
                yield (
                    f"{row.metric.partition('.')[0]}: a difference under "
                    f"{number(row.metric, row.smallest)}{points} in "
                    f"“{name_of(row.metric)}” could not have been shown with these prompts."
                )
        for note in comparison.notes:
            yield f"{note[0].upper()}{note[1:]}."
    if any(task.kind == "prose" for task in evidence.header.tasks):
        yield "H measures style and form, in English; not plot, sense or truth."
    if evidence.header.versions.dirty:
        yield "weighin's own source had uncommitted changes when the build was weighed."
    yield (
        "All answers come from one machine and one build of llama.cpp; another one, or other "
        "neighbours in a batch, can change single answers."
    )


def not_measured(evidence: Evidence, provenance: Provenance) -> Iterator[str]:
    """What no run behind the card holds."""
    if evidence.baseline is None:
        yield "A baseline: no run of the instruct model's own build stands beside this one."
    ifeval = [task for task in evidence.header.tasks if is_ifeval(evidence, task)]
    if not ifeval:
        yield "IFEval: no run on its prompts."
    yield from (
        f"IFEval as a whole: {task.n_prompts:,} of its {N_PROMPTS} prompts were asked."
        for task in ifeval
        if task.n_prompts < N_PROMPTS
    )
    if not any(task.kind == "prose" for task in evidence.header.tasks):
        yield "Prose: no run, so that nothing is known of style, slop or repetition."
    if not provenance.confirmed:
        yield "A confirmation on prompts that were held back from the choice of this build."
    if evidence.baseline is None or not noise_floor(evidence.baseline):
        yield "The noise floor: how far the figures move between two schedules of one file."
    yield "Divergence: how far the predictions are from the baseline's, token by token."
    other = "off" if evidence.header.chat.thinking else "on"
    yield f"Answers with thinking {other}."
    yield (
        "Knowledge, reasoning, safety, other languages, long contexts, and any other quantisation "
        "of this merge."
    )
