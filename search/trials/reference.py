"""Reference: a whole run that trials are held against, answer by answer.

Scores in; figures over any of the answers, and what a metric's name means there, out. Knows nothing
of trials.
"""

from collections.abc import Sequence

from harness.comparison.figures import FIGURES, Figure
from harness.comparison.records import H_DELTA
from harness.runs import Score
from search.study.objective import match_metric

Key = tuple[str, str, int]
"""Task, prompt and sample: runs are paired on it."""


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

    def figure(self, metric: str) -> tuple[str, Figure] | None:
        """Task and figure of a metric's name; None where it is no sum over answers."""
        kinds = {
            key[0]: "ifeval" if score.ifeval is not None else "prose"
            for key, score in self.by_key.items()
        }
        names = {
            f"{task}.{name}": (task, figure)
            for task, kind in kinds.items()
            for name, figure in FIGURES[kind].items()
        }
        names |= {
            f"{task}.{H_DELTA}": (task, FIGURES["prose"]["H"])
            for task, kind in kinds.items()
            if kind == "prose"
        }
        matched = match_metric(metric, names)
        return None if matched is None else names[matched]
