"""IFEval's prompts: where they come from and what proves that they are the real ones.

Rows in, rows out; knows the names and arguments of the 25 instruction types, not how they are
judged. Source: Zhou et al. 2023, https://arxiv.org/abs/2311.07911; rows of `google/IFEval` on the
Hugging Face hub, unchanged since 2024-06-11.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from metrics.errors import WeighinError

HUB_NAME = "google/IFEval"

N_PROMPTS = 541
N_INSTRUCTIONS = 834

CORRECTED_KEY = "2785"
"""The prompt that was reworded in 2024; older copies of the set ask another question."""

CORRECTED_PROMPT_SHA256 = "014b9f6e1df1d06b45166ccf877131abb341faf2dd408872370690e3d927e0e3"

INSTRUCTION_KWARGS: Mapping[str, Mapping[str, type]] = {
    "change_case:capital_word_frequency": {"capital_frequency": int, "capital_relation": str},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "combination:repeat_prompt": {"prompt_to_repeat": str},
    "combination:two_responses": {},
    "detectable_content:number_placeholders": {"num_placeholders": int},
    "detectable_content:postscript": {"postscript_marker": str},
    "detectable_format:constrained_response": {},
    "detectable_format:json_format": {},
    "detectable_format:multiple_sections": {"section_spliter": str, "num_sections": int},
    "detectable_format:number_bullet_lists": {"num_bullets": int},
    "detectable_format:number_highlighted_sections": {"num_highlights": int},
    "detectable_format:title": {},
    "keywords:existence": {"keywords": list},
    "keywords:forbidden_words": {"forbidden_words": list},
    "keywords:frequency": {"keyword": str, "frequency": int, "relation": str},
    "keywords:letter_frequency": {"letter": str, "let_frequency": int, "let_relation": str},
    "language:response_language": {"language": str},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": int,
        "nth_paragraph": int,
        "first_word": str,
    },
    "length_constraints:number_paragraphs": {"num_paragraphs": int},
    "length_constraints:number_sentences": {"num_sentences": int, "relation": str},
    "length_constraints:number_words": {"num_words": int, "relation": str},
    "punctuation:no_comma": {},
    "startend:end_checker": {"end_phrase": str},
    "startend:quotation": {},
}
"""The 25 instruction types and the arguments that each needs.

The checkers draw a missing argument at random, so every argument is demanded here.
"""

RELATIONS = ("less than", "at least")


def check_instruction(instruction_id: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse an instruction that the checkers would reject, or fill in by chance.

    Raises:
        ValueError: unknown type, a missing, surplus or wrongly typed argument.
    """
    expected = INSTRUCTION_KWARGS.get(instruction_id)
    if expected is None:
        raise ValueError(f"unknown instruction {instruction_id!r}; IFEval has 25 types")
    if set(kwargs) != set(expected):
        raise ValueError(
            f"{instruction_id} needs the arguments {sorted(expected)}, found {sorted(kwargs)}"
        )
    for name, kind in expected.items():
        value = kwargs[name]
        allowed = f"{kind.__name__} that is neither empty nor below 1"
        typed = isinstance(value, kind) and not isinstance(value, bool)
        if not typed or not value or (isinstance(value, int) and value < 1):
            raise ValueError(f"{instruction_id}: {name} must be a {allowed}, found {value!r}")
        if name.endswith("relation") and value not in RELATIONS:
            raise ValueError(
                f"{instruction_id}: {name} must be one of {', '.join(RELATIONS)}, found {value!r}"
            )
    letter = kwargs.get("letter", "a")
    if len(letter) != 1:
        raise ValueError(f"{instruction_id}: letter must be one character, found {letter!r}")


def check_counts(prompt_texts: Mapping[str, str], n_instructions: int, *, source: str) -> None:
    """Refuse anything that is not the whole of IFEval in its present wording.

    Args:
        prompt_texts: Prompt id to the prompt's text.
        n_instructions: Instructions over all the prompts.
        source: Where the rows came from, for the message.

    Raises:
        WeighinError: a count or the wording of key 2785 differs.
    """
    if len(prompt_texts) != N_PROMPTS or n_instructions != N_INSTRUCTIONS:
        raise WeighinError(
            f"{source} is not the IFEval set: {len(prompt_texts)} prompts with {n_instructions} "
            f"instructions, expected {N_PROMPTS} with {N_INSTRUCTIONS}; name a set of your own "
            "with --prompts"
        )
    text = prompt_texts.get(CORRECTED_KEY)
    if text is None or sha256(text.encode()).hexdigest() != CORRECTED_PROMPT_SHA256:
        raise WeighinError(
            f"{source} is not the IFEval set of today: key {CORRECTED_KEY} has another wording; "
            f"take the rows of {HUB_NAME} from the hub"
        )


def fetch_rows() -> Sequence[Mapping[str, Any]]:
    """The rows of `google/IFEval`, from the hub or from the local cache of `datasets`.

    Raises:
        WeighinError: neither the hub nor the cache has them.
    """
    import datasets

    try:
        rows = list(datasets.load_dataset(HUB_NAME, split="train"))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeighinError(
            f"cannot fetch {HUB_NAME} from the hub ({reason}); download it where there is a "
            "network, or name a copy with --ifeval-data FILE.jsonl"
        ) from error
    return rows
