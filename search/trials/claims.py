"""Claims: which trial a worker takes next, such that none is lost or done twice.

A study's trials are numbered places that workers claim. Optuna's step from waiting to running is
atomic, so one worker gets each; a running trial whose owner is dead goes to another under its own
number. The budget is a limit on the numbers that may be claimed, so that no number of workers goes
beyond it. Knows nothing of what a trial is.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search.leases.lease import DeathWatch, Owner, Pulse, TrialJob, own, owner_of, take
from search.proposing.space import grid_points
from search.study.study import Study, row_of

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Claim:
    """A trial that is this process's to work on."""

    number: int
    job: TrialJob
    dead: Owner | None
    """Who began it and died; None for a fresh one."""


@dataclass
class Claims:
    """Claims the trials of one study for one process."""

    study: Study
    me: Owner
    pulse: Pulse
    _watch: DeathWatch = field(init=False)

    def __post_init__(self) -> None:
        self._watch = DeathWatch(self.pulse)

    def next(self) -> Claim | None:
        """A trial to work on: one that a dead worker left, else the next of the budget.

        Returns:
            None where all are claimed; those that run may still be left by their workers.
        """
        while True:
            trials = self.study.trials()
            for trial in trials:
                claim = self._left_behind(trial)
                if claim is not None:
                    return claim
            limit = claimable(self.study, trials)
            for trial in trials[:limit]:
                claim = self._waiting(trial)
                if claim is not None:
                    return claim
            if len(trials) >= limit:
                return None
            self._add()

    def running(self) -> bool:
        """Whether any trial is being worked on."""
        return any(trial.state.name == "RUNNING" for trial in self.study.trials())

    def _left_behind(self, trial: "optuna.trial.FrozenTrial") -> Claim | None:
        if trial.state.name != "RUNNING":
            return None
        job = TrialJob(self.study.storage, self._id(trial))
        dead = owner_of(trial.user_attrs)
        if not self._watch.is_dead(trial.number, trial.user_attrs):
            return None
        if not take(job, self.me, self.pulse, dead):
            return None
        if self.study.storage.get_trial(job.trial_id).state.name != "RUNNING":
            return None
        return Claim(trial.number, job, dead)

    def _waiting(self, trial: "optuna.trial.FrozenTrial") -> Claim | None:
        import optuna

        if trial.state.name != "WAITING":
            return None
        job = TrialJob(self.study.storage, self._id(trial))
        running = optuna.trial.TrialState.RUNNING
        try:
            if not self.study.storage.set_trial_state_values(job.trial_id, running):
                return None
        except optuna.exceptions.UpdateFinishedTrialError:
            return None
        own(job, self.me)
        return Claim(trial.number, job, None)

    def _add(self) -> None:
        """Make one more place; one too many is beyond the limit, and never claimed."""
        import optuna

        waiting = optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING)
        self.study.storage.create_new_trial(self.study.id, waiting)

    def _id(self, trial: "optuna.trial.FrozenTrial") -> int:
        return self.study.storage.get_trial_id_from_study_id_trial_number(
            self.study.id, trial.number
        )


def claimable(study: Study, trials: "list[optuna.trial.FrozenTrial]") -> int:
    """How many numbers may be claimed: the budget, one more per repeat, at most the whole grid."""
    n_repeats = sum(row_of(trial).repeats is not None for trial in trials)
    limit = study.n_trials + n_repeats
    if study.recipe.search.sampler == "grid":
        return min(limit, len(grid_points(study.recipe)))
    return limit
