"""Looping: has a text stopped getting anywhere?

Text in, a verdict out; knows nothing of models. Two signs: most of the text's trigrams have been
said before (the loop gate of H is closed), or the text ends in one unit over and over, which also
finds loops without words, such as a broken tokenizer writes.
"""

from metrics.gates import loop_gate
from metrics.text import normalise, words

MIN_WORDS = 50
"""Words below which repeated trigrams say nothing: a short list repeats itself rightly."""
MAX_UNIT_CHARS = 200
"""Longest unit that is looked for at the end."""
MIN_TIMES = 4
"""Times that the unit must come in a row ..."""
MIN_LOOP_CHARS = 100
"""... and characters that they must fill together."""


def is_looping(text: str) -> bool:
    """Does a text repeat itself without end?

    Args:
        text: A raw completion; for trigrams, thoughts and markdown are taken out.
    """
    if ends_in_loop(text):
        return True
    found = words(normalise(text))
    return len(found) >= MIN_WORDS and loop_gate(found) == 0.0


def ends_in_loop(text: str) -> bool:
    """Does a text end in one unit, four times or more, over at least 100 characters?"""
    tail = text.rstrip()
    for n_chars in range(1, MAX_UNIT_CHARS + 1):
        n_times = max(MIN_TIMES, -(-MIN_LOOP_CHARS // n_chars))
        if n_times * n_chars > len(tail):
            continue
        if tail.endswith(tail[-n_chars:] * n_times):
            return True
    return False
