"""Repetition: how much of a text it has said before, in the same three words.

Words in, numbers out; knows nothing of models or files.
Source: seq-rep-n, Welleck et al. 2020, https://arxiv.org/abs/1908.04319; there over a whole
continuation, here also over sliding windows, because a longer text repeats more for that alone.
"""

from collections.abc import Sequence

WINDOW_WORDS = 400
STEP_WORDS = 50


Trigram = tuple[str, str, str]


def rep3g_whole(words: Sequence[str]) -> float | None:
    """Word trigrams that repeat an earlier one, in percent of all.

    Returns:
        100 (1 - unique / total), 0 to 100; None below three words.
    """
    trigrams = _trigrams(words)
    return _repeated(trigrams) if trigrams else None


def rep3g(words: Sequence[str]) -> float | None:
    """`rep3g_whole`, averaged over windows of WINDOW_WORDS words that slide by STEP_WORDS.

    A text of up to one window is one window. Of a longer one the last window ends with the text,
    so that no word is left unseen.

    Returns:
        Percent, 0 to 100; None below three words.
    """
    rates = _window_rates(words)
    return sum(rates) / len(rates) if rates else None


def rep3g_worst(words: Sequence[str]) -> float | None:
    """The largest of the rates that `rep3g` averages: a loop anywhere in a long text shows.

    Returns:
        Percent, 0 to 100; None below three words.
    """
    return max(_window_rates(words), default=None)


def repeats(words: Sequence[str]) -> list[int]:
    """Where the trigrams begin that repeat an earlier one: what `rep3g_whole` is the share of.

    Returns:
        Indices of words, in order.
    """
    seen: set[Trigram] = set()
    found = []
    for index, trigram in enumerate(_trigrams(words)):
        if trigram in seen:
            found.append(index)
        seen.add(trigram)
    return found


def _window_rates(words: Sequence[str]) -> list[float]:
    trigrams = _trigrams(words)
    if not trigrams:
        return []
    size = WINDOW_WORDS - 2
    last = max(0, len(trigrams) - size)
    return [
        _repeated(trigrams[start : start + size]) for start in (*range(0, last, STEP_WORDS), last)
    ]


def _trigrams(words: Sequence[str]) -> list[Trigram]:
    return list(zip(words, words[1:], words[2:], strict=False))


def _repeated(trigrams: Sequence[Trigram]) -> float:
    return 100 * (len(trigrams) - len(set(trigrams))) / len(trigrams)
