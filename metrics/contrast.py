"""Contrast: "not X but Y", the figure of speech that models cannot let go.

Text in, number out; knows nothing of models or files. Counts the forms below, each within one
stretch of text and never twice for the same words:

- not just / only / merely / simply X but (also) Y; not X, but Y; not because X but because Y
- it wasn't X. It was Y; it isn't X, it's Y; we're not X, we're Y
- Not X. Not Y. Just Z; Not X. But Y
"""

import re

_CLAUSE = r"[^.!?;:\n\u2014]"
"""One character inside a clause."""
_BREAK = r"[.;\u2014] ?"
_THIRD = r"(?:it|that|this|these|those|he|she|they)"
_IS = r"(?:'s|'re| (?:is|was|are|were|felt|seemed|became))\b"
_IS_NOT = rf"(?:\b(?:is|was|are|were)(?: not\b|n't\b)|\b{_THIRD}'(?:s|re) not\b)"
_LEAD = r"(?P<lead>a|an|the|in|of|with|for|from|to|by|at|because|as|out of)"
# After these "not" denies what somebody does ("did not look up, but ..."), which is plain telling.
_NOT = r"\bnot\b" + "".join(
    rf"(?<!\b{verb} not)"
    for verb in (
        *("do", "did", "does", "has", "had", "have", "can", "may", "will"),
        *("could", "would", "should", "might", "must"),
    )
)

_PATTERN = re.compile(
    "|".join(
        (
            # not just X but Y
            rf"(?:\bnot|n't) (?:just|only|merely|simply)\b{_CLAUSE}{{1,90}}?\bbut\b",
            # not X, but Y; a pronoun after "but" begins a new clause instead
            rf"{_NOT} {_CLAUSE}{{1,70}}?(?:,| ?\u2014) ?but\b(?! (?:i|he|she|they|we|you)\b)",
            # not a X but a Y
            rf"{_NOT} {_LEAD} {_CLAUSE}{{1,60}}?\bbut (?P=lead)\b",
            # it wasn't X. It was Y
            rf"{_IS_NOT}{_CLAUSE}{{1,90}}?(?:[.;:,\u2014]| -) ?{_THIRD}{_IS}",
            # we're not X, we're Y
            rf"\b(?P<who>i'm|we're|you're) not {_CLAUSE}{{1,90}}?[.;:,\u2014] ?(?P=who)\b",
            # Not X. Not Y. Just Z
            rf"(?:^|[.!?\u2014] )not {_CLAUSE}{{1,70}}{_BREAK}"
            rf"(?:not {_CLAUSE}{{1,70}}{_BREAK})?(?:but|just|only|a|an|the|something)\b",
        )
    ),
    re.IGNORECASE | re.MULTILINE,
)


def contrast_count(normal: str) -> int:
    """Number of "not X but Y" constructions in a normalised text, paragraph by paragraph."""
    return sum(1 for _ in _PATTERN.finditer(normal))


def contrast(count: int, n_words: int) -> float | None:
    """Constructions per 1,000 words; None without words."""
    return 1000 * count / n_words if n_words else None
