"""Gates: limits that a candidate must keep to, and what becomes of them.

Figures in, verdicts out; knows nothing of models or files. A gate bounds a candidate's own value,
its difference to the baseline or its ratio to it. With a confidence the whole interval must lie
beyond the bound (non-inferiority, superiority); without one the figure itself decides.
"""

import math
import re
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import model_validator

from harness.comparison.directions import better
from harness.runs import Record
from harness.tables import is_fraction
from metrics.errors import WeighinError
from metrics.stats import Estimate

GATE = re.compile(r"^(?P<metric>[A-Za-z0-9_.:-]+)\s*=\s*(?P<bound>[+-]?[0-9.]+(?:[eE][+-]?\d+)?)$")

Side = Literal["min", "max"]
Of = Literal["value", "difference", "ratio"]
Status = Literal["kept", "broken", "undecided", "skipped"]


class GateError(WeighinError):
    """A gate that cannot be read, or whose metric was not run."""


class Gate(Record):
    """One limit."""

    metric: str
    """`task.metric`, `kld.name`, `file.size_bytes` or `speed.tokens_per_second`."""
    side: Side
    """Whether the bound is the least or the most that is allowed."""
    bound: float
    """In the metric's unit, fractions as fractions."""
    of: Of
    """What is bounded: the candidate's value, its difference to the baseline's, or their ratio."""
    confidence: float | None = None
    """Coverage of the interval that must lie beyond the bound; None: the figure decides."""
    place: str | None = None
    """File and line where it stands; None where it was given otherwise."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not math.isfinite(self.bound):
            raise ValueError("a bound must be a finite number")
        if self.confidence is not None and not 0.5 <= self.confidence < 1:
            raise ValueError("a confidence lies between 0.5 and 1, such as 0.95")
        return self

    def __str__(self) -> str:
        what = {
            "value": self.metric,
            "difference": f"{self.metric} - baseline",
            "ratio": f"{self.metric} / baseline",
        }[self.of]
        sign = ">" if self.side == "min" else "<"
        bound = f"{self.scale * self.bound:.6g}{self.unit}"
        if self.confidence is None:
            return f"{what} {sign}= {bound}"
        return f"{what} {sign} {bound} ({100 * self.confidence:g} % interval)"

    def holds(self, found: Estimate) -> bool | None:
        """Whether a figure keeps to the gate; None where it cannot be told.

        A figure may lie on the bound; an interval must lie beyond it.

        Args:
            found: The figure, with its interval at the gate's confidence.
        """
        sign = 1 if self.side == "min" else -1
        if self.confidence is None:
            return None if found.value is None else sign * found.value >= sign * self.bound
        end = found.low if self.side == "min" else found.high
        return None if end is None else sign * end > sign * self.bound

    def short_by(self, found: Estimate) -> float:
        """How far a figure that breaks the gate is on the wrong side of the bound, at least 0."""
        end = found.low if self.side == "min" else found.high
        value = found.value if self.confidence is None else end
        assert value is not None
        return abs(self.bound - value)

    @property
    def called(self) -> str:
        """What an error calls it: its place, and its metric."""
        return f"{'' if self.place is None else self.place + ': '}gate on {self.metric}"

    @property
    def scale(self) -> float:
        """Factor for print: 100 for shares and their differences."""
        return 100.0 if is_fraction(self.metric) and self.of != "ratio" else 1.0

    @property
    def unit(self) -> str:
        """What stands behind a printed number: percent for shares, points for differences."""
        if self.scale == 1.0:
            return ""
        return " %" if self.of == "value" else " points"


class Telling(Record):
    """A prompt that shows why a gate is broken."""

    task: str
    prompt_id: str
    sample: int
    why: str
    """What became worse there."""
    prompt: str
    """How the prompt begins, or all of it."""
    answer: str
    """A part of what the candidate said."""


class Verdict(Record):
    """What became of one gate, or of a check that needs none."""

    name: str
    """The gate in words, or `tokenizer`, `chat template`."""
    gate: Gate | None = None
    status: Status
    found: Estimate | None = None
    """The figure that was judged, with its interval at the gate's confidence (95 % without one)."""
    why: str = ""
    """What a reader must know: by how much it is broken, or why it was not judged."""
    telling: tuple[Telling, ...] = ()
    """At most three prompts, for a broken one."""


def parse_gate(text: str, *, side: Side, of: Of) -> Gate:
    """Read a gate such as `ifeval.prompt_level_strict_acc=-0.02`.

    Raises:
        GateError: It does not look like that, or the bound is no number.
    """
    match = GATE.match(text.strip())
    try:
        bound = float(match["bound"]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise GateError(
            f"gate {text!r}: expected METRIC=NUMBER, such as ifeval.prompt_level_strict_acc=-0.02"
        )
    return Gate(metric=match["metric"], side=side, bound=bound, of=of)


def require_some(gates: Sequence[Gate]) -> None:
    """Refuse to check nothing, which every candidate would pass.

    Raises:
        GateError: There is no gate.
    """
    if not gates:
        raise GateError(
            "no gate given; name a file with --gates (weighin gates init writes one), or a gate, "
            "as in --min ifeval.prompt_level_strict_acc=-0.02"
        )


def noninferior(metric: str, margin: float, confidence: float) -> Gate:
    """The gate that a candidate is worse by less than a margin.

    Args:
        metric: One that has a better direction.
        margin: Above 0, in the metric's unit.
        confidence: Of the interval of the difference, which must lie beyond the margin.

    Raises:
        ValueError: The metric is better neither higher nor lower, or the margin is not above 0.
    """
    if margin <= 0:
        raise ValueError("a margin of non-inferiority must be above 0")
    return _towards(metric, -margin, confidence)


def superior(metric: str, margin: float, confidence: float) -> Gate:
    """The gate that a candidate is better by more than a margin, which may be 0.

    Raises:
        ValueError: The metric is better neither higher nor lower, or the margin is below 0.
    """
    if margin < 0:
        raise ValueError("a margin of superiority must not be below 0")
    return _towards(metric, margin, confidence)


def judge(gate: Gate, found: Estimate) -> Verdict:
    """Hold one figure against its gate.

    Args:
        gate: The limit.
        found: What it bounds, with its interval at the gate's confidence.
    """
    holds = gate.holds(found)
    if holds is None:
        lacking = "figure is" if found.value is None else "interval is"
        return Verdict(
            name=str(gate),
            gate=gate,
            status="undecided",
            found=found,
            why=f"the {lacking} undefined for these answers (n {found.n})",
        )
    points = " points" if gate.scale == 100 else ""
    why = "" if holds else f"short by {gate.scale * gate.short_by(found):.4g}{points}"
    if not holds and gate.confidence is not None and _point_holds(gate, found):
        why += "; the figure itself keeps to it, the prompts are too few to show it"
    return Verdict(
        name=str(gate), gate=gate, status="kept" if holds else "broken", found=found, why=why
    )


def _towards(metric: str, least_gain: float, confidence: float) -> Gate:
    direction = better(metric)
    if direction is None:
        raise ValueError(
            f"{metric} is better neither higher nor lower; bound it with min, max and of"
        )
    return Gate(
        metric=metric,
        side="min" if direction == "higher" else "max",
        bound=least_gain if direction == "higher" else -least_gain,
        of="difference",
        confidence=confidence,
    )


def _point_holds(gate: Gate, found: Estimate) -> bool:
    return bool(gate.model_copy(update={"confidence": None}).holds(found))
