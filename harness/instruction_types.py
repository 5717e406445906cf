"""Instruction types: IFEval's figures by family and by type.

Pairs of scores and prompts in, one paired sample a type out. A family is the part of a type's name
before the colon: `keywords` of `keywords:existence`. A prompt that has a type twice counts it
twice, as lm-eval's instruction-level figures do.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from harness.paired import PairedSample
from harness.paired_metrics import Sums, by_task, sample_of
from harness.pairing import Pair
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
        for way in ways:
            found += [_sample(task, way, name, own, prompts) for name in _names(own, prompts)]
    return found


def _names(pairs: Sequence[Pair], prompts: Mapping[tuple[str, str], Prompt]) -> list[str]:
    """Types that occur, sorted, each family before its own."""
    types = {i.id for pair in pairs for i in prompts[pair.task, pair.prompt_id].instructions}
    families = {name.partition(":")[0] for name in types}
    return sorted(types | families)


def _sample(
    task: str,
    way: Way,
    name: str,
    pairs: Sequence[Pair],
    prompts: Mapping[tuple[str, str], Prompt],
) -> PairedSample:
    places = {}
    for pair in pairs:
        instructions = prompts[task, pair.prompt_id].instructions
        own = [i for i, one in enumerate(instructions) if name in (one.id, one.id.split(":")[0])]
        if own:
            places[pair.prompt_id] = own

    def sums(pair: Pair, side: int) -> Sums:
        score = (pair.baseline, pair.candidate)[side].ifeval
        assert score is not None
        own = places[pair.prompt_id]
        return float(sum(getattr(score, way)[i] for i in own)), float(len(own))

    having = [pair for pair in pairs if pair.prompt_id in places]
    single = all(len(own) == 1 for own in places.values())
    return sample_of(
        f"{task}.{way}.{name}",
        "passes" if single else "rate",
        having,
        sums,
        counted="bottoms",
    )
