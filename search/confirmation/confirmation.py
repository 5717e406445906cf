"""Confirmation: what the search's choice comes to on prompts that the search has not seen.

Records, and what follows from them; the figures in them are `search.confirmation.figures`'. Knows
nothing of models or of how runs are made.
"""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import ValidationError

from harness.runs import Record
from metrics.stats import ALPHA, Estimate
from search.errors import StudyError
from search.recipe import Number
from search.study.study import Study, TrialRow

SCHEMA_VERSION = 1
JOB = "confirmation"
"""Name of the study's job, and of the file beside its record."""
FILE = f"{JOB}.json"
FOLDER = "confirm"
"""Where its runs lie, in the study's folder."""
DONE = "done"
"""Attribute of the job: the record, and the runs' files in the artifact store."""

Role = Literal["leader", "runner-up", "recipe's own", "confirmed before"]
Outcome = Literal["shown", "not shown", "nothing"]
"""Shown: a build beats the baseline, beyond chance. Not shown: one does, by what chance can do.
Nothing: none does."""


class Asked(Record):
    """What a confirmation answers; another one is made where this differs."""

    baseline_sha256: str
    questions: str
    """Hash of the prompts that were held back, and of how they are asked."""
    n_trials: int
    """Whole trials that were chosen from."""
    runners_up: int
    """Most of them to run."""

    def same_questions(self, other: Self) -> bool:
        """Whether runs for the one serve the other."""
        return (self.baseline_sha256, self.questions) == (other.baseline_sha256, other.questions)


class Gain(Record):
    """One objective of one build on both halves."""

    metric: str
    """As the recipe names it."""
    direction: Literal["maximize", "minimize"]
    search: Estimate
    """Candidate minus baseline where the search looked; undefined for a trial that was stopped."""
    confirmed: Estimate
    """Candidate minus baseline on the prompts that were held back."""
    drop: Estimate
    """How much less was confirmed than the search had found; above 0 is a loss, whichever
    direction is wanted."""
    own: Estimate
    """The candidate's own figure on the prompts that were held back."""
    p_value: float | None
    """Two-sided, of no difference to the baseline."""
    p_holm: float | None
    """The same, corrected for all builds and objectives."""

    @property
    def sign(self) -> int:
        """1 where larger is better."""
        return 1 if self.direction == "maximize" else -1

    @property
    def shown(self) -> Literal["better", "worse"] | None:
        """What is beyond chance: by the test and by the interval."""
        low, high = self.confirmed.low, self.confirmed.high
        if low is None or high is None or self.p_holm is None or self.p_holm >= ALPHA:
            return None
        if low <= 0 <= high:
            return None
        return "better" if (low > 0) == (self.sign > 0) else "worse"


class Bound(Record):
    """One limit of the recipe on the prompts that were held back."""

    text: str
    """As the recipe has it."""
    metric: str
    relative: bool
    """Whether it bounds the difference to the baseline."""
    confirmed: Estimate
    """What it bounds."""
    violation: float
    """Above 0 breaks it."""
    sure: bool
    """Whether the whole interval lies on that side of the bound."""

    @property
    def kept(self) -> bool:
        """Whether the figure itself keeps to it, as in the search."""
        return self.violation <= 0


class Candidate(Record):
    """One build that was run on the prompts that were held back."""

    trial: int
    roles: tuple[Role, ...]
    params: dict[str, Number]
    build: str
    sha256: str
    """Of the GGUF that was scored on both halves."""
    run: str
    """Name of the run's folder under `confirm/runs`."""
    kept_in_search: bool
    """Whether every answer was given in the search, and every limit kept."""
    p_leader: float | None
    """Of no difference to the leader in the search, corrected for all that were held against it;
    None for the leader, and for what was not."""
    gains: tuple[Gain, ...]
    """One an objective."""
    bounds: tuple[Bound, ...]

    @property
    def keeps(self) -> bool:
        """Whether every limit is kept on both halves."""
        return self.kept_in_search and all(bound.kept for bound in self.bounds)

    @property
    def ahead(self) -> bool:
        """Whether it keeps the limits and is better in one objective and worse in none."""
        moved = [gain.sign * (gain.confirmed.value or 0.0) for gain in self.gains]
        return self.keeps and max(moved) > 0 and min(moved) >= 0

    @property
    def shown(self) -> bool:
        """Whether it keeps the limits and is shown to be better in one, and worse in none."""
        found = [gain.shown for gain in self.gains]
        return self.keeps and "better" in found and "worse" not in found


class OfBaseline(Record):
    """The baseline's own figure on both halves."""

    metric: str
    """`task.metric`."""
    search: Estimate
    confirmed: Estimate


class Confirmation(Record):
    """`confirmation.json`, and the study's attribute `confirmation.done`."""

    schema_version: int = SCHEMA_VERSION
    asked: Asked
    n_prompts: dict[str, int]
    """Held back, by task."""
    confidence: float
    """With which all the intervals hold together."""
    n_claims: int
    """Builds times objectives: what the intervals and tests are corrected for."""
    leader: int
    """The search's best trial; no candidate where that is the baseline's own point."""
    baseline: tuple[OfBaseline, ...]
    """One an objective."""
    candidates: tuple[Candidate, ...]
    """The leader, the runners-up from best to worst, the recipe's own, and earlier ones."""
    n_left_out: int
    """Runners-up beyond the limit on their number."""
    outcome: Outcome
    winner: int | None
    """The trial: the first candidate that is shown, else the first that is ahead."""
    n_tokens: int
    """Generated, the baseline's run included."""

    def of_trial(self, number: int | None) -> Candidate | None:
        """The candidate of that trial."""
        return next((c for c in self.candidates if c.trial == number), None)


def kept_confirmation(study: Study) -> Confirmation | None:
    """A study's confirmation as its storage has it.

    Raises:
        StudyError: It is another version's.
    """
    done = study.attribute(f"{JOB}.{DONE}")
    if done is None:
        return None
    try:
        return Confirmation.model_validate(done["record"])
    except ValidationError as error:
        raise StudyError(
            f"study {study.name}: its confirmation is not this version's "
            f"({error.error_count()} fields differ); read {FILE} with the weighin that made it"
        ) from None


def judged(candidates: Sequence[Candidate]) -> tuple[Outcome, int | None]:
    """What candidates come to, and whose build wins.

    The order was settled on the search's half, so the first that is shown to hold is taken, not the
    one that happens to score highest on the other half.
    """
    for candidate in candidates:
        if candidate.shown:
            return "shown", candidate.trial
    for candidate in candidates:
        if candidate.ahead:
            return "not shown", candidate.trial
    return "nothing", None


def roles_text(candidate: Candidate) -> str:
    """`leader`, `runner-up, recipe's own`."""
    return ", ".join(candidate.roles)


def is_current(record: Confirmation, whole: Sequence[TrialRow]) -> bool:
    """Whether no trial has ended since."""
    return record.asked.n_trials == len(whole)
