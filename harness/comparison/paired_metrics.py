"""Paired metrics: which figures two runs share, and what each is made of.

Pairs of answers in, one paired sample a metric out. Knows the names; the figures' formulas are in
`metrics`, and what follows from a sample is in `harness.comparison.paired`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.comparison.paired import Column, Kind, PairedSample
from harness.comparison.pairing import Pair
from harness.comparison.sanity import COUNTERS, Key, Sanity
from metrics.ifeval import IfevalScore
from metrics.prose import ProseScore

Sums = tuple[float, float]
"""What one answer adds above and below the line."""

IFEVAL: Mapping[str, tuple[Kind, Callable[[IfevalScore], Sums]]] = {
    "prompt_level_strict_acc": ("passes", lambda s: (float(s.prompt_strict), 1.0)),
    "inst_level_strict_acc": ("rate", lambda s: (float(sum(s.strict)), float(len(s.strict)))),
    "prompt_level_loose_acc": ("passes", lambda s: (float(s.prompt_loose), 1.0)),
    "inst_level_loose_acc": ("rate", lambda s: (float(sum(s.loose)), float(len(s.loose)))),
}
"""lm-eval's four figures, in its order."""

PROSE_RATES: Mapping[str, str] = {"slop": "slop_weight", "contrast": "contrast_count"}
"""Prose figures that are pooled per 1,000 rated words, and their numerators."""

PROSE = (
    "H",
    "slop",
    "contrast",
    "word_count",
    "rep3g",
    "rep3g_whole",
    "slop_hits",
    "rhythm",
    "diversity",
    "openers",
)
"""Prose figures in the order in which they are shown; those that are not pooled are means."""

XREP3 = "xrep3"


def score_samples(pairs: Sequence[Pair]) -> list[PairedSample]:
    """Every figure that follows from the scores alone, task by task.

    Args:
        pairs: All of the comparison.
    """
    found: list[PairedSample] = []
    for task, own in by_task(pairs).items():
        if all(p.baseline.ifeval and p.candidate.ifeval for p in own):
            for name, (kind, sums) in IFEVAL.items():
                found.append(
                    sample_of(f"{task}.{name}", kind, own, _of_ifeval(sums), counted="bottoms")
                )
        else:
            found += [_prose(task, name, own) for name in PROSE]
    return found


def xrep3_sample(
    task: str, pairs: Sequence[Pair], texts: tuple[Mapping[Key, str], Mapping[Key, str]]
) -> PairedSample | None:
    """`xrep3` of one task, which needs the answers themselves; None for a single answer.

    Args:
        task: A prose task.
        pairs: Its pairs.
        texts: Both runs' answers by key.
    """
    from metrics.cross_repetition import xrep3_counts

    if len(pairs) < 2:
        return None
    ids = [pair.prompt_id for pair in pairs]
    before, after = (xrep3_counts([side[p.key] for p in pairs], ids) for side in texts)
    counts = {p.key: (b, c) for p, b, c in zip(pairs, before, after, strict=True)}
    return sample_of(
        f"{task}.{XREP3}", "rate", pairs, lambda pair, side: counts[pair.key][side], scale=100.0
    )


def sanity_samples(
    pairs: Sequence[Pair], flags: tuple[Mapping[Key, Sanity], Mapping[Key, Sanity]]
) -> list[PairedSample]:
    """The sanity counters of every task, as shares of answers.

    Args:
        pairs: All of the comparison.
        flags: Both runs' flags by key.
    """

    def of(name: str) -> Callable[[Pair, int], Sums]:
        def sums(pair: Pair, side: int) -> Sums:
            flag = getattr(flags[side][pair.key], name)
            return (0.0, 0.0) if flag is None else (float(flag), 1.0)

        return sums

    return [
        sample_of(f"{task}.{name}", "passes", own, of(name), counted="bottoms")
        for task, own in by_task(pairs).items()
        for name in COUNTERS
    ]


def by_task(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """Pairs by task, in order of first appearance."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.task, []).append(pair)
    return found


def sample_of(
    metric: str,
    kind: Kind,
    pairs: Sequence[Pair],
    sums: Callable[[Pair, int], Sums],
    *,
    scale: float = 1.0,
    counted: str = "answers",
) -> PairedSample:
    """Add up what the answers to each prompt show.

    Args:
        metric: Its name.
        kind: How figure, interval and test follow.
        pairs: Of one task.
        sums: What a pair's answer adds above and below the line; 0 is the baseline's side, 1 the
            candidate's.
        scale: Factor on a rate.
        counted: Whether n counts the `answers` that show something, or the `bottoms` themselves.
    """
    columns = []
    prompts = tuple(dict.fromkeys(pair.prompt_id for pair in pairs))
    for side in (0, 1):
        totals: dict[str, list[float]] = {}
        n = 0.0
        for pair in pairs:
            top, bottom = sums(pair, side)
            own = totals.setdefault(pair.prompt_id, [0.0, 0.0])
            own[0] += top
            own[1] += bottom
            n += bottom if counted == "bottoms" else float(bottom > 0)
        tops, bottoms = zip(*totals.values(), strict=True)
        columns.append(Column(tops, bottoms, round(n)))
    return PairedSample(metric, kind, prompts, columns[0], columns[1], scale)


def _of_ifeval(sums: Callable[[IfevalScore], Sums]) -> Callable[[Pair, int], Sums]:
    def of(pair: Pair, side: int) -> Sums:
        score = (pair.baseline, pair.candidate)[side].ifeval
        assert score is not None
        return sums(score)

    return of


def _prose(task: str, name: str, pairs: Sequence[Pair]) -> PairedSample:
    def score(pair: Pair, side: int) -> ProseScore:
        found = (pair.baseline, pair.candidate)[side].prose
        assert found is not None
        return found

    def rate(pair: Pair, side: int) -> Sums:
        own = score(pair, side)
        return float(getattr(own, PROSE_RATES[name])), float(own.rated_words)

    def mean(pair: Pair, side: int) -> Sums:
        value = getattr(score(pair, side), name)
        return (0.0, 0.0) if value is None else (float(value), 1.0)

    if name in PROSE_RATES:
        return sample_of(f"{task}.{name}", "rate", pairs, rate, scale=1000.0)
    return sample_of(f"{task}.{name}", "mean", pairs, mean)
