"""Openers: sentences that begin as the one before them did.

Sentences in, number out; knows nothing of models or files.
"""

from collections.abc import Sequence
from itertools import pairwise


def openers(sentences: Sequence[Sequence[str]]) -> float | None:
    """Share of neighbouring sentences that begin with the same word.

    Args:
        sentences: Words of each sentence, none empty.

    Returns:
        A fraction in [0, 1] of the n - 1 neighbours; None below two sentences.
    """
    pairs = list(pairwise(sentences))
    if not pairs:
        return None
    return sum(first[0] == second[0] for first, second in pairs) / len(pairs)
