"""Watch: a check's gates while the candidate's answers come in, wave by wave.

A baseline's run and gates in, a reason to stop out. Stops when a gate is broken whatever comes, or
when every gate is kept whatever comes; what can be foregone is `harness.gates.foregone`'s business.
"""

from collections.abc import Mapping, Sequence

from harness.comparison.sanity import COUNTERS, Key, Sanity, sanity_of
from harness.gates.foregone import Answer, foregone_of
from harness.gates.gates import Gate, Status
from harness.runs import Completion, Run, Score
from harness.scoring import Scoring, score_completions


class Watch:
    """Gates on answers, watched."""

    def __init__(self, gates: Sequence[Gate], baseline: Run, scoring: Scoring) -> None:
        """A watch that has seen nothing yet.

        Args:
            gates: All that is still to be judged, in order.
            baseline: Its run.
            scoring: How the candidate is scored.
        """
        header, sets = baseline.header(), baseline.prompt_sets()
        self._scoring = scoring
        self._flagged = any(gate.metric.rpartition(".")[2] in COUNTERS for gate in gates)
        scores = baseline.scores()
        flags = sanity_of(header, sets, baseline.completions(), scores) if self._flagged else {}
        known = _answers(scores, flags)
        kinds = {task.name: task.kind for task in header.tasks}
        watched = [foregone_of(gate, kinds, known, sets) for gate in gates]
        self._foregone = [found for found in watched if found is not None]
        self._every_one = len(self._foregone) == len(gates)
        self.scores: list[Score] = []
        """Of the candidate's answers so far."""
        self.stopped = False
        """Whether the verdict was certain before the last answer."""

    def see(self, run: Run, completions: Sequence[Completion]) -> str | None:
        """Take a wave in; says why the check can end here, or None."""
        header, sets = run.header(), run.prompt_sets()
        scores = score_completions(header, sets, completions, self._scoring)
        flags = sanity_of(header, sets, completions, scores) if self._flagged else {}
        self.scores += scores
        for key, answer in _answers(scores, flags).items():
            for gate in self._foregone:
                gate.see(key, answer)
        if not any(gate.n_left for gate in self._foregone):
            return None
        found = [gate.verdict() for gate in self._foregone]
        if "broken" in found or (self._every_one and set(found) == {"kept"}):
            self.stopped = True
            return "the verdict is certain"
        return None

    def certain(self) -> list[tuple[Gate, Status, str]]:
        """The gates whose verdict is certain, with it and what makes it so."""
        return [
            (foregone.gate, status, foregone.in_words())
            for foregone in self._foregone
            if (status := foregone.verdict()) is not None
        ]


def _answers(scores: Sequence[Score], flags: Mapping[Key, Sanity]) -> dict[Key, Answer]:
    keys = [(s.task, s.prompt_id, s.sample) for s in scores]
    return {key: (score, flags.get(key)) for key, score in zip(keys, scores, strict=True)}
