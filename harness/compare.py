"""Comparison: two runs of the same prompts, prompt by prompt.

Scores in, differences out, each with its interval and p-value. Knows how prompts are paired and
which test belongs to which metric; the tests are in `metrics.stats`.
"""

from collections.abc import Callable, Sequence

from pydantic import Field

from harness.runs import ASKED, Record, Run, RunHeader, Score
from metrics import stats
from metrics.errors import WeighinError
from metrics.ifeval import IfevalScore
from metrics.prose import ProseScore
from metrics.stats import Estimate

H_DELTA = "h_delta"
"""Name of the difference in H, under its task: `prose.h_delta`."""


class PairingError(WeighinError):
    """Two runs were not asked the same thing in the same way."""


class Difference(Record):
    """One metric of two runs."""

    metric: str
    """`task.metric`."""
    baseline: Estimate
    candidate: Estimate
    difference: Estimate
    """Candidate minus baseline over the paired prompts, in the metric's unit."""
    p_value: float | None
    """Two-sided: exact McNemar for passes, sign flips for the rest; None without pairs."""
    smallest: float | None
    """The smallest difference that these prompts could have shown; None where undefined."""


class Comparison(Record):
    """Two runs, metric by metric."""

    baseline: str
    """Name of the baseline's run."""
    candidate: str
    n_pairs: int
    """Completions that both runs have."""
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = Field(default=())
    """What a reader of the figures must know."""

    def by_metric(self) -> dict[str, Difference]:
        """The differences by name; `prose.h_delta` is another name of that of `prose.H`."""
        named = {d.metric: d for d in self.differences}
        return named | {
            f"{name.removesuffix('.H')}.{H_DELTA}": d
            for name, d in named.items()
            if name.endswith(".H")
        }


def compare_runs(baseline: Run, candidate: Run) -> Comparison:
    """Pair two scored runs.

    Raises:
        PairingError: Their prompts, sampling, template or thinking differ, or nothing is paired.
        RunError: One of them is not scored.
    """
    before, after = baseline.header(), candidate.header()
    require_pairable(before, after, names=(baseline.name, candidate.name))
    first, second = baseline.scores(), candidate.scores()
    signatures = baseline.summary().prose_signature, candidate.summary().prose_signature
    if signatures[0] != signatures[1]:
        raise PairingError(
            f"cannot pair {baseline.name} with {candidate.name}: prose was scored by "
            f"{signatures[0]} and by {signatures[1]}; score one of them again with weighin score"
        )
    comparison = compare_scores(first, second, names=(baseline.name, candidate.name))
    return comparison.model_copy(update={"notes": _notes(before, after, comparison)})


def require_pairable(baseline: RunHeader, candidate: RunHeader, *, names: tuple[str, str]) -> None:
    """Refuse runs that were not asked the same prompts in the same way."""
    differences = baseline.differences(candidate, ASKED)
    if differences:
        raise PairingError(
            f"cannot pair {names[0]} with {names[1]}: {'; '.join(differences[:3])}; "
            "run both with the same prompts, settings and template"
        )


def compare_scores(
    baseline: Sequence[Score], candidate: Sequence[Score], *, names: tuple[str, str]
) -> Comparison:
    """Compare what both have scored, paired on task, prompt and sample.

    Args:
        baseline: One run's scores, or a part of them.
        candidate: The other's.
        names: What to call the two.

    Raises:
        PairingError: They have no prompt in common.
    """
    first = {(s.task, s.prompt_id, s.sample): s for s in baseline}
    pairs = [
        (first[key], s) for s in candidate if (key := (s.task, s.prompt_id, s.sample)) in first
    ]
    if not pairs:
        raise PairingError(f"cannot pair {names[0]} with {names[1]}: no prompt in common")
    differences: list[Difference] = []
    for task in dict.fromkeys(s.task for _, s in pairs):
        own = [(a, b) for a, b in pairs if b.task == task]
        ifeval = [(a.ifeval, b.ifeval) for a, b in own if a.ifeval and b.ifeval]
        if ifeval:
            differences += _compare_ifeval(task, ifeval)
        else:
            prose = [(a.prose, b.prose) for a, b in own if a.prose and b.prose]
            ids = [b.prompt_id for _, b in own]
            differences += _compare_prose(task, prose, ids)
    return Comparison(
        baseline=names[0], candidate=names[1], n_pairs=len(pairs), differences=tuple(differences)
    )


def _compare_ifeval(
    task: str, pairs: Sequence[tuple[IfevalScore, IfevalScore]]
) -> list[Difference]:
    from metrics.ifeval import summarise

    before, after = (summarise([pair[side] for pair in pairs]) for side in (0, 1))
    passes: dict[str, Callable[[IfevalScore], tuple[bool, ...]]] = {
        "prompt_level_strict_acc": lambda s: (s.prompt_strict,),
        "inst_level_strict_acc": lambda s: s.strict,
        "prompt_level_loose_acc": lambda s: (s.prompt_loose,),
        "inst_level_loose_acc": lambda s: s.loose,
    }
    found = []
    for name, of in passes.items():
        counts = [(sum(of(a)), sum(of(b)), len(of(a))) for a, b in pairs]
        totals = [float(n) for _, _, n in counts]
        difference = stats.paired_ratio_bootstrap(
            ([float(a) for a, _, _ in counts], totals),
            ([float(b) for _, b, _ in counts], totals),
            rng=stats.default_rng(),
        )
        moved = [float(b - a) for a, b, _ in counts]
        if name.startswith("prompt"):
            lost, won = moved.count(-1.0), moved.count(1.0)
            p: float | None = stats.mcnemar_exact(lost, won)
            smallest = stats.smallest_pass_difference(lost + won, len(pairs))
        else:
            p = stats.sign_flip_test(moved, rng=stats.default_rng())
            smallest = None
        found.append(
            Difference(
                metric=f"{task}.{name}",
                baseline=before[name],
                candidate=after[name],
                difference=difference,
                p_value=p,
                smallest=smallest,
            )
        )
    return found


PROSE_MEANS = (
    "H",
    "word_count",
    "rep3g",
    "rep3g_whole",
    "slop_hits",
    "rhythm",
    "diversity",
    "openers",
)
"""Prose figures that are means over prompts."""


def _compare_prose(
    task: str, pairs: Sequence[tuple[ProseScore, ProseScore]], prompt_ids: Sequence[str]
) -> list[Difference]:
    from metrics.prose import contrast_delta, slop_delta, summarise

    before, after = (
        summarise([pair[side] for pair in pairs], prompts=prompt_ids) for side in (0, 1)
    )
    found = []
    for name in PROSE_MEANS:
        first, second = (
            _mean_by_prompt([getattr(pair[side], name) for pair in pairs], prompt_ids)
            for side in (0, 1)
        )
        moved = stats.paired_differences(first, second)
        found.append(
            Difference(
                metric=f"{task}.{name}",
                baseline=before[name],
                candidate=after[name],
                difference=stats.paired_bootstrap(first, second, rng=stats.default_rng()),
                p_value=stats.sign_flip_test(moved, rng=stats.default_rng()),
                smallest=stats.smallest_difference(moved),
            )
        )
    pooled = []
    for name, delta in (("slop", slop_delta), ("contrast", contrast_delta)):
        per_text = stats.paired_differences(
            [getattr(a, name) for a, _ in pairs], [getattr(b, name) for _, b in pairs]
        )
        pooled.append(
            Difference(
                metric=f"{task}.{name}",
                baseline=before[name],
                candidate=after[name],
                difference=delta([a for a, _ in pairs], [b for _, b in pairs]),
                p_value=stats.sign_flip_test(per_text, rng=stats.default_rng()),
                smallest=stats.smallest_difference(per_text),
            )
        )
    return [found[0], *pooled, *found[1:]]


def _mean_by_prompt(
    values: Sequence[float | None], prompt_ids: Sequence[str]
) -> list[float | None]:
    """One value a prompt, in the order of first appearance: the mean of its defined samples."""
    grouped: dict[str, list[float]] = {}
    for value, prompt in zip(values, prompt_ids, strict=True):
        own = grouped.setdefault(prompt, [])
        if value is not None:
            own.append(value)
    return [sum(own) / len(own) if own else None for own in grouped.values()]


def _notes(before: RunHeader, after: RunHeader, comparison: Comparison) -> tuple[str, ...]:
    notes = []
    if before.machine != after.machine or before.engine != after.engine:
        notes.append("the runs come from different machines or engine settings")
    for d in comparison.differences:
        if d.metric.endswith((".prompt_level_strict_acc", ".H")) and d.baseline.n < 100:
            notes.append(f"{d.metric}: only {d.baseline.n} prompts; small differences cannot show")
    return tuple(notes)
