"""Comparing: runs of the same prompts, prompt by prompt.

Runs or scores in, comparisons out, each figure with its interval and p-value. Knows the order of
things; what is paired with what, what a metric is made of and what follows from it have modules of
their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.comparison.flips import find_flips
from harness.comparison.instruction_types import type_samples
from harness.comparison.movers import find_movers
from harness.comparison.notes import notes_on
from harness.comparison.paired import PairedSample
from harness.comparison.paired_metrics import by_task, sanity_samples, score_samples, xrep3_sample
from harness.comparison.pairing import Pair, pair_scores, require_pairable_runs
from harness.comparison.records import Comparison, ComparisonSet, Difference, RunFacts
from harness.comparison.sanity import Key, Sanity, sanity_of
from harness.noise_floor import noise_floor
from harness.prompts import PromptSet
from harness.runs import Run, RunHeader, Score
from harness.scoring import answer
from metrics.stats import Estimate, holm


@dataclass(frozen=True)
class PairedRuns:
    """Two runs that may be compared, and what their comparison is made of."""

    baseline: Run
    candidate: Run
    part: Sequence[Score] | None = None
    """The candidate's scores so far, where its run is being made; None: it is whole."""

    def __post_init__(self) -> None:
        """Refuse whole runs that were edited, or not asked the same.

        Raises:
            PairingError: Prompts, settings, template or scoring differ.
            RunError: One of them was edited, or is not scored.
        """
        if self.part is not None:
            return
        for run in (self.baseline, self.candidate):
            run.require_unedited()
        require_pairable_runs(self.baseline, self.candidate)

    @property
    def names(self) -> tuple[str, str]:
        """What to call the two."""
        return self.baseline.name, self.candidate.name

    @cached_property
    def headers(self) -> tuple[RunHeader, RunHeader]:
        """Both headers."""
        return self.baseline.header(), self.candidate.header()

    @cached_property
    def prompt_sets(self) -> list[PromptSet]:
        """What both were asked."""
        return self.candidate.prompt_sets()

    @cached_property
    def pairs(self) -> list[Pair]:
        """Their answers, paired."""
        return pair_scores(self.baseline.scores(), self._scores()[1], names=self.names)

    @property
    def length_gate(self) -> bool:
        """Whether prose was scored with it."""
        signature = self.baseline.summary().prose_signature
        return signature is None or signature.endswith(":on")

    @cached_property
    def texts(self) -> tuple[Mapping[Key, str], Mapping[Key, str]]:
        """Both runs' answers, thoughts cut."""
        before, after = (
            {(c.task, c.prompt_id, c.sample): answer(header, c).text for c in run.completions()}
            for run, header in zip((self.baseline, self.candidate), self.headers, strict=True)
        )
        return before, after

    @cached_property
    def flags(self) -> tuple[Mapping[Key, Sanity], Mapping[Key, Sanity]]:
        """What went wrong with each answer."""
        before, after = (
            sanity_of(header, self.prompt_sets, run.completions(), scores)
            for run, header, scores in zip(
                (self.baseline, self.candidate), self.headers, self._scores(), strict=True
            )
        )
        return before, after

    def _scores(self) -> tuple[Sequence[Score], Sequence[Score]]:
        own = self.candidate.scores() if self.part is None else self.part
        return self.baseline.scores(), own

    @cached_property
    def score_samples(self) -> list[PairedSample]:
        """What the metrics are made of that follow from the scores alone."""
        return score_samples(self.pairs)

    @cached_property
    def xrep3_samples(self) -> list[PairedSample]:
        """What `xrep3` is made of, for each prose task of more than one answer."""
        return [
            sample
            for task, own in by_task(self.pairs).items()
            if own[0].candidate.prose is not None
            and (sample := xrep3_sample(task, own, self.texts)) is not None
        ]

    @cached_property
    def sanity_samples(self) -> list[PairedSample]:
        """What the sanity counters are made of."""
        return sanity_samples(self.pairs, self.flags)


def compare_runs(baseline: Run, candidate: Run) -> Comparison:
    """Compare two scored runs: metrics, sanity counters, flips and notes.

    Raises:
        PairingError: Their prompts, sampling, template or scoring differ, or nothing is paired.
        RunError: One of them is not scored, or was edited since.
    """
    return compare_paired(PairedRuns(baseline, candidate))


def compare_in_detail(baseline: Run, candidates: Sequence[Run]) -> ComparisonSet:
    """Compare candidates with a baseline, with all that there is to show.

    Beside what `compare_runs` gives: figures by instruction type, what moved each text's H, the
    noise floor where one was measured, and Holm's correction over the candidates.

    Raises:
        PairingError, RunError: As `compare_runs`.
    """
    floor = noise_floor(baseline)
    found = []
    for candidate in candidates:
        runs = PairedRuns(baseline, candidate)
        comparison = compare_paired(runs).model_copy(
            update={
                "types": tuple(
                    sample.compare() for sample in type_samples(runs.pairs, runs.prompt_sets)
                ),
                "movers": tuple(
                    find_movers(
                        runs.pairs,
                        runs.texts,
                        length_gate=runs.length_gate,
                    )
                ),
            }
        )
        found.append(_with_noise(comparison, floor))
    return ComparisonSet(
        baseline=RunFacts.of(baseline.name, baseline.header()),
        candidates=tuple(RunFacts.of(run.name, run.header()) for run in candidates),
        comparisons=tuple(_with_holm(found)),
    )


def compare_paired(runs: PairedRuns) -> Comparison:
    """What `compare_runs` gives, of runs that are paired already."""
    known = _known_figures(runs)
    samples = (*runs.score_samples, *runs.xrep3_samples)
    comparison = Comparison(
        baseline=runs.names[0],
        candidate=runs.names[1],
        n_pairs=len(runs.pairs),
        differences=tuple(s.compare(known.get(s.metric)) for s in samples),
        sanity=tuple(s.compare(known.get(s.metric)) for s in runs.sanity_samples),
        flips=tuple(find_flips(runs.pairs, runs.prompt_sets)),
    )
    notes = notes_on(*runs.headers, comparison, runs.prompt_sets)
    return comparison.model_copy(update={"notes": notes})


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
    pairs = pair_scores(baseline, candidate, names=names)
    return Comparison(
        baseline=names[0],
        candidate=names[1],
        n_pairs=len(pairs),
        differences=tuple(sample.compare() for sample in score_samples(pairs)),
    )


def _known_figures(runs: PairedRuns) -> Mapping[str, tuple[Estimate, Estimate]]:
    """Figures as the runs themselves print them; none where not every answer is paired."""
    sides = runs.baseline, runs.candidate
    if any(len(run.scores()) != len(runs.pairs) for run in sides):
        return {}
    first, second = (run.summary().metrics for run in sides)
    return {name: (first[name], second[name]) for name in first if name in second}


def _with_noise(comparison: Comparison, floor: Mapping[str, float]) -> Comparison:
    def floored(rows: Sequence[Difference]) -> tuple[Difference, ...]:
        return tuple(r.model_copy(update={"noise": floor.get(r.metric)}) for r in rows)

    return comparison.model_copy(
        update={
            "differences": floored(comparison.differences),
            "sanity": floored(comparison.sanity),
        }
    )


def _with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct each metric's p-values for the number of candidates."""
    if len(comparisons) < 2:
        return list(comparisons)
    corrected: list[dict[str, float]] = [{} for _ in comparisons]
    rows = [comparison.by_metric() for comparison in comparisons]
    for metric in rows[0]:
        tested = [
            (i, p)
            for i, own in enumerate(rows)
            if metric in own and (p := own[metric].p_value) is not None
        ]
        for (i, _), p in zip(tested, holm([p for _, p in tested]), strict=True):
            corrected[i][metric] = p

    def with_p(rows: Sequence[Difference], found: Mapping[str, float]) -> tuple[Difference, ...]:
        return tuple(r.model_copy(update={"p_holm": found.get(r.metric)}) for r in rows)

    return [
        comparison.model_copy(
            update={
                part: with_p(getattr(comparison, part), found)
                for part in ("differences", "sanity", "types")
            }
        )
        for comparison, found in zip(comparisons, corrected, strict=True)
    ]
