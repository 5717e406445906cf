"""Word lists: the closed classes of English that the metrics count or leave out.

Lists out; knows nothing of texts. They are the project's own, kept as words separated by white
space in `metrics/data/`.
"""

import functools
from importlib import resources


@functools.cache
def stop_words() -> frozenset[str]:
    """Function words with their contractions: what content n-grams leave out."""
    return _read("stop_words.txt")


@functools.cache
def determiners() -> frozenset[str]:
    """Words after which English wants a noun phrase ("her", "this" and "no" also stand alone)."""
    return _read("determiners.txt")


def _read(name: str) -> frozenset[str]:
    file = resources.files("metrics").joinpath("data", name)
    return frozenset(file.read_text(encoding="utf-8").split())
