"""Divergence: how far a candidate's next-token distributions are from a baseline's.

Logits in, numbers out; knows nothing of models, files or what the tokens spell. A figure is over
tokens; its interval resamples whole texts, since the tokens of one text are not independent.
Sources: Kullback and Leibler 1951, as KL(baseline || candidate) in nats; the set of figures is that
of llama.cpp's `llama-perplexity --kl-divergence`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metrics.stats import CONFIDENCE, Estimate, bootstrap_ratio, default_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

BLOCK_ROWS = 8
"""Rows of logits that are in float64 at once."""
N_QUANTILE_DRAWS = 2_000
"""Resamples for the intervals of the quantiles, each of which passes over every token."""
P99 = 0.99


class TokenDivergence(NamedTuple):
    """Two models' predictions of the same tokens, one entry a token."""

    kl: "Array"
    """[n] KL(baseline || candidate), nats, at least 0."""
    same_top: "NDArray[np.bool_]"
    """[n] whether both find the same token likeliest; of equals, the lowest id."""
    baseline_nll: "Array"
    """[n] -log p(token) by the baseline."""
    candidate_nll: "Array"
    """[n] -log p(token) by the candidate."""


def compare_logits(
    baseline: "NDArray[np.float32]",
    candidate: "NDArray[np.float32]",
    rows: "NDArray[np.intp]",
    tokens: "NDArray[np.intp]",
) -> TokenDivergence:
    """Compare predictions, given as logits, in float64.

    Args:
        baseline, candidate: [n_rows, n_vocab] logits of the two models at the same places.
        rows: [n], the row that predicts each token.
        tokens: [n], the tokens that came next.

    Returns:
        One entry a token. A token that the baseline gives no chance adds nothing to its KL; one
        that only the candidate gives none makes it infinite.
    """
    n_rows = len(baseline)
    kl, same = np.empty(n_rows), np.empty(n_rows, np.bool_)
    normaliser = {"baseline": np.empty(n_rows), "candidate": np.empty(n_rows)}
    for start in range(0, n_rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        a, b = baseline[block].astype(np.float64), candidate[block].astype(np.float64)
        normaliser["baseline"][block] = log_a = _log_sum_exp(a)
        normaliser["candidate"][block] = log_b = _log_sum_exp(b)
        same[block] = a.argmax(axis=1) == b.argmax(axis=1)
        a -= log_a[:, None]
        b -= log_b[:, None]
        p = np.exp(a)
        with np.errstate(invalid="ignore"):
            terms = np.where(p > 0, p * (a - b), 0.0)
        # rounding may leave a sum just below 0, which no divergence is
        kl[block] = np.maximum(terms.sum(axis=1), 0.0)
    return TokenDivergence(
        kl=kl[rows],
        same_top=same[rows],
        baseline_nll=normaliser["baseline"][rows] - baseline[rows, tokens],
        candidate_nll=normaliser["candidate"][rows] - candidate[rows, tokens],
    )


def summarise(
    texts: Sequence[TokenDivergence], *, rng: np.random.Generator | None = None
) -> dict[str, Estimate]:
    """All figures over texts; each has a 95 % interval where there are two texts or more.

    Args:
        texts: One entry a text, or a window of one; those without tokens are left out.
        rng: For the intervals; a fixed seed where None.

    Returns:
        `mean`, `median`, `p99` and `max` of the KL per token, in nats; `same_top`, a fraction;
        `ppl_baseline`, `ppl_candidate` and `ppl_ratio`, candidate over baseline. `n` counts texts.
    """
    rng = default_rng() if rng is None else rng
    read = [text for text in texts if len(text.kl)]
    sizes = [float(len(text.kl)) for text in read]

    def rate(values: Sequence[float]) -> Estimate:
        return bootstrap_ratio(values, sizes, rng=rng)

    ratio = [float((text.candidate_nll - text.baseline_nll).sum()) for text in read]
    return {
        "mean": rate([float(text.kl.sum()) for text in read]),
        **_quantiles([text.kl for text in read], {"median": 0.5, "p99": P99, "max": 1.0}, rng),
        "same_top": rate([float(text.same_top.sum()) for text in read]),
        "ppl_baseline": _exp(rate([float(text.baseline_nll.sum()) for text in read])),
        "ppl_candidate": _exp(rate([float(text.candidate_nll.sum()) for text in read])),
        "ppl_ratio": _exp(rate(ratio)),
    }


def _log_sum_exp(logits: "Array") -> "Array":
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)), dtype=np.float64)


def _quantiles(
    texts: Sequence["Array"], levels: dict[str, float], rng: np.random.Generator
) -> dict[str, Estimate]:
    """Quantiles over all tokens, with percentile intervals over resampled texts.

    The figure itself interpolates linearly, as llama.cpp does. The upper end of a maximum's
    interval is the maximum: what lies beyond what was seen, no resampling can say.
    """
    n = len(texts)
    if n == 0:
        return {name: Estimate(value=None, low=None, high=None, n=0) for name in levels}
    values = np.concatenate(texts)
    wanted = list(levels.values())
    found = np.quantile(values, wanted)
    ends = [(None, None)] * len(levels) if n < 2 else _quantile_ends(texts, values, wanted, rng)
    return {
        name: Estimate(value=float(value), low=low, high=high, n=n)
        for name, value, (low, high) in zip(levels, found, ends, strict=True)
    }


def _quantile_ends(
    texts: Sequence["Array"], values: "Array", levels: Sequence[float], rng: np.random.Generator
) -> list[tuple[float, float]]:
    order = values.argsort(kind="stable")
    text_of = np.repeat(np.arange(len(texts)), [len(text) for text in texts])[order]
    ordered = values[order]
    drawn = np.empty((N_QUANTILE_DRAWS, len(levels)))
    for draw in drawn:
        times = np.bincount(rng.integers(len(texts), size=len(texts)), minlength=len(texts))
        passed = np.cumsum(times[text_of])
        draw[:] = ordered[np.searchsorted(passed, np.multiply(levels, passed[-1]))]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _exp(estimate: Estimate) -> Estimate:
    """A figure in nats as the ratio that it stands for; a monotone map keeps its interval."""

    def ratio(value: float | None) -> float | None:
        return None if value is None else math.exp(value)

    return Estimate(
        value=ratio(estimate.value),
        low=ratio(estimate.low),
        high=ratio(estimate.high),
        n=estimate.n,
    )
