"""Seen prompts: which prompts a build was fitted on, and whether a run asked the same.

A GGUF's own metadata in, hashes out. A build whose Fisher was estimated on the prompts that it is
judged by has seen the answers to its examination; ids cannot tell, since every set has a prompt 1.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

from harness.prompts import Prompt, PromptSet
from metrics.errors import WeighinError

FISHER_KEY = "weighin.fisher_prompts"
"""Key of a build's metadata: a JSON list of the hashes of the prompts of its Fisher."""


def text_sha256(prompt: Prompt) -> str:
    """Hash of what user and assistant say in a prompt, whatever its id and system message."""
    said = [[m.role, m.content.strip()] for m in prompt.messages if m.role != "system"]
    return sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()


def fisher_prompts(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Hashes of the texts that a build's Fisher was estimated on; none where it says nothing.

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
        raise WeighinError(f"the GGUF's {FISHER_KEY} is no list of hashes; build it anew")
    return tuple(found)


def seen(prompt_sets: Iterable[PromptSet], hashes: Sequence[str]) -> list[str]:
    """The prompts that a build was fitted on, as `task/id`.

    Args:
        prompt_sets: What a run was asked.
        hashes: As `fisher_prompts` gives them.
    """
    known = set(hashes)
    return [
        f"{prompts.name}/{prompt.id}"
        for prompts in prompt_sets
        for prompt in prompts.prompts
        if text_sha256(prompt) in known
    ]
