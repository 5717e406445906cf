"""Repetition: how much of a text it has said before, in the same three words.

Words in, numbers out; knows nothing of models or files.
Source: seq-rep-n, Welleck et al. 2020, https://arxiv.org/abs/1908.04319; there over a whole
continuation, here also over sliding windows, because a longer text repeats more for that alone.
"""

from collections.abc import Sequence

WINDOW_WORDS = 400
STEP_WORDS = 50


def rep3g_whole(words: Sequence[str]) -> float | None:
    """Word trigrams that repeat an earlier one, in percent of all.

    Returns:
        100 (1 - unique / total), 0 to 100; None below three words.
    """
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    if not trigrams:
        return None
    return 100 * (len(trigrams) - len(set(trigrams))) / len(trigrams)


def rep3g(words: Sequence[str]) -> float | None:
    """`rep3g_whole`, averaged over windows of WINDOW_WORDS words that slide by STEP_WORDS.

    A text of up to one window is one window. Of a longer one the last window ends with the text,
    so that no word is left unseen.

    Returns:
        Percent, 0 to 100; None below three words.
    """
    last = max(0, len(words) - WINDOW_WORDS)
    starts = [*range(0, last, STEP_WORDS), last]
    rates = [rep3g_whole(words[start : start + WINDOW_WORDS]) for start in starts]
    defined = [rate for rate in rates if rate is not None]
    return sum(defined) / len(defined) if defined else None
