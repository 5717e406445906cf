"""Gate figures: everything that a gate can bound, by name, at the confidence that it asks for.

Paired runs, and what was measured beside them, in; estimates out. Knows the names, and says which
is nearest to one that is not there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from harness.comparison.compare import PairedRuns
from harness.comparison.instruction_types import WAYS, type_names, type_samples
from harness.comparison.paired import PairedSample
from harness.comparison.paired_metrics import IFEVAL, PROSE, XREP3
from harness.comparison.records import H_DELTA
from harness.comparison.sanity import COUNTERS
from harness.gates.gates import Gate, GateError
from harness.gates.speed import Speeds
from harness.runs import Run
from metrics.stats import CONFIDENCE, Estimate

KLD = "kld"
"""First part of the divergence's figures, `kld.mean` and so on."""
KLD_FIGURES = ("mean", "median", "p99", "max", "same_top", "ppl_candidate", "ppl_ratio")
SIZE = "file.size_bytes"
SPEED = "speed.tokens_per_second"
ALIASES = {"kld.same_top1": "kld.same_top"}
"""Other names of the same figure."""

BESIDE = (*(f"{KLD}.{name}" for name in KLD_FIGURES), SIZE, SPEED)
"""Figures that do not come from the answers."""


@dataclass(frozen=True)
class Figures:
    """What was found about a candidate and its baseline so far."""

    sizes: tuple[int, int]
    """Bytes of the baseline's file and of the candidate's."""
    runs: PairedRuns | None = None
    divergence: Mapping[str, Estimate] | None = None
    """By `kld.name`."""
    speed: Speeds | None = None

    def find(self, gate: Gate) -> Estimate:
        """What a gate bounds, with an interval at its confidence, 95 % where it has none.

        Raises:
            GateError: It was not measured.
        """
        metric = plain_name(gate)
        if metric == SIZE:
            before, after = (Estimate(value=v, low=None, high=None, n=1) for v in self.sizes)
            return _of_two(before, after, gate)
        if metric == SPEED and self.speed is not None:
            before, after, ratio = self.speed
            return ratio if gate.of == "ratio" else _of_two(before, after, gate)
        if self.divergence is not None and metric in self.divergence:
            return self.divergence[metric]
        sample = None if self.runs is None else sample_named(self.runs, metric)
        if sample is None:
            raise GateError(f"{gate.called}: it was not measured")
        return _of_answers(sample, gate)


def plain_name(gate: Gate) -> str:
    """The metric that a gate is on, by its first name."""
    return ALIASES.get(gate.metric, gate.metric)


def sample_named(runs: PairedRuns, metric: str) -> PairedSample | None:
    """What a figure of the answers is made of; None where it is no such figure.

    Groups are looked through from the quick ones to those that read every answer, so that a gate
    costs no more than it must.
    """
    task, _, name = metric.rpartition(".")
    wanted = f"{task}.H" if name == H_DELTA else metric
    groups: tuple[Callable[[], Sequence[PairedSample]], ...] = (
        lambda: runs.score_samples,
        lambda: type_samples(runs.pairs, runs.prompt_sets, WAYS),
        lambda: runs.sanity_samples if name in COUNTERS else (),
        lambda: runs.xrep3_samples if name == XREP3 else (),
    )
    found = (sample for group in groups for sample in group() if sample.metric == wanted)
    return next(found, None)


def known_names(baseline: Run) -> list[str]:
    """Every name that a gate can have for a candidate of this baseline."""
    names: list[str] = []
    for task, prompts in zip(baseline.header().tasks, baseline.prompt_sets(), strict=True):
        own: list[str]
        if task.kind == "ifeval":
            types = type_names(prompts.prompts)
            own = [*IFEVAL, *(f"{way}.{name}" for way in WAYS for name in types)]
        else:
            own = [*PROSE, H_DELTA, XREP3]
        names += [f"{task.name}.{name}" for name in (*own, *COUNTERS)]
    return [*names, *BESIDE, *ALIASES]


def require_known(gate: Gate, names: Sequence[str], tasks: Sequence[str]) -> None:
    """Refuse a gate that nobody will be able to judge.

    Args:
        gate: The limit.
        names: As `known_names` gives them.
        tasks: What the baseline was asked.

    Raises:
        GateError: Its metric has no such name, or belongs to a task that was not run (the nearest
            name is given); it asks for an interval that there will not be.
    """
    first = gate.metric.partition(".")[0]
    if gate.metric not in names:
        near = get_close_matches(gate.metric, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "weighin compare names them"
        if first not in (*tasks, KLD, "file", "speed"):
            hint = f"the baseline was asked {', '.join(tasks)}; {hint}"
        raise GateError(f"{gate.called}: no such metric is measured; {hint}")
    if first == KLD and gate.of != "value":
        raise GateError(
            f"{gate.called}: it is a comparison with the baseline already; leave `of` out"
        )
    timed = plain_name(gate) == SPEED and gate.of == "ratio"
    if gate.confidence is None or (gate.of != "ratio" and first not in (KLD, "file", "speed")):
        return
    if not (timed or first == KLD):
        raise GateError(f"{gate.called}: it has no interval; leave `confidence` out")
    if gate.confidence != CONFIDENCE:
        raise GateError(
            f"{gate.called}: its interval is a {100 * CONFIDENCE:g} % one; say "
            f"{CONFIDENCE}, or leave `confidence` out"
        )


def _of_answers(sample: PairedSample, gate: Gate) -> Estimate:
    confidence = CONFIDENCE if gate.confidence is None else gate.confidence
    if gate.of == "difference" or gate.metric.endswith(f".{H_DELTA}"):
        return sample.change(confidence=confidence)
    if gate.of == "value":
        return sample.value(sample.candidate, confidence=confidence)
    return _of_two(sample.value(sample.baseline), sample.value(sample.candidate), gate)


def _of_two(before: Estimate, after: Estimate, gate: Gate) -> Estimate:
    """A value, difference or ratio of two figures that are not paired; without an interval."""
    if gate.of == "value":
        return after
    if before.value is None or after.value is None or (gate.of == "ratio" and before.value == 0):
        return Estimate(value=None, low=None, high=None, n=after.n)
    value = after.value / before.value if gate.of == "ratio" else after.value - before.value
    return Estimate(value=value, low=None, high=None, n=after.n)
