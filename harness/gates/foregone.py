"""Foregone conclusions: gates whose verdict no remaining answer can change.

A gate, the baseline's answers and the candidate's so far in; broken, kept or nothing out. Needs no
statistics and errs never: for the answers that are not there yet it takes the best and the worst
that the metric allows. Only figures with a known number of parts and a largest value can be
foregone; an interval lies around its figure, so that a figure beyond rescue takes the interval with
it, but a kept interval is known at the end only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.comparison.figures import FIGURES
from harness.comparison.instruction_types import WAYS, places
from harness.comparison.records import H_DELTA
from harness.comparison.sanity import COUNTERS, Key, Sanity
from harness.gates.gates import Gate
from harness.prompts import Prompt, PromptSet
from harness.runs import Score
from metrics.stats import Estimate

Answer = tuple[Score, Sanity | None]
"""One answer's scores and, where a gate asks for them, its flags."""


@dataclass(frozen=True)
class Sums:
    """How each answer counts in a figure."""

    top: Callable[[Answer], float]
    bottom: Callable[[Answer], float]
    """The same for every model's answer to a prompt."""
    highest: float
    """Largest figure that an answer can have; the smallest is 0."""


class Foregone:
    """One gate, watched while the candidate's answers come in."""

    def __init__(
        self, gate: Gate, sums: Sums, baseline: Mapping[Key, Answer], keys: Sequence[Key]
    ) -> None:
        """A gate that can be foregone.

        Args:
            gate: The limit.
            sums: What its figure is made of.
            baseline: The baseline's answers.
            keys: Those of the gate's task.
        """
        self.gate = gate
        self._sums = sums
        self._bottoms = {key: sums.bottom(baseline[key]) for key in keys}
        self._total = math.fsum(self._bottoms.values())
        self._base = math.fsum(sums.top(baseline[key]) for key in keys)
        self._seen: dict[Key, float] = {}

    def see(self, key: Key, answer: Answer) -> None:
        """Take one of the candidate's answers in; those of other tasks are passed over."""
        if key in self._bottoms:
            self._seen[key] = self._sums.top(answer)

    @property
    def n_left(self) -> int:
        """Answers that are not there yet."""
        return len(self._bottoms) - len(self._seen)

    def verdict(self) -> Literal["kept", "broken"] | None:
        """What the gate's verdict will be whatever comes; None while that is open."""
        worst, best = self.reach()
        ends = (worst, best) if self.gate.side == "min" else (best, worst)
        point = self.gate.model_copy(update={"confidence": None})
        holds = [point.holds(Estimate(value=v, low=None, high=None, n=1)) for v in ends]
        if holds[1] is False:
            return "broken"
        return "kept" if holds[0] and self.gate.confidence is None else None

    def in_words(self) -> str:
        """What is certain, and after how many answers."""
        broken_below = (self.verdict() == "broken") == (self.gate.side == "min")
        end, most = self.reach()[broken_below], "at most" if broken_below else "at least"
        told = "undefined" if end is None else f"{self.gate.scale * end:.4g}{self.gate.unit}"
        n, n_all = len(self._seen), len(self._bottoms)
        return f"certain after {n} of {n_all} answers: {most} {told} whatever the others are"

    def reach(self) -> tuple[float | None, float | None]:
        """The least and the most that the gated figure can come to."""
        seen = math.fsum(self._seen.values())
        rest = math.fsum(n for key, n in self._bottoms.items() if key not in self._seen)
        most = seen + self._sums.highest * rest if rest else seen
        low, high = (self._figure(top) for top in (seen, most))
        return low, high

    def _figure(self, top: float) -> float | None:
        if not self._total or not math.isfinite(top):
            return None
        if self.gate.of == "value" and not self.gate.metric.endswith(f".{H_DELTA}"):
            return top / self._total
        if self.gate.of == "ratio":
            return top / self._base if self._base else None
        return (top - self._base) / self._total


def foregone_of(
    gate: Gate, kinds: Mapping[str, str], baseline: Mapping[Key, Answer], sets: Sequence[PromptSet]
) -> Foregone | None:
    """Watch a gate; None where its figure has no bound to reckon with.

    Args:
        gate: The limit.
        kinds: Kind of each task.
        baseline: The baseline's answers.
        sets: What is asked.
    """
    task = next((name for name in kinds if gate.metric.startswith(f"{name}.")), None)
    if task is None:
        return None
    sums = _sums(gate.metric.removeprefix(f"{task}."), task, kinds[task], sets)
    if sums is None:
        return None
    keys = [key for key in baseline if key[0] == task]
    return Foregone(gate, sums, baseline, keys)


def _sums(name: str, task: str, kind: str, sets: Sequence[PromptSet]) -> Sums | None:
    if name in COUNTERS:
        return Sums(lambda a: float(bool(_flag(a, name))), lambda a: _counted(a, name), 1.0)
    way, _, type_name = name.partition(".")
    if type_name and way in WAYS:
        prompts = {p.id: p for s in sets if s.name == task for p in s.prompts}
        return _of_type(way, type_name, prompts)
    figure = FIGURES[kind].get("H" if name == H_DELTA else name)
    if figure is None or not figure.fixed:
        return None
    return Sums(lambda a: figure.top(a[0]), lambda a: figure.bottom(a[0]), figure.highest)


def _of_type(way: str, name: str, prompts: Mapping[str, Prompt]) -> Sums:
    where = {prompt.id: places(prompt, name) for prompt in prompts.values()}

    def top(answer: Answer) -> float:
        score = answer[0].ifeval
        assert score is not None
        return float(sum(getattr(score, way)[i] for i in where[answer[0].prompt_id]))

    return Sums(top, lambda answer: float(len(where[answer[0].prompt_id])), 1.0)


def _flag(answer: Answer, name: str) -> bool | None:
    flags = answer[1]
    assert flags is not None
    found: bool | None = getattr(flags, name)
    return found


def _counted(answer: Answer, name: str) -> float:
    return 0.0 if _flag(answer, name) is None else 1.0
