"""Instruction types: IFEval's figures by family and by type.

Pairs of scores and prompts in, one paired sample a type out. A family is the part of a type's name
before the colon: `keywords` of `keywords:existence`. A prompt that has a type twice counts it
twice, as lm-eval's instruction-level figures do.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from harness.comparison.paired import PairedSample
from harness.comparison.paired_metrics import Sums, by_task, sample_of
from harness.comparison.pairing import Pair
from harness.prompts import Prompt, PromptSet

Way = Literal["strict", "loose"]
WAYS: tuple[Way, ...] = ("strict", "loose")


def type_samples(
    pairs: Sequence[Pair], prompt_sets: Sequence[PromptSet], ways: Sequence[Way] = ("strict",)
) -> list[PairedSample]:
    """Every family and type of every IFEval-like task, families before their types.

    Args:
        pairs: All of the comparison.
        prompt_sets: Both runs'.
        ways: Strict, loose or both.

    Returns:
        Metrics `task.strict.FAMILY` and `task.strict.FAMILY:TYPE`, over the prompts that have
        such an instruction.
    """
    prompts = {(s.name, p.id): p for s in prompt_sets for p in s.prompts}
    found = []
    for task, own in by_task(pairs).items():
        if own[0].candidate.ifeval is None:
            continue
        asked = [prompts[task, pair.prompt_id] for pair in own]
        for way in ways:
            found += [_sample(task, way, name, own, prompts) for name in type_names(asked)]
    return found


def type_names(prompts: Iterable[Prompt]) -> list[str]:
    """Types that occur in prompts, sorted, each family before its own."""
    types = {instruction.id for prompt in prompts for instruction in prompt.instructions}
    return sorted(types | {name.partition(":")[0] for name in types})


def places(prompt: Prompt, name: str) -> list[int]:
    """Which of a prompt's instructions are of a family or a type."""
    return [
        place
        for place, instruction in enumerate(prompt.instructions)
        if name in (instruction.id, instruction.id.partition(":")[0])
    ]


def _sample(
    task: str,
    way: Way,
    name: str,
    pairs: Sequence[Pair],
    prompts: Mapping[tuple[str, str], Prompt],
) -> PairedSample:
    where = {
        pair.prompt_id: own
        for pair in pairs
        if (own := places(prompts[task, pair.prompt_id], name))
    }

    def sums(pair: Pair, side: int) -> Sums:
        score = (pair.baseline, pair.candidate)[side].ifeval
        assert score is not None
        own = where[pair.prompt_id]
        return float(sum(getattr(score, way)[i] for i in own)), float(len(own))

    having = [pair for pair in pairs if pair.prompt_id in where]
    single = all(len(own) == 1 for own in where.values())
    return sample_of(
        f"{task}.{way}.{name}",
        "passes" if single else "rate",
        having,
        sums,
        counted="bottoms",
    )
