"""Diversity: how many different words a text uses, whatever its length.

Words in, number out; knows nothing of models or files.
Source: MATTR, Covington and McFall 2010, https://doi.org/10.1080/09296171003643098
"""

from collections import Counter
from collections.abc import Sequence

WINDOW_WORDS = 100


def mattr(words: Sequence[str]) -> float | None:
    """Moving-average type-token ratio over WINDOW_WORDS words.

    Returns:
        Mean over all windows of different words / words, in (0, 1]; None for a text shorter than
        one window.
    """
    if len(words) < WINDOW_WORDS:
        return None
    counts = Counter(words[:WINDOW_WORDS])
    total = len(counts)
    for left, right in zip(words, words[WINDOW_WORDS:], strict=False):
        counts[right] += 1
        counts[left] -= 1
        if not counts[left]:
            del counts[left]
        total += len(counts)
    return total / (WINDOW_WORDS * (len(words) - WINDOW_WORDS + 1))
