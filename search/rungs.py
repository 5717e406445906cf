"""Rungs: a trial watched wave by wave, and stopped when it has lost.

Scores of the trial, of the baseline and of the runs to beat in; a reason to stop, or none, out.
What is claimed of a trial that is worth finishing: it keeps every constraint, and it beats the
leader (with several objectives: no run of the front is better in all of them). Each claim is one
about the mean over all answers of a task, and is tested at the run's looks by `metrics.sequential`;
the error rate is shared by the claims. Knows nothing of models, builds or Optuna.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.comparison import H_DELTA
from harness.evaluate import look_counts
from harness.figures import FIGURES, Figure
from harness.runs import Completion, Run, Score
from harness.scoring import score_completions
from metrics.sequential import adjusted, refuted, reliability
from search.errors import RecipeError
from search.objective import Constraint, Objective, match_metric

LOOKS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
"""Shares of the answers at which a trial is judged."""

IN_WORDS = {"certain": "can", "likely": "will most likely"}
"""How sure a claim was given up."""

Array = NDArray[np.float64]
Key = tuple[str, str, int]
"""Task, prompt and sample: runs are paired on it."""


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


class Reference:
    """A whole run that trials are held against: its answers' scores by task, prompt and sample."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self.by_key: dict[Key, Score] = {(s.task, s.prompt_id, s.sample): s for s in scores}

    def keys(self, task: str) -> list[Key]:
        """The task's answers."""
        return [key for key in self.by_key if key[0] == task]

    def value(self, figure: Figure, keys: Sequence[Key]) -> float | None:
        """The run's figure over those answers; None where it is undefined."""
        scores = [self.by_key[key] for key in keys]
        bottom = sum(figure.bottom(score) for score in scores)
        return sum(figure.top(score) for score in scores) / bottom if bottom else None


class Claim:
    """One claim of a trial: a figure of all its answers is at least (or at most) a bound."""

    def __init__(
        self,
        task: str,
        figure: Figure,
        bound: float,
        side: int,
        references: Sequence[Reference],
        looks: Sequence[float],
    ) -> None:
        """A claim, and what is to be expected of each answer if the runs so far are any guide.

        Args:
            task: Whose answers the figure is made of.
            figure: How.
            bound: In the figure's unit.
            side: 1 claims at least, -1 at most.
            references: Whole runs, the baseline first.
            looks: Shares of the answers at which the trial is judged.
        """
        self.task, self.figure, self.bound, self.side = task, figure, bound, side
        self.keys = references[0].keys(task)
        self.looks = look_counts(len(self.keys), looks)
        rows = np.array(
            [[self.surplus(ref.by_key[key]) for key in self.keys] for ref in references],
            dtype=np.float64,
        )
        self.slope = reliability(rows)
        expected = rows.mean(axis=0)
        self.mean_expected = float(expected.mean())
        self.expected = dict(zip(self.keys, expected.tolist(), strict=True))
        self.most = {key: self._most(references[0].by_key[key]) for key in self.keys}

    def surplus(self, score: Score) -> float:
        """What an answer adds to the claim; it holds where the mean over all is 0 or more."""
        beyond = self.figure.top(score) - self.bound * self.figure.bottom(score)
        return self.side * beyond

    def refuted(self, seen: Mapping[Key, Score], error_rate: float) -> str | None:
        """How the claim was given up (certain or likely); None while it stands."""
        own = self._own(seen)
        surplus = self._surplus(seen, own)
        return refuted(
            self._adjusted(surplus, own),
            len(self.keys),
            looks=self.looks,
            error_rate=error_rate,
            best_rest=sum(most for key, most in self.most.items() if key not in seen),
            certain_of=surplus,
        )

    def estimate(self, seen: Mapping[Key, Score]) -> float:
        """The figure over all answers, estimated; the bound itself where nothing tells."""
        own = self._own(seen)
        bottom = sum(self.figure.bottom(seen[key]) for key in own)
        if not bottom:
            return self.bound
        total = float(self._adjusted(self._surplus(seen, own), own).sum())
        return self.bound + self.side * total / bottom

    def _own(self, seen: Mapping[Key, Score]) -> list[Key]:
        return [key for key in seen if key[0] == self.task]

    def _surplus(self, seen: Mapping[Key, Score], own: Sequence[Key]) -> Array:
        return np.array([self.surplus(seen[key]) for key in own], dtype=np.float64)

    def _adjusted(self, surplus: Array, own: Sequence[Key]) -> Array:
        expected = np.array([self.expected[key] for key in own], dtype=np.float64)
        return adjusted(surplus, expected, self.slope, self.mean_expected)

    def _most(self, score: Score) -> float:
        """The most that an answer to the same prompt can add."""
        if self.side < 0:
            # nothing is below 0; an answer of unknown length could have any part below
            return self.bound * self.figure.bottom(score) if self.figure.fixed else float("inf")
        if not self.figure.fixed:
            return float("inf")
        return (self.figure.highest - self.bound) * self.figure.bottom(score)


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
            leaders: Runs to beat: none, the leader's, or those of the front.
            others: More whole runs of the study; the more, the less is left to chance.
            looks: The run's own, from its engine settings.
            error_rate: Largest chance that a trial is stopped that would have kept every
                constraint and beaten the leaders.
        """
        self.baseline = baseline
        self.seen: dict[Key, Score] = {}
        references = (baseline, *leaders, *others)
        self._objectives = objectives
        self._constraints = constraints
        self._kept = {
            constraint.text: _constraint_claim(constraint, references, looks)
            for constraint in constraints
        }
        # the baseline is what a value is estimated from where there is no leader yet
        rows = [_objective_claims(objectives, run, references, looks) for run in leaders]
        self._beaten = [row for row in rows if row is not None]
        self._plain = _objective_claims(objectives, baseline, references, looks)
        self._beaten_by: Sequence[Claim] | None = None
        n_claims = sum(claim is not None for claim in self._kept.values()) + len(self._beaten)
        self.error_rate = error_rate / max(1, n_claims)

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
        for text, claim in self._kept.items():
            how = claim.refuted(self.seen, self.error_rate) if claim is not None else None
            if how is not None:
                return f"{text}: {IN_WORDS[how]} not be kept ({after})"
        for row in self._beaten:
            found = [claim.refuted(self.seen, self.error_rate) for claim in row]
            if all(found):
                self._beaten_by = row
                how = "likely" if "likely" in found else "certain"
                names = " and ".join(objective.metric for objective in self._objectives)
                return f"{names}: {IN_WORDS[how]} not reach the leader's ({after})"
        return None

    @property
    def told(self) -> Told:
        """What the sampler is told of a trial that was stopped: estimates over all answers.

        A value is below the leader's, or a violation above 0, whichever it was stopped for. A
        constraint that is left to the end counts as kept.

        Raises:
            RecipeError: An objective is no sum over answers; such a trial is never stopped.
        """
        row = self._beaten_by or (self._beaten[0] if self._beaten else self._plain)
        if row is None:
            raise RecipeError("an objective cannot be estimated before the last answer")
        values = []
        for objective, claim in zip(self._objectives, row, strict=True):
            value = claim.estimate(self.seen)
            if objective.relative:
                before = self.baseline.value(claim.figure, claim.keys)
                value -= before if before is not None else 0.0
            values.append(value)
        violations = {
            text: 0.0 if claim is None else claim.side * (claim.bound - claim.estimate(self.seen))
            for text, claim in self._kept.items()
        }
        return Told(tuple(values), violations, len(self.seen), len(self.baseline.by_key))


def score_wave(run: Run, completions: Sequence[Completion]) -> list[Score]:
    """The scores of one wave of a run that is being made."""
    return score_completions(run.header(), run.prompt_sets(), completions)


def _constraint_claim(
    constraint: Constraint, references: Sequence[Reference], looks: Sequence[float]
) -> Claim | None:
    """The claim that a constraint is kept; None where it is no sum over answers."""
    found = _figure(constraint.metric, references[0])
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
    return Claim(task, figure, bound, side, references, looks)


def _objective_claims(
    objectives: Sequence[Objective],
    leader: Reference,
    references: Sequence[Reference],
    looks: Sequence[float],
) -> list[Claim] | None:
    """The claims to reach a run in each objective; None where one is no sum over answers."""
    claims = []
    for objective in objectives:
        found = _figure(objective.metric, leader)
        if found is None:
            return None
        task, figure = found
        bound = leader.value(figure, leader.keys(task))
        if bound is None:
            return None
        side = 1 if objective.direction == "maximize" else -1
        claims.append(Claim(task, figure, bound, side, references, looks))
    return claims


def _figure(metric: str, reference: Reference) -> tuple[str, Figure] | None:
    """Task and figure of a metric's name; None where it is no sum over answers."""
    kinds = {
        key[0]: "ifeval" if score.ifeval is not None else "prose"
        for key, score in reference.by_key.items()
    }
    names = {
        f"{task}.{name}": (task, figure)
        for task, kind in kinds.items()
        for name, figure in FIGURES[kind].items()
    }
    names |= {
        f"{task}.{H_DELTA}": found
        for name, found in names.items()
        if name == f"{(task := found[0])}.H"
    }
    matched = match_metric(metric, names)
    return None if matched is None else names[matched]
