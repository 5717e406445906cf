"""Contrast: "not X but Y", the figure of speech that models cannot let go.

Text in, number out; knows nothing of models or files. Counts the forms below, each within one
stretch of text and never twice for the same words:

- not just / only / merely / simply X but (also) Y; not X, but Y; not because X but because Y
- it wasn't X. It was Y; it isn't X, it's Y; they weren't X - they were Y
- Not X. Not Y. Just Z; Not X. But Y
"""

import re

_CLAUSE = r"[^.!?;:\n\u2014]"
"""One character inside a clause."""
_BREAK = r"[.;\u2014]\s*"
_PRONOUN = r"(?:it|that|this|these|those|he|she|they|we|you|i|there)"
_BE = r"(?:'s|'re|'m|\s+(?:is|was|are|were|am|had been|felt|seemed|became))\b"
_DENIED_VERB = r"\b(?:is|was|are|were|am|did|does|do|had|has|have)(?:\s+not\b|n't\b)"
_DENIED_PRONOUN = rf"\b{_PRONOUN}'(?:s|re|m)\s+not\b"
_LEAD = r"(?P<lead>a|an|the|in|of|with|for|from|to|by|at|because|as|out of)"

_PATTERN = re.compile(
    "|".join(
        (
            # not just X but Y
            rf"(?:\bnot|n't)\s+(?:just|only|merely|simply)\b{_CLAUSE}{{1,90}}?\bbut\b",
            # not X, but Y; a pronoun after "but" begins a new clause instead
            rf"\bnot\s{_CLAUSE}{{1,70}}?(?:,\s*|\s*\u2014\s*)but\b(?!\s+(?:i|he|she|they|we|you)\b)",
            # not a X but a Y
            rf"\bnot\s+{_LEAD}\s{_CLAUSE}{{1,60}}?\bbut\s+(?P=lead)\b",
            # it wasn't X. It was Y
            rf"(?:{_DENIED_VERB}|{_DENIED_PRONOUN}){_CLAUSE}{{1,90}}?"
            rf"(?:[.;:,\u2014]|\s-)\s*{_PRONOUN}{_BE}",
            # Not X. Not Y. Just Z
            rf"(?:^|[.!?\u2014]\s+)not\s{_CLAUSE}{{1,70}}{_BREAK}"
            rf"(?:not\s{_CLAUSE}{{1,70}}{_BREAK})?(?:but|just|only|a|an|the|something)\b",
        )
    ),
    re.IGNORECASE | re.MULTILINE,
)


def contrast_count(normal: str) -> int:
    """Number of "not X but Y" constructions in a normalised text."""
    return sum(1 for _ in _PATTERN.finditer(normal))


def contrast(count: int, n_words: int) -> float | None:
    """Constructions per 1,000 words; None without words."""
    return 1000 * count / n_words if n_words else None
