"""Likelihoods: what a model makes of tokens that it did not choose.

Pages of logits in, one log-probability and one greedy flag for each token that was asked for out.
Knows nothing of texts, tasks or files.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.engine.reading import Page, Passage

BLOCK_ROWS = 8
"""Rows of logits whose exponentials are held at once: few enough to stay in the processor's cache,
whatever the vocabulary."""


@dataclass(frozen=True)
class Likelihood:
    """What a model makes of one passage's asked tokens."""

    log_probabilities: list[float]
    """One per asked token, natural logarithms."""
    greedy: list[bool]
    """Whether the token is the likeliest one at its place."""


def likelihoods(
    passages: Sequence[Passage],
    pages: Iterable[Page],
    on_page: Callable[[int, int], None] | None = None,
) -> list[Likelihood]:
    """Log-probability and greedy flag of every asked token.

    Args:
        passages: What is read.
        pages: From `read_pages` for these passages.
        on_page: Told after each page how many passages are finished and how many tokens scored.

    Returns:
        One for each passage, in their order.
    """
    n_asked = [len(p.tokens) - p.first for p in passages]
    found = [Likelihood([0.0] * n, [False] * n) for n in n_asked]
    missing = list(n_asked)
    n_done, n_scored = sum(n == 0 for n in n_asked), 0
    for page in pages:
        tokens = np.array([target.token for target in page.targets])
        values, greedy = score_tokens(page.logits, page.rows, tokens)
        for target, value, best in zip(page.targets, values, greedy, strict=True):
            at = target.place - passages[target.passage].first
            found[target.passage].log_probabilities[at] = float(value)
            found[target.passage].greedy[at] = bool(best)
            missing[target.passage] -= 1
            n_done += missing[target.passage] == 0
        n_scored += len(tokens)
        if on_page is not None:
            on_page(n_done, n_scored)
    return found


def score_tokens(
    logits: NDArray[np.float32], rows: NDArray[np.intp], tokens: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Log-softmax of single tokens, and whether each is its row's maximum.

    Exponentials are taken in float32, which is what the logits are, and summed in float64: the
    error is about 1e-7 per token.

    Args:
        logits: [n_rows, n_vocab] float32.
        rows: [n_targets], the row of each token.
        tokens: [n_targets], token ids.

    Returns:
        [n_targets] float64 natural logarithms, and [n_targets] flags; of equal maxima the lowest
        token id counts.
    """
    normaliser = np.empty(len(logits), np.float64)
    best = np.empty(len(logits), np.intp)
    for start in range(0, len(logits), BLOCK_ROWS):
        block = logits[start : start + BLOCK_ROWS]
        place = block.argmax(axis=1)
        top = block[np.arange(len(block)), place]
        sums = np.exp(block - top[:, None]).sum(axis=1, dtype=np.float64)
        normaliser[start : start + BLOCK_ROWS] = top + np.log(sums)
        best[start : start + BLOCK_ROWS] = place
    return logits[rows, tokens].astype(np.float64) - normaliser[rows], best[rows] == tokens
