"""Runs on disk without a model: answers that a test has written, scored as any run's are."""

from collections.abc import Mapping
from pathlib import Path

from harness.prompts import Message, Prompt, PromptSet, prompt_from_row
from harness.runs import Completion, Run, RunHeader, TaskSettings
from harness.scoring import score_run
from harness.settings import GREEDY, PROSE

from .test_runs import header

NO_COMMA, LOWER = "punctuation:no_comma", "change_case:english_lowercase"

ASKED = PromptSet(
    name="asked",
    kind="ifeval",
    prompts=tuple(
        prompt_from_row(
            {"id": f"p{i}", "prompt": f"Tell me of {i} dogs.", "instruction_id_list": types}
        )
        for i, types in enumerate([[NO_COMMA], [NO_COMMA], [NO_COMMA, LOWER], [LOWER]])
    ),
)
"""Four prompts, five instructions of two types, each of a family of its own."""

TOLD = PromptSet(
    name="told",
    kind="prose",
    prompts=tuple(
        Prompt(id=name, messages=(Message(role="user", content=f"Write of {name}."),))
        for name in ("mill", "dogs", "rain")
    ),
)
"""Three prose prompts."""

PLAIN = (
    "He walked home past the mill, where the wheel had stopped for the night. A lamp burned. "
    "Somebody had left the gate open again, and the two dogs, which nobody owned, lay across "
    "the path as if they had been put there to stop him. They did not get up. What was it "
    "that his brother used to say about dogs? He could not remember; it was long ago, and "
    "the rain had begun."
)
"""A short passage without a fault."""
LOOP = "It was the end. " * 40
REFUSAL = "I'm sorry, but I cannot help with that."

ANSWERS: Mapping[str, Mapping[str, str]] = {
    "asked": {
        "p0": "no comma",
        "p1": "a, comma",
        "p2": "the dog was in the garden and it was happy",  # long enough to be known for English
        "p3": "they went home before the rain began to fall",
    },
    "told": dict.fromkeys(("mill", "dogs", "rain"), PLAIN),
}
"""What the baseline says: three of four prompts followed."""


def make_run(
    folder: Path,
    answers: Mapping[str, Mapping[str, str]] = ANSWERS,
    *,
    cut_off: tuple[str, ...] = (),
    n_prompt_tokens: int = 7,
    **changes: object,
) -> Run:
    """Write a run's folder and score it.

    Args:
        folder: To be made.
        answers: By task and prompt; a prompt with several samples has them split by ` || `.
        cut_off: Prompts whose answer ended at the token limit.
        n_prompt_tokens: Of every prompt.
        changes: Fields of the header.
    """
    sets = [s for s in (ASKED, TOLD) if s.name in answers]
    samples = {s.name: len(next(iter(answers[s.name].values())).split(" || ")) for s in sets}
    tasks = tuple(
        TaskSettings(
            name=s.name,
            kind=s.kind,
            prompts_sha256=s.sha256,
            n_prompts=len(s.prompts),
            samples=samples[s.name],
            sampling=GREEDY if s.kind == "ifeval" else PROSE,
        )
        for s in sets
    )
    run = Run(folder)
    own: RunHeader = header(**{"tasks": tasks} | changes)
    run.write_header(own)
    run.write_prompts(sets)
    run.write_completions(
        Completion(
            task=s.name,
            prompt_id=p.id,
            sample=number,
            text=text,
            n_prompt_tokens=n_prompt_tokens,
            n_tokens=len(text.split()),
            stop_reason="length" if p.id in cut_off else "eos",
        )
        for s in sets
        for p in s.prompts
        for number, text in enumerate(answers[s.name][p.id].split(" || "))
    )
    score_run(run)
    return run


def changed(**texts: str) -> dict[str, dict[str, str]]:
    """The baseline's answers with some of them replaced, by prompt id."""
    return {
        task: {prompt: texts.get(prompt, text) for prompt, text in own.items()}
        for task, own in ANSWERS.items()
    }
