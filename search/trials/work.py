"""Work: one process's share of a study, trial after trial until the budget is spent.

Claims a trial, has its numbers proposed, hands them to a bench and records what became of them.
`weighin search` and every `weighin worker` run this very loop. Knows the order of these steps and
what a failure means for the study; nothing of models.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.console import note
from metrics.errors import WeighinError
from search.errors import DiskFullError, StorageError
from search.leases.checks import POLL_S, Check, Lost, Stopping, checker
from search.leases.interrupt import Interrupt
from search.leases.lease import DeathWatch, Lease, Owner, Pulse, give_back
from search.recipe import Number
from search.study.storage import storage_errors
from search.study.study import Study, TrialRow, row_of
from search.trials.claims import Claim, Claims
from search.trials.failures import Failure, failure_of
from search.trials.proposal import propose

if TYPE_CHECKING:
    import optuna

MAX_FAILURES = 3
"""Trials that fail alike in a row, on one machine, after which it stops."""


@dataclass(frozen=True)
class Assignment:
    """A trial as a bench is given it."""

    number: int
    trial_id: int
    """The storage's name of it."""
    numbers: Mapping[str, Number]
    build: str
    """The bench's own name of the build."""
    leaders: tuple[TrialRow, ...]
    """Whole trials that must be beaten."""
    references: tuple[TrialRow, ...]
    """Other whole trials, by which answers are foretold."""
    dead: Owner | None
    """A process that began it and died; what it left half-written may be removed."""
    check: Check
    """To be called between two steps; raises where the work must end."""


@dataclass(frozen=True)
class Outcome:
    """What became of a trial."""

    values: tuple[float, ...] | None
    """One per objective; None where it was turned away before it generated anything."""
    violations: Mapping[str, float]
    """By constraint; above 0 breaks it."""
    sha256: str
    """Of the GGUF that was scored."""
    run: str | None
    """Name of the run's folder; None without a run."""
    stopped: str | None = None
    """Why it ended before its last answer."""
    n_tokens: int = 0
    seconds: float = 0.0
    files: Mapping[str, tuple[str, str]] | None = None
    """The run's files in the artifact store."""


class Weigher(Protocol):
    """What turns numbers into an outcome."""

    def build_name(self, numbers: Mapping[str, Number]) -> str:
        """A name that equal builds share."""

    def weigh_trial(self, given: Assignment) -> Outcome:
        """Build, run and compare."""


def run_trials(
    study: Study,
    bench: Weigher,
    *,
    me: Owner,
    interrupt: Interrupt,
    pulse: Pulse | None = None,
) -> Iterator[TrialRow]:
    """Work on a study until its budget is spent, its space used up or an end is asked for.

    Args:
        study: The open study.
        bench: Weighs the trials.
        me: This process.
        interrupt: Asked between two steps.
        pulse: Of the leases.

    Yields:
        Each trial that this process ended, repeats included.

    Raises:
        DiskFullError: A disk is full; the trial in hand can be gone on with.
        WeighinError: Trials fail alike in a row, or the study was changed.
    """
    pulse = pulse or Pulse()
    claims = Claims(study, me, pulse)
    waited = False
    while not interrupt.asked:
        study.require_unchanged()
        claim = claims.next()
        if claim is None:
            if not claims.running():
                return
            if not waited:
                note("every trial is taken; waiting for those that run, in case one is left")
            waited = True
            time.sleep(min(POLL_S, pulse.settle_s))
            continue
        try:
            row = _attend(study, bench, claim, me, interrupt, pulse)
        except Stopping:
            return
        except Lost:
            note(f"trial {claim.number}: another worker has taken it over")
            continue
        if row is None:
            return
        yield row
        _stop_if_hopeless(study.rows(), me.host)


def _attend(
    study: Study,
    bench: Weigher,
    claim: Claim,
    me: Owner,
    interrupt: Interrupt,
    pulse: Pulse,
) -> TrialRow | None:
    """Work on one trial and record it; None where the space is used up."""
    with Lease(claim.job, me, pulse) as lease:
        check = checker(lease, interrupt)
        try:
            return _weigh(study, bench, claim, me, check, pulse)
        except Stopping:
            give_back(claim.job)
            raise
        except (WeighinError, MemoryError, RuntimeError, OSError) as error:
            failure = failure_of(error)
            if interrupt.asked:
                # Ctrl-C reaches the processes that a build starts, too
                give_back(claim.job)
                raise Stopping from None
            if failure == "disk full":
                _give_back_if_possible(claim)
                raise DiskFullError(
                    f"trial {claim.number}: {error}; the search has stopped, and goes on with the "
                    "same command once there is room"
                ) from None
            if failure is None or isinstance(error, StorageError):
                raise
            return _fail(study, claim, failure, str(error) or type(error).__name__, me)


def _weigh(
    study: Study,
    bench: Weigher,
    claim: Claim,
    me: Owner,
    check: Check,
    pulse: Pulse,
) -> TrialRow | None:
    import optuna

    known = {row.build for row in study.rows() if row.state in ("complete", "pruned")}
    proposed = propose(
        study, claim.number, claim.job.trial_id, lambda point: bench.build_name(point) in known
    )
    if proposed is None:
        note("every point of the space has been tried")
        study.storage.set_trial_state_values(claim.job.trial_id, optuna.trial.TrialState.WAITING)
        return None
    trial, numbers = proposed
    build = bench.build_name(numbers)
    claim.job.set("build", build)
    claim.job.set("host", me.host)
    earlier = _same_build(study, claim, build, pulse, check)
    if earlier is not None:
        claim.job.set("repeats", earlier)
        return _tell(study, claim, trial.study, optuna.trial.TrialState.FAIL)
    claim.job.set("begun", True)
    leaders, references = _to_beat(study, claim)
    given = Assignment(
        number=claim.number,
        trial_id=claim.job.trial_id,
        numbers=numbers,
        build=build,
        leaders=leaders,
        references=references,
        dead=claim.dead,
        check=check,
    )
    outcome = bench.weigh_trial(given)
    kept = trial.constraints
    for text, violation in outcome.violations.items():
        # a trial that was killed after this line has its constraints already
        if text not in kept:
            trial.set_constraint(text, violation)
    claim.job.set("sha256", outcome.sha256)
    claim.job.set("run", outcome.run)
    claim.job.set("stopped", outcome.stopped)
    claim.job.set("n_tokens", outcome.n_tokens)
    claim.job.set("seconds", round(outcome.seconds, 1))
    claim.job.set("files", outcome.files or {})
    states = optuna.trial.TrialState
    state = states.PRUNED if outcome.values is None else states.COMPLETE
    return _tell(study, claim, trial.study, state, outcome.values)


def _same_build(study: Study, claim: Claim, build: str, pulse: Pulse, check: Check) -> int | None:
    """The trial that has this build already, or is about to; None where this one is to weigh it.

    Two workers that propose one build at the same time both have their trial's build written down
    before they look, so at least one sees the other, and the lower number has it.
    """
    watch = DeathWatch(pulse)
    while True:
        check()
        rival = None
        for trial in study.trials():
            row = row_of(trial)
            if row.build != build or row.number == claim.number or row.repeats is not None:
                continue
            if row.state in ("complete", "pruned"):
                return row.number
            if row.state != "running":
                continue
            if row.number < claim.number or trial.user_attrs.get("begun"):
                return row.number
            if not watch.is_dead(row.number, trial.user_attrs):
                rival = row.number
        if rival is None:
            return None
        time.sleep(min(POLL_S, pulse.settle_s))


def _to_beat(study: Study, claim: Claim) -> tuple[tuple[TrialRow, ...], tuple[TrialRow, ...]]:
    """The leaders and the other whole trials, as they were when the trial was first begun."""
    rows = {row.number: row for row in study.rows()}
    attributes = claim.job.attributes()
    if "references" not in attributes:
        leaders = [row.number for row in study.leaders()]
        others = [row.number for row in study.ranked() if row.number not in leaders]
        claim.job.set("leaders", leaders)
        claim.job.set("references", others)
        attributes = claim.job.attributes()
    return tuple(rows[n] for n in attributes["leaders"]), tuple(
        rows[n] for n in attributes["references"]
    )


def _fail(study: Study, claim: Claim, failure: Failure, reason: str, me: Owner) -> TrialRow:
    import optuna

    claim.job.set("host", me.host)
    claim.job.set("failure", failure)
    claim.job.set("error", " ".join(reason.split()))
    return _tell(study, claim, study.optuna_study(), optuna.trial.TrialState.FAIL)


def _tell(
    study: Study,
    claim: Claim,
    told: "optuna.Study",
    state: "optuna.trial.TrialState",
    values: Sequence[float] | None = None,
) -> TrialRow:
    """End a trial; of two processes that try, one does.

    Raises:
        Lost: Another process did.
    """
    import optuna

    try:
        return row_of(told.tell(claim.number, values, state=state))
    except optuna.exceptions.UpdateFinishedTrialError:
        raise Lost from None
    except ValueError:
        if study.storage.get_trial(claim.job.trial_id).state.is_finished():
            raise Lost from None
        raise


def _give_back_if_possible(claim: Claim) -> None:
    """The storage may lie on the disk that is full; the lease then ends with this process."""
    try:
        with storage_errors("sqlite://"):
            give_back(claim.job)
    except WeighinError:
        return


def _stop_if_hopeless(rows: Sequence[TrialRow], host: str) -> None:
    """Stop a machine whose last trials all failed alike: its next would too.

    Raises:
        WeighinError: They did.
    """
    ended = [row for row in rows if row.host == host and row.state != "running"]
    last = [row for row in ended if row.repeats is None][-MAX_FAILURES:]
    if len(last) < MAX_FAILURES or last[0].failure is None:
        return
    if all(row.failure == last[0].failure for row in last):
        raise WeighinError(
            f"{MAX_FAILURES} trials failed alike in a row ({last[0].failure}), the last: "
            f"{last[-1].error}"
        )
