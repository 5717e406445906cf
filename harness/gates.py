"""Gates: limits that a candidate must keep to.

A comparison in, a verdict out; knows nothing of models or files. A gate bounds a difference to the
baseline, or a value.
"""

import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from harness.comparison import Comparison
from harness.runs import Record
from metrics.errors import WeighinError
from metrics.stats import Estimate

GATE = re.compile(r"^(?P<metric>[A-Za-z0-9_.-]+)\s*=\s*(?P<bound>[+-]?[0-9.]+(?:[eE][+-]?\d+)?)$")

Side = Literal["min", "max"]
Of = Literal["difference", "value"]


class GateError(WeighinError):
    """A gate that cannot be read, or whose metric was not run."""


class Gate(Record):
    """One limit."""

    metric: str
    """`task.metric`, or `task.h_delta`."""
    side: Side
    """Whether the bound is the least or the most that is allowed."""
    bound: float
    of: Of
    """Whether the difference to the baseline is bounded, or the candidate's own value."""

    def __str__(self) -> str:
        what = self.metric if self.of == "value" else f"{self.metric} - baseline"
        return f"{what} {'>=' if self.side == 'min' else '<='} {self.bound:g}"


class Verdict(Record):
    """What became of one gate."""

    gate: Gate
    found: Estimate
    kept: bool


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


def judge(comparison: Comparison, gates: Sequence[Gate]) -> list[Verdict]:
    """Hold a comparison against gates; the point estimate decides.

    Raises:
        GateError: A gate's metric is not in the comparison, or undefined there.
    """
    known = comparison.by_metric()
    verdicts = []
    for gate in gates:
        if gate.metric not in known:
            near = get_close_matches(gate.metric, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise GateError(f"gate on {gate.metric}: no such metric in this run; {hint}")
        row = known[gate.metric]
        found = row.difference if gate.of == "difference" else row.candidate
        if found.value is None:
            raise GateError(f"gate on {gate.metric}: the figure is undefined for these texts")
        above = found.value >= gate.bound
        kept = above if gate.side == "min" else found.value <= gate.bound
        verdicts.append(Verdict(gate=gate, found=found, kept=kept))
    return verdicts
