"""Mining on texts small enough to count by hand."""

import math
from collections.abc import Sequence

import pytest

from metrics.errors import WeighinError
from metrics.lexicon import Lexicon
from metrics.mining import BASELINE_WORDS, ModelText, mine

MODELS = [f"m{index}" for index in range(8)]
PROMPTS = [f"p{index}" for index in range(10)]
HUMAN = ["The dog ran home and the sun set over the hill."]


def frequency(word: str) -> float:
    """Every word of this English is one in a hundred thousand; "dog" is one in ten."""
    return 0.1 if word == "dog" else 1e-5


def answers(texts: Sequence[str]) -> list[ModelText]:
    """Every model's answer to every prompt is one of the texts in turn."""
    return [
        ModelText(model, prompt, texts[(index + place) % len(texts)])
        for index, model in enumerate(MODELS)
        for place, prompt in enumerate(PROMPTS)
    ]


def mined(found: Lexicon) -> tuple[set[str], set[str], set[str], set[str]]:
    return (
        {entry.text for entry in found.words},
        {entry.text for entry in found.bigrams},
        {entry.text for entry in found.trigrams},
        {entry.text for entry in found.names},
    )


def test_finds_what_models_say_and_people_do_not() -> None:
    texts = ["Her voice was barely a whisper. The dog ran."]
    found = mine(answers(texts), HUMAN, name="x", frequency=frequency)
    words, bigrams, trigrams, names = mined(found)
    assert words == {"voice", "barely", "whisper", "ran"}  # "dog" is too common
    assert bigrams == {"voice barely", "barely whisper", "whisper dog"} | {"dog ran"} & bigrams
    assert "voice barely whisper" in trigrams
    assert names == set()


def test_counts_and_ratio_by_hand() -> None:
    # 80 answers of 9 words; "whisper" is in all of them. Expected: 80 (1 - exp(-9 f)) with
    # f = 1e-5 of wordfreq, which the human text, that lacks the word, does not raise.
    texts = ["Her voice was barely a whisper. The dog ran."]
    found = mine(answers(texts), HUMAN, name="x", frequency=frequency)
    entry = next(entry for entry in found.words if entry.text == "whisper")
    assert (entry.count, entry.n_models, entry.n_prompts) == (80, 8, 10)
    assert entry.ratio == pytest.approx(1 / -math.expm1(-9e-5), rel=1e-3)


def test_a_word_that_people_use_is_expected_more_often() -> None:
    texts = ["The hill was far off."]
    found = mine(answers(texts), HUMAN, name="x", frequency=frequency)
    entry = next(entry for entry in found.words if entry.text == "hill")
    seen = (1 + BASELINE_WORDS * 1e-5) / (11 + BASELINE_WORDS)
    assert entry.ratio == pytest.approx(1 / -math.expm1(-5 * seen), rel=1e-3)


def test_one_models_tic_and_one_prompts_subject_stay_out() -> None:
    plain = answers(["The rain fell."])
    tic = [a._replace(text="Gloom everywhere.") if a.model == "m0" else a for a in plain]
    subject = [a._replace(text="A dragon came.") if a.prompt == "p0" else a for a in tic]
    words = mined(mine(subject, HUMAN, name="x", frequency=frequency))[0]
    assert {"rain", "fell"} <= words
    assert not words & {"gloom", "dragon"}


def test_names_go_to_their_own_list_with_all_their_phrases() -> None:
    texts = ["Then Elara whispered to him. Rain fell on Elara."]
    words, bigrams, trigrams, names = mined(
        mine(answers(texts), HUMAN, name="x", frequency=frequency)
    )
    assert names == {"elara"}
    assert not any("elara" in phrase for phrase in words | bigrams | trigrams)
    assert "whispered" in words


def test_held_out_models_are_not_looked_at() -> None:
    texts = [a if a.model != "m7" else a._replace(text="Zephyr.") for a in answers(["Rain fell."])]
    found = mine(texts, HUMAN, name="x", held_out=["m7"], frequency=frequency)
    assert found.origin.models == tuple(MODELS[:7])
    assert found.origin.held_out == ("m7",)
    assert found.origin.n_model_words == 7 * 10 * 2


def test_a_single_model_can_be_mined() -> None:
    own = [ModelText("mine", f"p{n}", "The fog was thick.") for n in range(20)]
    assert "fog" in mined(mine(own, HUMAN, name="x", frequency=frequency))[0]


def test_the_order_of_the_texts_does_not_matter() -> None:
    texts = ["Her voice was barely a whisper.", "A whisper of fog and rain.", "Rain fell on fog."]
    forth = answers(texts)
    assert mine(forth, HUMAN, name="x", frequency=frequency) == mine(
        forth[::-1], HUMAN, name="x", frequency=frequency
    )


def test_nothing_to_mine_is_said() -> None:
    with pytest.raises(WeighinError, match="got 0 and 1"):
        mine([], HUMAN, name="x", frequency=frequency)
    with pytest.raises(WeighinError, match="got 80 and 0"):
        mine(answers(["x"]), [], name="x", frequency=frequency)
