"""Rhythm: how much the length of sentences varies.

Sentences in, number out; knows nothing of models or files. The coefficient of variation compares
writers of long and of short sentences on one scale; 0 is a metronome.
"""

import math
from collections.abc import Sequence

MIN_SENTENCES = 5
"""Below this the coefficient of variation says more about the sample than about the writer."""


def rhythm(sentences: Sequence[Sequence[str]]) -> float | None:
    """Coefficient of variation of sentence lengths.

    Args:
        sentences: Words of each sentence.

    Returns:
        Population standard deviation / mean of the lengths in words, at least 0; None below
        MIN_SENTENCES sentences.
    """
    lengths = [len(sentence) for sentence in sentences]
    if len(lengths) < MIN_SENTENCES or sum(lengths) == 0:
        return None
    mean = sum(lengths) / len(lengths)
    variance = math.fsum((length - mean) ** 2 for length in lengths) / len(lengths)
    return math.sqrt(variance) / mean
