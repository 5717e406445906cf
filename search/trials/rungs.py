"""Rungs: a trial watched wave by wave, and stopped when it has lost.

Scores of the trial, of the baseline and of the runs to beat in; a reason to stop, or none, out, and
which task is best asked next.
A trial is worth finishing while it can keep every constraint and beat the leader (with several
objectives: while no run of the front is better in all of them). Each of these is a bar, tested at
the run's looks; they share the error rate. Knows nothing of models, builds or Optuna.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.runs import Completion, Run, Score
from harness.scoring import score_completions
from search.errors import RecipeError
from search.study.objective import Constraint, Objective
from search.trials.bars import Bar
from search.trials.reference import Key, Reference

LOOKS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
"""Shares of the answers at which a trial is judged."""
QUARTERS = (1 / 4, 1 / 2, 3 / 4)
"""Those of a small run."""
FEWEST_ANSWERS = 16
"""Answers between two looks, over all tasks: fewer leave most of a batch idle."""

BROKEN = {"certain": "can no longer be kept", "likely": "is most likely not kept"}
BEATEN = {"certain": "can no longer reach", "likely": "will most likely not reach"}
"""How sure a trial has lost, in words."""


@dataclass(frozen=True)
class Told:
    """What a stopped trial lets be known of itself."""

    values: tuple[float, ...]
    """One estimate per objective."""
    violations: dict[str, float]
    """An estimate per constraint, by its text; above 0 breaks it."""
    n_answers: int
    """Answers that the estimates are made of."""
    n_total: int
    """Answers of a whole run."""


class Rungs:
    """One trial's watch, from its first wave to its last."""

    def __init__(
        self,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        baseline: Reference,
        leaders: Sequence[Reference],
        *,
        others: Sequence[Reference] = (),
        looks: Sequence[float] = LOOKS,
        error_rate: float,
    ) -> None:
        """A watch that has seen nothing yet.

        Args:
            objectives: The study's. Where one of them is no sum over answers, nothing is stopped.
            constraints: The study's; one that is no sum over answers is left to the end.
            baseline: Its run.
            leaders: The leader's run, or those of the front; the baseline is to be beaten too as
                long as none of them is better than it.
            others: More whole runs of the study; the more, the less is left to chance.
            looks: The run's own, from its engine settings.
            error_rate: Largest chance that a trial is stopped that would have kept every
                constraint and beaten the leaders.
        """
        self.baseline = baseline
        self.seen: dict[Key, Score] = {}
        references = list(dict.fromkeys((baseline, *leaders, *others)))
        self._objectives = objectives
        self._constraints = constraints
        self._kept = {
            constraint.text: _limit(constraint, references, looks) for constraint in constraints
        }
        # the baseline is what a value is estimated from where nothing is beaten
        self._plain = _row(objectives, baseline, references, looks)
        rows = [
            _row(objectives, run, references, looks)
            for run in _to_beat(objectives, baseline, leaders)
        ]
        self._to_reach = [row for row in rows if row is not None]
        self._out_of_reach: Sequence[Bar] | None = None
        n_bars = sum(bar is not None for bar in self._kept.values()) + len(self._to_reach)
        self.error_rate = error_rate / max(1, n_bars)

    def see(self, scores: Sequence[Score]) -> str | None:
        """Take a wave in; all waves, those kept before included, in their order.

        Returns:
            Why the trial is stopped; None while it is worth going on. A trial is not stopped before
            something of every task was seen, nor when all of it was.
        """
        self.seen |= {(s.task, s.prompt_id, s.sample): s for s in scores}
        n, n_total = len(self.seen), len(self.baseline.by_key)
        tasks = {key[0] for key in self.seen}
        if self._plain is None or n >= n_total or tasks != {k[0] for k in self.baseline.by_key}:
            return None
        after = f"after {n} of {n_total} answers"
        for text, bar in self._kept.items():
            how = bar.missed(self.seen, self.error_rate) if bar is not None else None
            if how is not None:
                return f"{text}: {BROKEN[how]} ({after})"
        for row in self._to_reach:
            found = [bar.missed(self.seen, self.error_rate) for bar in row]
            if all(found):
                self._out_of_reach = row
                how = "likely" if "likely" in found else "certain"
                names = " and ".join(objective.metric for objective in self._objectives)
                return f"{names}: {BEATEN[how]} the leader's ({after})"
        return None

    def ask_next(self, tasks: Sequence[str]) -> str:
        """The task to go on with: the one whose answers are the shortest way to a stop.

        Every bar's test sees its own task's answers in their order, whatever is asked between
        them, so the error rate holds. What is nearest is judged by `Bar.wanting`; while nothing
        points to a stop, the tasks take turns.

        Args:
            tasks: Those with answers left, the one whose turn it is first.
        """
        begun = {key[0] for key in self.seen}
        fresh = [task for task in tasks if task not in begun]
        if fresh:
            return fresh[0]
        nearest = dict.fromkeys(tasks, math.inf)
        for row in [*([bar] for bar in self._kept.values() if bar is not None), *self._to_reach]:
            wanting: dict[str, float] = {}
            for bar in row:  # it stops the trial when all of its bars are missed
                more = bar.wanting(self.seen, self.error_rate)
                wanting[bar.task] = max(more, wanting.get(bar.task, 0.0))
            for task in nearest.keys() & wanting.keys():
                nearest[task] = min(nearest[task], sum(wanting.values()))
        return min(tasks, key=lambda task: nearest[task])

    @property
    def told(self) -> Told:
        """What the sampler is told of a trial that was stopped: estimates over all answers.

        A value is below the leader's, or a violation above 0, whichever it was stopped for. A
        constraint that is left to the end counts as kept.

        Raises:
            RecipeError: An objective is no sum over answers; such a trial is never stopped.
        """
        row = self._out_of_reach or (self._to_reach[0] if self._to_reach else self._plain)
        if row is None:
            raise RecipeError("an objective cannot be estimated before the last answer")
        values = []
        for objective, bar in zip(self._objectives, row, strict=True):
            value = bar.estimate(self.seen)
            if objective.relative:
                before = self.baseline.value(bar.figure, bar.keys)
                value -= before if before is not None else 0.0
            values.append(value)
        violations = {
            text: 0.0 if bar is None else bar.side * (bar.bound - bar.estimate(self.seen))
            for text, bar in self._kept.items()
        }
        return Told(tuple(values), violations, len(self.seen), len(self.baseline.by_key))


def looks_for(n_answers: int) -> tuple[float, ...]:
    """The looks of a run: those of LOOKS that have enough answers between them, or its quarters.

    Args:
        n_answers: Of the whole run, over all tasks.
    """
    if n_answers < len(QUARTERS) * FEWEST_ANSWERS:
        return QUARTERS
    looks: list[float] = []
    for share in LOOKS:
        if (share - (looks[-1] if looks else 0.0)) * n_answers >= FEWEST_ANSWERS:
            looks.append(share)
    return tuple(looks)


def score_wave(run: Run, completions: Sequence[Completion]) -> list[Score]:
    """The scores of one wave of a run that is being made."""
    return score_completions(run.header(), run.prompt_sets(), completions)


def _to_beat(
    objectives: Sequence[Objective], baseline: Reference, leaders: Sequence[Reference]
) -> list[Reference]:
    """What a trial must not be worse than: the leaders, and the baseline if none of them beats it.

    With one objective a leader below the baseline is no bar of its own.
    """

    def better(run: Reference) -> bool:
        for objective in objectives:
            found = baseline.figure(objective.metric)
            if found is None:
                return False
            task, figure = found
            own, before = (ref.value(figure, ref.keys(task)) for ref in (run, baseline))
            sign = 1 if objective.direction == "maximize" else -1
            if own is None or before is None or sign * own <= sign * before:
                return False
        return True

    if any(better(run) for run in leaders):
        return list(leaders)
    others = [run for run in leaders if run is not baseline] if len(objectives) > 1 else []
    return [*others, baseline]


def _limit(
    constraint: Constraint, references: Sequence[Reference], looks: Sequence[float]
) -> Bar | None:
    """The bar that a constraint sets; None where it is no sum over answers."""
    found = references[0].figure(constraint.metric)
    if found is None:
        return None
    task, figure = found
    bound = constraint.bound
    if constraint.relative:
        before = references[0].value(figure, references[0].keys(task))
        if before is None:
            return None
        bound += before
    side = 1 if constraint.side == ">=" else -1
    return Bar(task, figure, bound, side, references, looks)


def _row(
    objectives: Sequence[Objective],
    leader: Reference,
    references: Sequence[Reference],
    looks: Sequence[float],
) -> list[Bar] | None:
    """The bars that a run sets, one an objective; None where one is no sum over answers."""
    bars = []
    for objective in objectives:
        found = leader.figure(objective.metric)
        if found is None:
            return None
        task, figure = found
        bound = leader.value(figure, leader.keys(task))
        if bound is None:
            return None
        side = 1 if objective.direction == "maximize" else -1
        bars.append(Bar(task, figure, bound, side, references, looks))
    return bars
