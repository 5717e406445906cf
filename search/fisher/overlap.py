"""Fisher overlap: whether a model is judged on prompts that its Fisher was made of.

A Fisher's header and prompt sets in, shared prompts out; runs nothing.
Source: DESIGN, Formulas: the two must not overlap unless the user says so.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.prompts import PromptSet
from harness.seen_prompts import text_sha256
from search.errors import RecipeError
from search.fisher.file import FisherFile, FisherHeader
from search.recipe import Recipe


def shared_prompts(header: FisherHeader, sets: Sequence[PromptSet]) -> dict[str, tuple[str, ...]]:
    """Prompts of an evaluation that a Fisher was made of.

    Args:
        header: The Fisher's; one without hashes of the texts is compared by prompt ids.
        sets: What is asked in the evaluation.

    Returns:
        Ids of the shared prompts by set, as the evaluation calls them; only sets that have some.
    """
    texts, ids = set(header.prompt_texts_sha256), set(header.prompt_ids)
    found = {}
    for asked in sets:
        shared = tuple(
            prompt.id
            for prompt in asked.prompts
            if (text_sha256(prompt) in texts if texts else prompt.id in ids)
        )
        if shared:
            found[asked.name] = shared
    return found


def overlap_note(header: FisherHeader | None, sets: Sequence[PromptSet]) -> str | None:
    """What a reader of the figures must know of the Fisher's prompts; None where all is well.

    Args:
        header: The Fisher's; None for a file that does not say what it was made of.
        sets: What is asked in the evaluation.
    """
    if header is None:
        return "the Fisher file does not name its prompts, so they may be among those asked here"
    shared = shared_prompts(header, sets)
    if not shared:
        return None
    parts = [
        f"{len(shared[asked.name])} of {len(asked.prompts)} prompts of {asked.name}"
        for asked in sets
        if asked.name in shared
    ]
    return f"the Fisher was made of {' and '.join(parts)} that are asked here"


def check_overlap(recipe: Recipe, sets: Sequence[PromptSet]) -> None:
    """Refuse to judge builds on prompts that their Fisher was made of, unless the recipe says so.

    A Fisher file that does not name its prompts passes; `overlap_note` says so.

    Raises:
        RecipeError: prompts are shared and `fisher.allow_overlap` is not set.
    """
    if recipe.fisher is None or recipe.fisher.allow_overlap:
        return
    header = FisherFile(Path(recipe.fisher.path)).header
    if header is not None and shared_prompts(header, sets):
        raise RecipeError(
            f"{recipe.fisher.path}: {overlap_note(header, sets)}; limit the task (a Fisher of a "
            "built-in set is made of prompts that a limit leaves out), make the Fisher of others, "
            "or say `fisher: {path: ..., allow_overlap: true}`"
        )
