"""Comparison notes: what a reader must know before believing two runs' figures.

Headers, prompts and a comparison in, sentences out.
"""

from collections.abc import Iterator, Sequence

from harness.comparison.records import Comparison
from harness.prompts import PromptSet
from harness.runs import RunHeader
from harness.seen_prompts import seen
from metrics.stats import Estimate

FEW_PROMPTS = 100
"""Under so many prompts a score is a hint."""

LOOSE_OF = {
    "prompt_level_strict_acc": "prompt_level_loose_acc",
    "inst_level_strict_acc": "inst_level_loose_acc",
}


def notes_on(
    before: RunHeader,
    after: RunHeader,
    comparison: Comparison,
    prompt_sets: Sequence[PromptSet],
) -> tuple[str, ...]:
    """Everything worth a note, in the order of its weight.

    Args:
        before, after: Headers of baseline and candidate.
        comparison: Of the two.
        prompt_sets: What both were asked.
    """
    return (
        *_templates(before, after),
        *_seen(before, after, comparison, prompt_sets),
        *_strict_above_loose(comparison),
        *_few_prompts(after),
        *_circumstances(before, after),
    )


def _templates(before: RunHeader, after: RunHeader) -> Iterator[str]:
    first, second = (header.chat.template_sha256[:12] for header in (before, after))
    if first != second:
        yield (
            f"different chat templates ({first}, {second}); every prompt has the same number of "
            "tokens by both"
        )


def _seen(
    before: RunHeader,
    after: RunHeader,
    comparison: Comparison,
    prompt_sets: Sequence[PromptSet],
) -> Iterator[str]:
    n_prompts = sum(len(prompts.prompts) for prompts in prompt_sets)
    for name, header in ((comparison.baseline, before), (comparison.candidate, after)):
        among = seen(prompt_sets, header.fisher_prompts)
        if among:
            yield (
                f"{name}: {len(among)} of the {n_prompts} evaluated prompts are Fisher prompts "
                f"(first {among[0]}); the build was fitted on them"
            )


def _strict_above_loose(comparison: Comparison) -> Iterator[str]:
    known = comparison.by_metric()
    for metric, row in known.items():
        task, _, name = metric.rpartition(".")
        loose = known.get(f"{task}.{LOOSE_OF.get(name)}")
        if loose is None:
            continue
        sides = (
            (comparison.baseline, row.baseline, loose.baseline),
            (comparison.candidate, row.candidate, loose.candidate),
        )
        for run, strict, lax in sides:
            if _above(strict, lax):
                yield (
                    f"{run}: {metric} is above its loose figure, which one run of lm-eval's "
                    "checkers can show only on keys 1122 and 1129"
                )


def _above(first: Estimate, second: Estimate) -> bool:
    return first.value is not None and second.value is not None and first.value > second.value


def _few_prompts(header: RunHeader) -> Iterator[str]:
    few = [f"{t.name} ({t.n_prompts})" for t in header.tasks if t.n_prompts < FEW_PROMPTS]
    if few:
        yield f"a score on under {FEW_PROMPTS} prompts shows only large differences: " + ", ".join(
            few
        )


def _circumstances(before: RunHeader, after: RunHeader) -> Iterator[str]:
    if before.model.sha256 == after.model.sha256:
        yield "both runs are of one and the same file"
    if before.machine != after.machine or before.engine != after.engine:
        yield (
            "the runs come from different machines or engine settings, which alone can move "
            "single answers"
        )
