"""Movers: which prose answers gained and lost most in H, and which component moved them.

Pairs of scores and answers in, records out; the attribution is in `metrics.attribution`.
"""

from collections.abc import Mapping, Sequence

from harness.comparison.pairing import Pair
from harness.comparison.records import Mover
from harness.comparison.sanity import Key
from metrics.attribution import attribute
from metrics.gates import named_gates
from metrics.style import LIMITS
from metrics.text import read_passage


def find_movers(
    pairs: Sequence[Pair],
    texts: tuple[Mapping[Key, str], Mapping[Key, str]],
    *,
    length_gate: bool,
) -> list[Mover]:
    """Every prose answer, from the largest loss of H to the largest gain.

    Args:
        pairs: All of the comparison.
        texts: Both runs' answers by key.
        length_gate: Whether the scores were taken with it.
    """
    found = []
    for pair in pairs:
        before, after = pair.baseline.prose, pair.candidate.prose
        if before is None or after is None:
            continue
        sides = []
        for score, text in zip((before, after), (side[pair.key] for side in texts), strict=True):
            passage = read_passage(text)
            gates = named_gates(passage.normal, passage.words, with_length=length_gate)
            sides.append(({name: getattr(score, name) for name in LIMITS}, gates))
        found.append(
            Mover(
                task=pair.task,
                prompt_id=pair.prompt_id,
                sample=pair.candidate.sample,
                baseline=before.H,
                candidate=after.H,
                parts=attribute(sides[0], sides[1]),
            )
        )
    return sorted(found, key=lambda mover: (mover.difference, mover.task, mover.prompt_id))
