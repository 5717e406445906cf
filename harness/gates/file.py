"""Gates file: gates.yaml as its user writes it, and one to begin with.

A YAML file in, gates out, or an error with its line; knows nothing of runs.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.gates.gates import Gate, GateError, Of, Side, noninferior, superior
from harness.runs import RunHeader
from harness.yamlfile import Document, read_yaml
from metrics.stats import CONFIDENCE

FORMS = ("noninferior", "superior", "min", "max")


class GateEntry(BaseModel):
    """One entry of `gates`: a metric and one or two limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    """As `weighin compare` names it, or `kld.*`, `file.size_bytes`, `speed.tokens_per_second`."""
    noninferior: float | None = None
    """A margin: the candidate may be worse by less than this."""
    superior: float | None = None
    """The candidate must be better by more than this."""
    min: float | None = None
    max: float | None = None
    of: Of | None = None
    """What min and max bound: value (the default), difference or ratio."""
    confidence: float | None = Field(default=None, ge=0.5, lt=1)
    """Of the interval that must lie beyond the bound. For noninferior and superior the file's; for
    min and max none, so that the figure itself decides."""

    @model_validator(mode="after")
    def _one_form(self) -> "GateEntry":
        given = [form for form in FORMS if getattr(self, form) is not None]
        if not given:
            raise ValueError(f"a gate needs one of {', '.join(FORMS)}")
        if len(given) > 1 and given != ["min", "max"]:
            raise ValueError(f"{' and '.join(given)} are two gates; make each an entry of its own")
        if self.of is not None and given[0] in ("noninferior", "superior"):
            raise ValueError(f"{given[0]} bounds the difference; leave `of` out")
        return self

    def gates(self, confidence: float) -> list[Gate]:
        """The gates that the entry stands for.

        Args:
            confidence: The file's, for tests of the difference that name none.

        Raises:
            ValueError: The metric has no better direction, or the margin is on the wrong side.
        """
        level = confidence if self.confidence is None else self.confidence
        if self.noninferior is not None:
            return [noninferior(self.metric, self.noninferior, level)]
        if self.superior is not None:
            return [superior(self.metric, self.superior, level)]
        sides: tuple[tuple[Side, float | None], ...] = (("min", self.min), ("max", self.max))
        return [
            Gate(
                metric=self.metric,
                side=side,
                bound=bound,
                of=self.of or "value",
                confidence=self.confidence,
            )
            for side, bound in sides
            if bound is not None
        ]


class GatesFile(BaseModel):
    """`gates.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(default=CONFIDENCE, ge=0.5, lt=1)
    gates: tuple[GateEntry, ...] = Field(min_length=1)


def read_gates(path: Path) -> list[Gate]:
    """The gates of a file, in its order.

    Raises:
        GateError: Not readable, not YAML, an unknown key or a bad value; file, line and key are
            named.
    """
    document = read_yaml(path, GateError)
    if not isinstance(document.value, dict):
        raise GateError(f"{path}:1: expected a mapping with `gates`; weighin gates init writes one")
    try:
        file = GatesFile.model_validate(document.value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
        raise GateError(_told(path, document, first["loc"], first["type"], first["msg"])) from None
    gates: list[Gate] = []
    for index, entry in enumerate(file.gates):
        place = f"{path}:{document.line(('gates', index))}"
        try:
            own = entry.gates(file.confidence)
            gates += [gate.model_copy(update={"place": place}) for gate in own]
        except ValueError as error:
            raise GateError(
                _told(path, document, ("gates", index), "value_error", str(error))
            ) from None
    return gates


def example(header: RunHeader | None = None) -> str:
    """A commented gates.yaml to begin with.

    Args:
        header: The baseline's, whose tasks the gates are for; None writes them for ifeval and
            prose.
    """
    tasks = (
        [("ifeval", "ifeval"), ("prose", "prose")]
        if header is None
        else [(task.name, task.kind) for task in header.tasks]
    )
    parts = [_HEAD]
    for name, kind in tasks:
        parts.append((_IFEVAL if kind == "ifeval" else _PROSE).replace("TASK", name))
    return "\n".join((*parts, _BESIDE))


def _told(
    path: Path, document: Document, location: tuple[Any, ...], kind: str, message: str
) -> str:
    from difflib import get_close_matches

    where = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        owner = GateEntry if len(location) > 1 else GatesFile
        near = get_close_matches(str(location[-1]), owner.model_fields, n=1)
        known = ", ".join(owner.model_fields)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {known}"
        message = f"unknown key {location[-1]!r}; {hint}"
    elif kind == "missing":
        message = "is missing"
    message = message.removeprefix("Value error, ")
    return f"{path}:{document.line(location)}: {where}: {message}"


_HEAD = """\
# Gates for `weighin check CANDIDATE --baseline RUN --gates gates.yaml`.
# It ends 0 where every gate is kept, 1 where one is broken, 2 where it cannot judge.
#
# noninferior: M   worse by less than M: the whole interval of the difference lies above -M
#                  (below +M where less is better). With n prompts of which a share d is answered
#                  differently, M cannot be much below 2 * sqrt(d / n).
# superior: M      better by more than M, by the whole interval
# min, max: B      bounds of the candidate's own value; `of: difference` or `of: ratio` bounds the
#                  difference to the baseline's value, or their ratio. The figure itself decides;
#                  with `confidence: 0.95` the whole interval must lie beyond the bound.
# Fractions are fractions here: 0.02 is two points of a hundred.

confidence: 0.95   # of the intervals of noninferior and superior
gates:
"""

_IFEVAL = """\
  # TASK: prompts of which every instruction was followed
  - {metric: TASK.prompt_level_strict_acc, noninferior: 0.03}
  # one family or type of instruction, such as punctuation:no_comma
  # - {metric: "TASK.strict.keywords", of: difference, min: -0.10}
  # answers that went wrong: empty, cut_off, refused, unclosed_thought, looping, other_language
  - {metric: TASK.empty, of: difference, max: 0.01}
  - {metric: TASK.looping, of: difference, max: 0.02}
"""

_PROSE = """\
  # TASK: H is a prose-style score, 0 to 100
  - {metric: TASK.H, noninferior: 3}
  # - {metric: TASK.slop, noninferior: 5}
  - {metric: TASK.empty, of: difference, max: 0.01}
  - {metric: TASK.refused, of: difference, max: 0.02}
"""

_BESIDE = """\
  # beside the answers; kld and speed need both files: --baseline-gguf
  # - {metric: kld.mean, max: 0.05}
  # - {metric: kld.same_top1, min: 0.90}
  # - {metric: file.size_bytes, of: ratio, max: 1.02}
  # - {metric: speed.tokens_per_second, of: ratio, min: 0.95}
"""
