"""The built-in `mini` set against lm-eval's own checkers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.ifeval_set import INSTRUCTION_KWARGS
from harness.prompts import Prompt, load_prompt_set

NLTK_DATA = Path(__file__).parents[3] / "shared" / "data" / "ifeval" / "nltk_data"
PROMPTS = {prompt.id: prompt for prompt in load_prompt_set("mini").prompts}

# For each of the first 25 prompts, which have every instruction type of the set: an answer that
# keeps the instruction and one that is as near as can be and breaks it. The last keep several.
ANSWERS = {
    "1": ("Pack a warm coat and dry socks. A flask helps too.", "Pack a warm coat, and dry socks."),
    "2": (
        "the yeast eats sugar and gives off gas, and the gas lifts the dough.",
        "The yeast eats sugar and gives off gas, and the gas lifts the dough.",
    ),
    "3": (
        "CAUTION: THIS FLOOR IS WET AND SLIPPERY, PLEASE WALK SLOWLY.",
        "CAUTION: this floor is wet and slippery, please walk slowly.",
    ),
    "4": (
        "* Dim the lamp.\n* Read a page.\n* Leave the phone outside.\n* Breathe slowly.",
        "* Dim the lamp.\n* Read a page.\n* Leave the phone outside.",
    ),
    "5": ("A white beam sweeps the black water.", "water " * 60),
    "6": ("<<Slow Road>>\nA snail sets out at dawn.", "<Slow Road>\nA snail sets out at dawn."),
    "7": (
        "Here is your ladder. Thank you for your patience.",
        "Thank you for your patience. Here is your ladder.",
    ),
    "8": ('"Mondays are for sleeping."', '"Mondays are for sleeping." said the cat'),
    "9": (
        "A coiled spring drives brass wheels.",
        "A coiled spring drives steel wheels.",
    ),
    "10": ("Use cool water and a little soap.", "Never use hot water or a lot of soap."),
    "11": ("Grey waves, grey sky, grey gulls.", "Grey waves, grey sky, dark gulls."),
    "12": ("Yes, happy birthday, may you enjoy every day!", "Many good wishes on your birthday."),
    "13": (
        "Hierve el agua, pon la bolsita en la taza y espera tres minutos antes de beber.",
        "Boil the water, put the bag into the cup and wait three minutes before you drink.",
    ),
    "14": ("Leaves fall. Dogs run. Paths shine.", "leaf " * 40),
    "15": ("The bus is dry.\n***\nThe bicycle is free.", "The bus is dry.\n\nThe bicycle is free."),
    "16": (
        "I lost it on a train.\n\nYesterday it came back by post.",
        "I lost it on a train.\n\nIt came back yesterday.",
    ),
    "17": ("Dear [name], come on [date] to [address].", "Dear [name], come on [date] to my house."),
    "18": ("The tap drips.\n\nP.S. Bring a washer.", "The tap drips. PS Bring a washer."),
    "19": ("My answer is yes.", "Yes."),
    "20": ("It shows *north* and keeps you *on course*.", "It shows *north* and keeps you going."),
    "21": ("Section 1\nDig a hole.\nSection 2\nFill it again.", "Section 1\nDig, then fill."),
    "22": (
        '```json\n{"colour": "red", "wheels": 2, "price": 90}\n```',
        '{"colour": "red", "wheels": 2, "price": 90',
    ),
    "23": ("The Warm Bank\n******\nRiver Crumbs", "The Warm Bank\n***\nRiver Crumbs"),
    "24": (
        "What is the quickest way to peel garlic?\nCrush the clove first.",
        "Sure! What is the quickest way to peel garlic?\nCrush the clove first.",
    ),
    "25": ("Go team go! We believe in you.", "Go, team! We believe in you."),
    "33": ("Water them on [date], please.\n- [name]\nP.S. Not the cactus.", "Water the plants."),
    "38": ("Bread.\n***\nFresh cheese.\n***\nHome again.", "Bread.\n***\nFresh cheese."),
    "43": ("Water holds you up.\n\nTrust it.", "Water holds you up.\n\nSo trust it, and breathe."),
    "47": (
        "<<Lost>>\n* Small and slow\n* Likes lettuce\nCall [phone] or [email].",
        "<<Lost>>\n* Small and slow\nCall [phone] or [email].",
    ),
}


@pytest.fixture(autouse=True)
def _nltk_data(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not NLTK_DATA.exists():
        pytest.skip("sentence model absent: shared/data/ifeval/nltk_data")
    monkeypatch.setenv("NLTK_DATA", str(NLTK_DATA))
    import langdetect
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(NLTK_DATA)])
    langdetect.DetectorFactory.seed = 0
    yield
    langdetect.DetectorFactory.seed = None


def checkers(prompt: Prompt) -> list[Any]:
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    built = []
    for instruction in prompt.instructions:
        checker = INSTRUCTION_DICT[instruction.id](instruction.id)
        checker.build_description(**instruction.kwargs)
        built.append(checker)
    return built


@pytest.mark.parametrize("prompt_id", ANSWERS)
def test_a_good_answer_passes_and_a_near_miss_fails(prompt_id: str) -> None:
    good, bad = ANSWERS[prompt_id]
    built = checkers(PROMPTS[prompt_id])
    assert [checker.check_following(good) for checker in built] == [True] * len(built)
    assert not all(checker.check_following(bad) for checker in built)


def test_checkers_take_every_argument_as_it_stands() -> None:
    # A checker draws what it is not given or does not accept, so what it kept must be what we gave.
    for prompt in PROMPTS.values():
        for instruction, checker in zip(prompt.instructions, checkers(prompt), strict=True):
            kept = checker.get_instruction_args() or {}
            given = dict(instruction.kwargs)
            for name in ("keywords", "forbidden_words"):
                if name in given:
                    given[name], kept[name] = set(given[name]), set(kept[name])
            assert kept == given, prompt.id


def test_our_table_of_types_is_the_registry() -> None:
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    assert set(INSTRUCTION_KWARGS) == set(INSTRUCTION_DICT)
    for name, kwargs in INSTRUCTION_KWARGS.items():
        assert set(INSTRUCTION_DICT[name](name).get_instruction_args_keys()) == set(kwargs)


def test_mini_covers_all_types_that_need_no_sentence_model_with_prompts_of_its_own() -> None:
    assert len(PROMPTS) == 48
    used = {instruction.id for prompt in PROMPTS.values() for instruction in prompt.instructions}
    needs_model = {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
    assert used == set(INSTRUCTION_KWARGS) - needs_model
    data = NLTK_DATA.parent / "input_data.jsonl"
    theirs = {prompt.text for prompt in load_prompt_set("ifeval", ifeval_data=data).prompts}
    assert not theirs & {prompt.text for prompt in PROMPTS.values()}
