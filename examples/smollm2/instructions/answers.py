"""Answers: what the released model says to the plain requests, sentence by sentence.

A GGUF in, clean sentences out; knows nothing of constraints. The run is an ordinary one of
`harness`, kept in a folder, so that a second call generates nothing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.evaluate import Chat
from harness.prompts import Message, Prompt, PromptSet
from harness.settings import EngineSettings
from harness.tasks import task_of
from harness.weigh import weigh
from instructions.requests import SHORT, Request

MAX_TOKENS = 128
TEMPERATURE = 0.6  # greedily, a model of this size repeats itself

MIN_WORDS = 4
MAX_WORDS = 26
MAX_SAME = 2  # times that one longer word may stand in a sentence
SAME_SHARE = 0.5  # share of a sentence's words in an earlier one beyond which it repeats it

LIST_MARK = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
LEFT_ALONE = re.compile(
    r"\b(?:jew|muslim|islam|christian|hindu|buddhis|god|relig|african|asian|indian|black people|"
    r"white people|nazi|hitler|slave|race|racis|sex|rape|naked|suicid|murder|kill|bomb|terror|"
    r"covid|trump|obama|smollm|language model|hugging)",
    re.I,
)
"""Subjects about which a model of this size had better not be quoted, and the model itself."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
ODD = re.compile(r'["“”\[\]{}<>*#|/\\_()`~]|:$|\d\)|https?:')
GREETING = re.compile(
    r"^(dear|hi|hello|hey|best|sincerely|regards|kind regards|subject|thank you|yours)\b", re.I
)


def ask(
    model: Path, requests: Sequence[Request], folder: Path, *, samples: int, seed: int
) -> dict[str, list[str]]:
    """Ask the model every request, several times.

    Args:
        model: The released model's GGUF.
        requests: What to ask.
        folder: Of the run; one that is whole is read, not made again.
        samples: Answers to each request.
        seed: Of the sampling.

    Returns:
        Request id to its answers, in the order of the samples; answers are cut at MAX_TOKENS.
    """
    prompts = PromptSet(
        name=folder.name,
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
        prompts, samples=samples, seed=seed, max_tokens=MAX_TOKENS, temperature=TEMPERATURE
    )
    run = weigh(model, [task], folder, settings=EngineSettings(), chat=Chat())
    answers: dict[str, list[str]] = {request.id: [] for request in requests}
    for completion in run.completions():
        answers[completion.prompt_id].append(completion.text)
    return answers


def sentences(text: str) -> list[str]:
    """The clean, whole and different sentences of an answer.

    Left out are a last sentence that was cut, headings, greetings, list marks, sentences of odd
    characters or lengths or with a word too often, and whatever mostly repeats an earlier one.
    """
    return different(
        sentence
        for line in text.split("\n")
        for sentence in SENTENCE_END.split(LIST_MARK.sub("", line).replace("**", "").strip())
        if _is_clean(sentence)
    )


def different(sentences: Iterable[str]) -> list[str]:
    """Those sentences that do not mostly repeat an earlier one."""
    kept: list[str] = []
    seen: list[set[str]] = []
    for sentence in sentences:
        content = {word for word in _words(sentence) if len(word) > 3}
        if all(len(content & old) <= SAME_SHARE * len(content) for old in seen):
            kept.append(sentence)
            seen.append(content)
    return kept


def _is_clean(sentence: str) -> bool:
    words = _words(sentence)
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return False
    if max(Counter(word for word in words if len(word) > 3).values(), default=0) > MAX_SAME:
        return False
    whole = sentence[-1] in ".!?" and sentence[0].isupper() and sentence.isascii()
    unfit = ODD.search(sentence) or GREETING.match(sentence) or LEFT_ALONE.search(sentence)
    return whole and not unfit


def _words(sentence: str) -> list[str]:
    return re.findall(r"[a-z']+", sentence.lower())
