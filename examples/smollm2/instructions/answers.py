"""Answers: what the released model says to the plain requests, sentence by sentence.

A GGUF in, clean sentences out; knows nothing of constraints. The run is an ordinary one of
`harness`, kept in a folder, so that a second call generates nothing.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from harness.evaluate import Chat
from harness.prompts import Message, Prompt, PromptSet
from harness.settings import EngineSettings
from harness.tasks import task_of
from harness.weigh import weigh

from instructions.requests import SHORT, Request

MAX_TOKENS = 128
TEMPERATURE = 0.6  # greedily, a model of this size repeats itself
N_SAMPLES = 2

MIN_WORDS = 4
MAX_WORDS = 38
SAME_SHARE = 0.5  # share of a sentence's words in an earlier one beyond which it repeats it

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
ODD = re.compile(r'["“”\[\]{}<>*#|/\\_()`~]|:$|\d\)|https?:')
GREETING = re.compile(
    r"^(dear|hi|hello|hey|best|sincerely|regards|kind regards|subject|thank you|yours)\b", re.I
)


def ask(model: Path, requests: Sequence[Request], folder: Path) -> dict[str, list[str]]:
    """Ask the model every request, twice.

    Args:
        model: The released model's GGUF.
        requests: What to ask.
        folder: Of the run; one that is whole is read, not made again.

    Returns:
        Request id to its answers, in the order of the samples; answers are cut at MAX_TOKENS.
    """
    prompts = PromptSet(
        name="requests",
        kind="prose",
        prompts=tuple(
            Prompt(
                id=request.id,
                messages=(Message(role="user", content=f"{request.text} {SHORT}"),),
            )
            for request in requests
        ),
    )
    task = task_of(
        prompts, samples=N_SAMPLES, max_tokens=MAX_TOKENS, temperature=TEMPERATURE
    )
    run = weigh(model, [task], folder, settings=EngineSettings(), chat=Chat())
    answers: dict[str, list[str]] = {request.id: [] for request in requests}
    for completion in run.completions():
        answers[completion.prompt_id].append(completion.text)
    return answers


def sentences(text: str) -> list[str]:
    """The clean, whole and different sentences of an answer.

    Left out are a last sentence that was cut, headings, greetings, list marks, sentences of odd
    characters or lengths, and whatever mostly repeats an earlier sentence.
    """
    kept: list[str] = []
    seen: list[set[str]] = []
    for line in text.split("\n"):
        line = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s*", "", line).replace("**", "").strip()
        for sentence in SENTENCE_END.split(line):
            words = re.findall(r"[a-z']+", sentence.lower())
            if not MIN_WORDS <= len(words) <= MAX_WORDS or ODD.search(sentence):
                continue
            if sentence[-1] not in ".!?" or not sentence[0].isupper() or not sentence.isascii():
                continue
            if GREETING.match(sentence):
                continue
            content = {word for word in words if len(word) > 3}
            if any(len(content & old) > SAME_SHARE * len(content) for old in seen):
                continue
            kept.append(sentence)
            seen.append(content)
    return kept
