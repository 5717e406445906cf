"""Overlap: which prompts come too near to those of another set.

Texts in, pairs out; knows nothing of how either was made.
"""

import re
from collections.abc import Iterable

GRAM_WORDS = 8
FIXED = re.compile(r"my answer is (?:yes|no|maybe)\W*(?:or\W*)?", re.I)
"""The three sentences that an instruction type itself prescribes say nothing about the prompt."""


def grams(text: str) -> set[tuple[str, ...]]:
    """Every run of GRAM_WORDS words, in lower case, and the whole text where it is shorter."""
    words = re.findall(r"\w+", FIXED.sub(" ", text).lower())
    if len(words) <= GRAM_WORDS:
        return {tuple(words)}
    return {tuple(words[i : i + GRAM_WORDS]) for i in range(len(words) - GRAM_WORDS + 1)}


def overlapping(prompts: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    """Prompts that share a run of GRAM_WORDS words with a prompt of the other set.

    Returns:
        The prompt and the words that it shares, for each prompt that shares some.
    """
    known: set[tuple[str, ...]] = set()
    for other in others:
        known |= grams(other)
    found = []
    for prompt in prompts:
        shared = grams(prompt) & known
        if shared:
            found.append((prompt, " ".join(min(shared))))
    return found
