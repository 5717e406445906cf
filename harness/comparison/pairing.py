"""Pairing: may two runs be compared, and which of their answers belong together.

Headers and scores in, pairs or one clear refusal out; knows nothing of statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.prompts import PromptSet
from harness.runs import ASKED, Run, RunHeader, Score
from metrics.errors import WeighinError

SHOWN = 3
"""Differences that an error names."""


class PairingError(WeighinError):
    """Two runs were not asked the same thing in the same way."""


@dataclass(frozen=True)
class Pair:
    """One answer of each run to the same sample of the same prompt."""

    baseline: Score
    candidate: Score

    @property
    def task(self) -> str:
        """The task of both."""
        return self.candidate.task

    @property
    def prompt_id(self) -> str:
        """The prompt of both."""
        return self.candidate.prompt_id

    @property
    def key(self) -> tuple[str, str, int]:
        """Task, prompt and sample."""
        return self.candidate.task, self.candidate.prompt_id, self.candidate.sample


def pair_scores(
    baseline: Sequence[Score], candidate: Sequence[Score], *, names: tuple[str, str]
) -> list[Pair]:
    """Pair what both have scored on task, prompt and sample, in the candidate's order.

    Raises:
        PairingError: They have no prompt in common.
    """
    first = {(s.task, s.prompt_id, s.sample): s for s in baseline}
    pairs = [
        Pair(first[key], score)
        for score in candidate
        if (key := (score.task, score.prompt_id, score.sample)) in first
    ]
    if not pairs:
        raise PairingError(f"cannot pair {names[0]} with {names[1]}: no prompt in common")
    return pairs


def require_pairable_runs(baseline: Run, candidate: Run) -> None:
    """Refuse runs that were not asked the same prompts in the same way; says what differs.

    Two chat templates that may be told apart only by their text are let through: where every
    prompt came out with the same number of tokens, they did the same here.

    Raises:
        PairingError: Prompts, settings or templates differ, or prose was scored differently.
    """
    before, after = baseline.header(), candidate.header()
    names = baseline.name, candidate.name
    if before.chat.template_sha256 != after.chat.template_sha256:
        _require_same_rendering(baseline, candidate)
        chat = after.chat.model_copy(update={"template_sha256": before.chat.template_sha256})
        after = after.model_copy(update={"chat": chat})
    try:
        require_pairable(before, after, names=names)
    except PairingError:
        told = _other_prompts(baseline, candidate)
        if told is None:
            raise
        raise PairingError(f"cannot pair {names[0]} with {names[1]}: {told}") from None
    signatures = baseline.summary().prose_signature, candidate.summary().prose_signature
    if signatures[0] != signatures[1]:
        raise PairingError(
            f"cannot pair {names[0]} with {names[1]}: prose was scored by {signatures[0]} and by "
            f"{signatures[1]}; score one of them again with weighin score"
        )


def require_pairable(baseline: RunHeader, candidate: RunHeader, *, names: tuple[str, str]) -> None:
    """Refuse headers of runs that were not asked the same prompts in the same way."""
    differences = baseline.differences(candidate, ASKED)
    if differences:
        raise PairingError(
            f"cannot pair {names[0]} with {names[1]}: {'; '.join(differences[:SHOWN])}; "
            "run both with the same prompts, settings and template"
        )


def _require_same_rendering(baseline: Run, candidate: Run) -> None:
    """Refuse two chat templates that made other prompts of the same conversations."""
    first = {(c.task, c.prompt_id): c.n_prompt_tokens for c in baseline.completions()}
    for c in candidate.completions():
        n_tokens = first.get((c.task, c.prompt_id), c.n_prompt_tokens)
        if n_tokens != c.n_prompt_tokens:
            raise PairingError(
                f"cannot pair {baseline.name} with {candidate.name}: their chat templates differ; "
                f"prompt {c.prompt_id} of {c.task} has {n_tokens} tokens by the one and "
                f"{c.n_prompt_tokens} by the other; run both with one --chat-template"
            )


def _other_prompts(baseline: Run, candidate: Run) -> str | None:
    """Which prompts only one of the runs was asked, in words; None where they are the same."""
    first, second = (_sets(run) for run in (baseline, candidate))
    names = [*first, *(name for name in second if name not in first)]
    for name in names:
        if name not in first or name not in second:
            asked = baseline.name if name in first else candidate.name
            return f"{name} was asked only of {asked}; run both with the same --tasks"
        own, other = ({p.id: p for p in side[name].prompts} for side in (first, second))
        only = [i for i in own if i not in other], [i for i in other if i not in own]
        if any(only):
            counts = " and ".join(
                f"{len(ids)} only of {run.name} (first {ids[0]!r})"
                for ids, run in zip(only, (baseline, candidate), strict=True)
                if ids
            )
            in_common = "; no prompt in common" if len(only[0]) == len(own) else ""
            return f"{name} was asked {counts}{in_common}; run both on one prompt set"
        reworded = [i for i in own if own[i].messages != other[i].messages]
        if reworded:
            return (
                f"prompt {reworded[0]!r} of {name} is worded differently in the two runs; "
                "run both on one prompt set"
            )
    return None


def _sets(run: Run) -> dict[str, PromptSet]:
    return {prompts.name: prompts for prompts in run.prompt_sets()}
