"""Cross-repetition: phrases that a model brings back in one answer after another.

Texts in, numbers out; knows nothing of any list, which is the point: a model that finds new
favourite phrases is caught without anyone having written them down.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from metrics.slop import content_words
from metrics.stats import Estimate, bootstrap_ratio, default_rng
from metrics.text import read_passage


def xrep3_counts(
    texts: Sequence[str], prompts: Sequence[str] | None = None
) -> list[tuple[int, int]]:
    """Per answer, how many of its content trigrams come back in another one.

    Args:
        texts: One model's answers; the first 750 words of each are looked at.
        prompts: Prompt id of each answer, where a prompt has several samples: names and things
            that the prompt itself asks for do not count as coming back. None: every answer has a
            prompt of its own.

    Returns:
        (different trigrams that an answer to another prompt also has, different trigrams) per
        answer, in order.
    """
    owners = [str(index) for index in range(len(texts))] if prompts is None else list(prompts)
    trigrams = [_content_trigrams(text) for text in texts]
    seen: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for owner, own in zip(owners, trigrams, strict=True):
        for trigram in own:
            seen[trigram].add(owner)
    return [(sum(len(seen[trigram]) > 1 for trigram in own), len(own)) for own in trigrams]


def xrep3(
    texts: Sequence[str],
    prompts: Sequence[str] | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Content trigrams that come back in two or more answers, in percent, pooled over answers.

    Depends on how many answers there are: compare only sets of one size and the same prompts. The
    interval resamples answers' counts and holds the set they are looked up in fixed, since drawing
    an answer twice would make all of it come back.

    Args:
        texts: One model's answers.
        prompts: Prompt id of each answer, as for `xrep3_counts`.
        rng: Seeded generator; a fixed one where none is given.
    """
    counts = xrep3_counts(texts, prompts)
    if len(counts) < 2:
        return Estimate(value=None, low=None, high=None, n=len(counts))
    return bootstrap_ratio(
        [back for back, _ in counts],
        [total for _, total in counts],
        rng=default_rng() if rng is None else rng,
        scale=100.0,
    )


def _content_trigrams(text: str) -> set[tuple[str, str, str]]:
    content = content_words(read_passage(text).head_words)
    return set(zip(content, content[1:], content[2:], strict=False))
