"""Seen prompts: which prompts a build was fitted on, and whether a run asked the same.

A GGUF's own metadata in, digests out. A build whose Fisher was estimated on the prompts that it is
judged by has seen the answers to its examination; ids cannot tell, since every set has a prompt 1.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from harness.prompts import Prompt, PromptSet
from metrics.errors import WeighinError

FISHER_KEY = "weighin.fisher_prompts"
"""Key of a build's metadata: a JSON list of the digests of the prompts of its Fisher."""

DIGITS = 16
"""Hexadecimal digits of a digest."""


def prompt_digest(prompt: Prompt) -> str:
    """A hash of the conversation alone, whatever the prompt is called and whatever it is for."""
    turns = [[message.role, message.content] for message in prompt.messages]
    return sha256(json.dumps(turns, ensure_ascii=False).encode()).hexdigest()[:DIGITS]


def fisher_prompts(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Digests of the prompts that a build's Fisher was estimated on; none where it says nothing.

    Args:
        metadata: Of the GGUF.

    Raises:
        WeighinError: The key is there and holds something else.
    """
    text = metadata.get(FISHER_KEY)
    if text is None:
        return ()
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise WeighinError(f"the GGUF's {FISHER_KEY} is no list of digests; build it anew")
    return tuple(found)


def seen(prompt_sets: Iterable[PromptSet], digests: Sequence[str]) -> list[str]:
    """The prompts that a build was fitted on, as `task/id`.

    Args:
        prompt_sets: What a run was asked.
        digests: As `fisher_prompts` gives them.
    """
    known = set(digests)
    return [
        f"{prompts.name}/{prompt.id}"
        for prompts in prompt_sets
        for prompt in prompts.prompts
        if prompt_digest(prompt) in known
    ]
