"""Flips: prompts with instructions that only one of two runs followed.

Pairs of scores in, records out; knows nothing of texts.
"""

from collections.abc import Mapping, Sequence

from harness.comparison.pairing import Pair
from harness.comparison.records import Flip
from harness.prompts import Prompt, PromptSet


def find_flips(pairs: Sequence[Pair], prompt_sets: Sequence[PromptSet]) -> list[Flip]:
    """Prompts that flipped under the strict rule: those lost, then those won, in their order.

    Args:
        pairs: All of the comparison.
        prompt_sets: Both runs'.
    """
    prompts = {(s.name, p.id): p for s in prompt_sets for p in s.prompts}
    flips = [flip for pair in pairs if (flip := _flip(pair, prompts)) is not None]
    return sorted(flips, key=lambda flip: flip.won)


def _flip(pair: Pair, prompts: Mapping[tuple[str, str], Prompt]) -> Flip | None:
    before, after = pair.baseline.ifeval, pair.candidate.ifeval
    if before is None or after is None or before.prompt_strict == after.prompt_strict:
        return None
    won = after.prompt_strict
    names = [i.id for i in prompts[pair.task, pair.prompt_id].instructions]
    return Flip(
        task=pair.task,
        prompt_id=pair.prompt_id,
        sample=pair.candidate.sample,
        won=won,
        instructions=tuple(
            name
            for name, was, is_ in zip(names, before.strict, after.strict, strict=True)
            if (was, is_) == (not won, won)
        ),
        loose_too=(before.prompt_loose, after.prompt_loose) == (not won, won),
    )
