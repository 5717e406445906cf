"""Gates: what must hold before a text has any style to be scored.

A text in, factors in [0, 1] out; knows nothing of the style metrics. Each gate is 1 for everything
in the calibration data that a person wrote, and closes on one way of cheating or failing.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from metrics.repetition import rep3g_whole, rep3g_worst
from metrics.word_lists import determiners, stop_words

FULL_LENGTH_WORDS = 250
"""Words at which the length gate is open."""
MIN_WORDS = 20
"""Below this nothing about style can be told."""
LOOP_LIMITS = (12.0, 32.0)
"""rep3g in percent, of the whole or of its worst window: open up to the first, closed from the
second. Human passages reach 8."""
SALAD_LIMITS = (0.18, 0.28)
"""Share of determiners before a function word: open up to the first, closed from the second.
Human passages reach 0.13, shuffled ones start at 0.37."""
ENGLISH_LIMITS = (0.15, 0.25)
"""Share of words that are English function words: closed up to the first, open from the second.
The calibration texts start at 0.33."""
REFUSAL_MAX_WORDS = 300
"""A longer text that begins like a refusal is taken for a story."""
REFUSAL_LEAD_CHARS = 250

_FOREIGN_LETTER = re.compile(r"[^\W\d_a-zA-Z\u00c0-\u024f]")
_REGRET = r"(?:sorry|apologies|i'm (?:\w+ )?sorry|i apologi[sz]e|unfortunately)\b"
_UNABLE = (
    r"\bi(?: can't| cannot| can not| won't| will not|(?: am|'m) unable to|(?: am|'m) not able to"
    r"|(?: am|'m) not comfortable| must decline to| have to decline to)"
)
# "I can't help but smile" and "I cannot help it" begin stories.
_HELP = r"help(?! but\b| it\b| my| feel| think| wonder)"
_SERVE = (
    rf"(?:{_HELP}|assist|write|writing|create|creating|generate|generating|provide|providing"
    r"|produce|complete|continue with|fulfill?|comply|engage|support|do that)\b"
)
_REFUSAL = re.compile(
    rf"^{_REGRET}[^\".!?]*{_UNABLE}\b|{_UNABLE} {_SERVE}|\bas an ai\b", re.IGNORECASE
)


def length_gate(n_words: int) -> float:
    """min(1, N / 250): a text too short to judge cannot score in full."""
    return min(1.0, n_words / FULL_LENGTH_WORDS)


def loop_gate(words: Sequence[str]) -> float:
    """Closes on a text that says the same again.

    Looks at the whole text at once, which finds what comes back after a long while, and at each
    window of it, because a loop at the end of a long text is little of the whole.
    """
    whole, worst = rep3g_whole(words), rep3g_worst(words)
    return 0.0 if whole is None or worst is None else _falling(max(whole, worst), LOOP_LIMITS)


def salad_gate(words: Sequence[str]) -> float:
    """Closes on words in no order: in English, "the" is hardly ever followed by "of"."""
    return _falling(salad_share(words), SALAD_LIMITS)


def salad_share(words: Sequence[str]) -> float:
    """Share of determiners that a function word follows; 0.0 without determiners."""
    after = [second for first, second in pairwise(words) if first in determiners()]
    stop = stop_words()
    return sum(word in stop for word in after) / len(after) if after else 0.0


def english_gate(normal: str, words: Sequence[str]) -> float:
    """Closes on other languages, and on lists of content words."""
    return 1.0 - _falling(english_share(normal, words), ENGLISH_LIMITS)


def english_share(normal: str, words: Sequence[str]) -> float:
    """Share of words that are English function words; a letter of another script is a word."""
    total = len(words) + foreign_letters(normal)
    stop = stop_words()
    return sum(word in stop for word in words) / total if total else 0.0


def foreign_letters(normal: str) -> int:
    """Letters of scripts other than Latin."""
    return sum(1 for _ in _FOREIGN_LETTER.finditer(normal))


def named_gates(normal: str, words: Sequence[str], *, with_length: bool) -> dict[str, float]:
    """Every gate of a text by name, each in [0, 1]; H is multiplied by their product.

    Args:
        normal: The text, normalised.
        words: Its words; under MIN_WORDS of them the gate `length` is closed.
        with_length: Whether the length gate acts on longer texts.
    """
    n_words = len(words)
    length = length_gate(n_words) if with_length else 1.0
    return {
        "loop": loop_gate(words),
        "salad": salad_gate(words),
        "english": english_gate(normal, words),
        "length": length if n_words >= MIN_WORDS else 0.0,
        "refusal": 0.0 if is_refusal(normal, n_words) else 1.0,
    }


def is_refusal(normal: str, n_words: int) -> bool:
    """Does a short answer begin by declining, outside any quotation?"""
    if n_words > REFUSAL_MAX_WORDS:
        return False
    lead = normal[:REFUSAL_LEAD_CHARS].split('"')[0]
    return bool(_REFUSAL.search(lead))


def _falling(value: float, limits: tuple[float, float]) -> float:
    """1 up to the first limit, 0 from the second, linear between."""
    low, high = limits
    return min(1.0, max(0.0, (high - value) / (high - low)))
