"""Sanity: answers that went wrong whatever their score: empty, cut off, refused, looping ...

Completions in, flags out; the formulas are in `metrics`. Counted beside every score, because a mean
hides that a tenth of the answers are no answers.
"""

from collections.abc import Iterable, Sequence

from harness.prompts import Prompt, PromptSet
from harness.runs import Completion, Record, RunHeader, Score
from harness.scoring import answer
from metrics.gates import is_refusal
from metrics.language import other_language
from metrics.looping import is_looping
from metrics.text import normalise, words

COUNTERS = ("empty", "cut_off", "refused", "unclosed_thought", "looping", "other_language")
"""Names of the counters, in the order in which they are shown; all are shares of answers."""

LANGUAGE_INSTRUCTION = "language:response_language"
"""A prompt with this instruction asks for a language, which IFEval's own checker judges."""

Key = tuple[str, str, int]
"""Task, prompt id and sample of an answer."""


class Sanity(Record):
    """What went wrong with one answer."""

    empty: bool
    """Nothing is left once thoughts are cut."""
    cut_off: bool
    """It ended at the token limit or at the end of the context."""
    refused: bool
    """It is short and begins by declining."""
    unclosed_thought: bool
    looping: bool
    """It says the same over and over; `metrics.looping`."""
    other_language: bool | None
    """It is in another language than its prompt; None where the prompt asks for a language."""


def sanity_of(
    header: RunHeader,
    prompt_sets: Sequence[PromptSet],
    completions: Iterable[Completion],
    scores: Iterable[Score],
) -> dict[Key, Sanity]:
    """Flags of every answer that was scored.

    Args:
        header: The run's.
        prompt_sets: The run's.
        completions: Any part of the run.
        scores: Of these completions.
    """
    prompts = {(s.name, p.id): p for s in prompt_sets for p in s.prompts}
    scored = {(s.task, s.prompt_id, s.sample): s for s in scores}
    found = {}
    for completion in completions:
        key = (completion.task, completion.prompt_id, completion.sample)
        if key not in scored:
            continue
        text = answer(header, completion).text
        prompt = prompts[completion.task, completion.prompt_id]
        normal = normalise(text)
        found[key] = Sanity(
            empty=scored[key].empty,
            cut_off=completion.stop_reason in ("length", "context"),
            refused=is_refusal(normal, len(words(normal))),
            unclosed_thought=scored[key].unclosed_thought,
            looping=is_looping(text),
            other_language=_other_language(prompt, text),
        )
    return found


def _other_language(prompt: Prompt, text: str) -> bool | None:
    if any(instruction.id == LANGUAGE_INSTRUCTION for instruction in prompt.instructions):
        return None
    return other_language(text, "\n".join(message.content for message in prompt.messages))
