"""Prose scores of which only H and the length matter."""

from metrics.prose import ProseScore


def prose_score(h: float, *, words: int = 500) -> ProseScore:
    """The score of a text with that H."""
    return ProseScore(
        word_count=words,
        rated_words=words,
        slop_hits=0,
        slop_weight=0,
        contrast_count=0,
        slop=0.0,
        rep3g=0.0,
        rep3g_whole=0.0,
        contrast=0.0,
        rhythm=None,
        diversity=None,
        openers=0.1,
        gate=1.0,
        H=h,
    )
