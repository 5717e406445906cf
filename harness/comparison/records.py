"""Comparison: what two runs of the same prompts have to say of each other, as records.

The data that every table, report, card and gate is made of. Knows nothing of how it is computed;
`harness.comparison.compare` does.
"""

from typing import Self

from pydantic import Field

from harness.runs import Record, RunHeader
from metrics.stats import Estimate

H_DELTA = "h_delta"
"""Name of the difference in H, under its task: `prose.h_delta`."""


class Difference(Record):
    """One metric of two runs."""

    metric: str
    """`task.metric`, such as `prose.H`, `mini.cut_off`, `ifeval.strict.keywords:existence`."""
    baseline: Estimate
    candidate: Estimate
    difference: Estimate
    """Candidate minus baseline over the paired prompts, in the metric's unit."""
    p_value: float | None
    """Two-sided: exact McNemar for passes, sign flips or exchanged runs for the rest; None without
    pairs."""
    smallest: float | None
    """The smallest difference that these prompts could have shown; None where undefined."""
    p_holm: float | None = None
    """`p_value` corrected for the candidates that were compared together; None for one alone."""
    noise: float | None = None
    """How far the figure moves between two schedules of one file; None where nobody measured."""


class Flip(Record):
    """A prompt with instructions that only one of the two runs followed, strictly."""

    task: str
    prompt_id: str
    sample: int
    won: bool
    """Whether it is the candidate that passes."""
    instructions: tuple[str, ...]
    """Those whose strict verdict changed in the same direction."""
    loose_too: bool
    """Whether the loose verdict flipped as well."""


class Mover(Record):
    """One answer's prose-style score in both runs, and what moved it."""

    task: str
    prompt_id: str
    sample: int
    baseline: float
    """H, 0 to 100."""
    candidate: float
    parts: dict[str, float]
    """Points of the difference by component: the six rates and the gates `loop`, `salad`,
    `english`, `length` and `refusal`. They add up to the difference, to 1e-5."""

    @property
    def difference(self) -> float:
        """Points of H, candidate minus baseline."""
        return self.candidate - self.baseline

    @property
    def why(self) -> str:
        """The component that has the largest part in the difference."""
        sign = 1 if self.difference >= 0 else -1
        return max(self.parts, key=lambda name: sign * self.parts[name])


class RunFacts(Record):
    """Which run stands on a side, and of which file."""

    name: str
    """The folder's name."""
    file: str
    sha256: str
    """Of the GGUF."""
    quantization: str
    size_bytes: int
    n_parameters: int
    template_sha256: str

    @classmethod
    def of(cls, name: str, header: RunHeader) -> Self:
        """The facts that a run's header holds."""
        model = header.model
        return cls(
            name=name,
            file=model.file,
            sha256=model.sha256,
            quantization=model.quantization,
            size_bytes=model.size_bytes,
            n_parameters=model.n_parameters,
            template_sha256=header.chat.template_sha256,
        )


class Comparison(Record):
    """Two runs, metric by metric."""

    baseline: str
    """Name of the baseline's run."""
    candidate: str
    n_pairs: int
    """Completions that both runs have."""
    differences: tuple[Difference, ...]
    """The metrics."""
    sanity: tuple[Difference, ...] = ()
    """Shares of answers that are empty, cut off, refused, ...: `sanity.COUNTERS`."""
    types: tuple[Difference, ...] = ()
    """IFEval-like tasks by family and instruction type; only where asked for in detail."""
    flips: tuple[Flip, ...] = ()
    """Prompts lost, then prompts won."""
    movers: tuple[Mover, ...] = ()
    """Prose answers from the largest loss of H to the largest gain; only in detail."""
    notes: tuple[str, ...] = Field(default=())
    """What a reader of the figures must know."""

    def by_metric(self) -> dict[str, Difference]:
        """Every difference by name; `prose.h_delta` is another name of that of `prose.H`."""
        named = {d.metric: d for d in (*self.differences, *self.sanity, *self.types)}
        return named | {
            f"{name.removesuffix('.H')}.{H_DELTA}": d
            for name, d in named.items()
            if name.endswith(".H")
        }


class ComparisonSet(Record):
    """One baseline and its candidates."""

    baseline: RunFacts
    candidates: tuple[RunFacts, ...]
    comparisons: tuple[Comparison, ...]
    """One a candidate, in their order."""
