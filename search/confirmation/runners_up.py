"""Runners-up: which builds are run on the prompts that were held back.

Trials and their runs on the search's half in, candidates in a fixed order out: the leader, those
that cannot be told from it, and the recipe's own point. Knows nothing of the other half.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.comparison.compare import PairedRuns
from harness.runs import Run
from metrics.stats import ALPHA, holm
from search.confirmation.confirmation import Role
from search.confirmation.figures import sample_for
from search.proposing.space import own_point
from search.study.objective import Objective
from search.study.study import Study, TrialRow
from search.trials.bench import BASELINE


@dataclass(frozen=True)
class Chosen:
    """A trial to be run on the prompts that were held back."""

    row: TrialRow
    roles: tuple[Role, ...]
    p_leader: float | None = None
    """Of no difference to the leader, corrected for all that were held against it."""


@dataclass(frozen=True)
class Choice:
    """What is run beside the baseline."""

    leader: TrialRow
    chosen: tuple[Chosen, ...]
    """Without the baseline's own point."""
    n_left_out: int
    """Runners-up beyond the limit."""


def eligible(study: Study, questions: str) -> list[TrialRow]:
    """The trials to choose from, from best to worst, each build once.

    Args:
        study: Its search is over.
        questions: Hash of what the search asks now; runs on other questions cannot be paired.

    Returns:
        Whole trials that keep every limit; the baseline's own point among them.
    """
    found: dict[str | None, TrialRow] = {}
    for row in study.ranked():
        if row.feasible and is_comparable(row, questions):
            found.setdefault(row.build, row)
    return list(found.values())


def is_comparable(row: TrialRow, questions: str) -> bool:
    """Whether a trial was asked what the study asks now."""
    return row.run == BASELINE or (row.run or "").endswith(f"-{questions}")


def choose(
    study: Study, rows: Sequence[TrialRow], limit: int, run_of: Callable[[TrialRow], Run]
) -> Choice:
    """Who is run on the prompts that were held back.

    Args:
        study: Its search is over.
        rows: The eligible trials, at least one.
        limit: Most runners-up.
        run_of: A trial's run on the search's half.
    """
    leader, *rivals = rows
    if len(study.objectives) > 1:
        front = {row.number for row in study.leaders()}
        close = [Chosen(row, ("runner-up",)) for row in rivals if row.number in front]
    else:
        close = _not_told_apart(leader, rivals, study.objectives[0], run_of)
    # the baseline's own point needs no run beside the baseline's, and takes no place
    close = [one for one in close if one.row.build != BASELINE]
    first = [Chosen(leader, ("leader",)), *close[:limit]]
    chosen = _with_own(study, [one for one in first if one.row.build != BASELINE])
    return Choice(leader, tuple(chosen), max(0, len(close) - limit))


def _not_told_apart(
    leader: TrialRow,
    rivals: Sequence[TrialRow],
    objective: Objective,
    run_of: Callable[[TrialRow], Run],
) -> list[Chosen]:
    """The rivals that a paired test does not tell from the leader, from best to worst.

    Holm's correction is for how many are held against it: without, some would be dropped by chance.
    """
    own = run_of(leader)
    p_values = []
    for row in rivals:
        p_value = sample_for(PairedRuns(own, run_of(row)), objective.metric).p_value()
        p_values.append(1.0 if p_value is None else p_value)
    return [
        Chosen(row, ("runner-up",), p)
        for row, p in zip(rivals, holm(p_values), strict=True)
        if p >= ALPHA
    ]


def _with_own(study: Study, chosen: list[Chosen]) -> list[Chosen]:
    """The recipe's own point named, or added where it is not among them.

    One that lies outside the space, or that failed, has no build that was scored.
    """
    point = own_point(study.recipe)
    tried = (row for row in study.rows() if row.params == point and row.sha256 is not None)
    own = next(tried, None)
    if own is None or own.build == BASELINE:
        return chosen
    named = [
        Chosen(one.row, (*one.roles, "recipe's own"), one.p_leader)
        if one.row.build == own.build
        else one
        for one in chosen
    ]
    return [*chosen, Chosen(own, ("recipe's own",))] if named == chosen else named
