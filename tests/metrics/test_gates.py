"""Gates: what they close on, and that they stay open for people."""

import random

import pytest

from metrics.gates import (
    english_gate,
    is_refusal,
    length_gate,
    loop_gate,
    salad_gate,
    salad_share,
)
from metrics.text import normalise, words
from tests.metrics.conftest import Writings

GERMAN = (
    "Der alte Mann ging langsam die Straße hinunter und dachte an die Zeit, in der er noch jung "
    "gewesen war und alles möglich schien, was ihm nun für immer verschlossen blieb. "
) * 3
CHINESE = "从前有一个老人，他住在海边的小屋里。每天早晨他都去打鱼。" * 5


def test_length_gate_by_hand() -> None:
    assert [length_gate(n) for n in (0, 50, 250, 900)] == [0.0, 0.2, 1.0, 1.0]


def test_loop_gate_by_hand() -> None:
    unique = [f"w{index}" for index in range(100)]
    assert loop_gate(unique) == 1.0
    assert loop_gate(unique * 2) == 0.0
    # 102 words have 100 trigrams, of which 20 repeat: 12 from the closed end of 20 points
    assert loop_gate(unique[:79] + ["x"] * 23) == pytest.approx((32 - 20) / 20)
    assert loop_gate([]) == 0.0


def test_salad_share_by_hand() -> None:
    # "the" before dog, of, a; "a" before cat: two of four are function words
    assert salad_share(words("The dog, the of, the a cat")) == 0.5
    assert salad_share([]) == 0.0


def test_gates_are_open_for_every_human_passage(writings: Writings) -> None:
    for text in writings.human:
        normal = normalise(text)
        every = words(normal)
        gates = (loop_gate(every), salad_gate(every), english_gate(normal, every))
        assert gates == (1.0, 1.0, 1.0)
        assert not is_refusal(normal, 100)


def test_salad_gate_closes_on_shuffled_words(writings: Writings) -> None:
    rng = random.Random(0)
    for text in writings.human:
        every = words(normalise(text))
        rng.shuffle(every)
        assert salad_gate(every) == 0.0


@pytest.mark.parametrize(
    "text", [GERMAN, CHINESE, CHINESE + " The man was old.", "tree stone " * 40]
)
def test_english_gate_closes_on_anything_else(text: str) -> None:
    normal = normalise(text)
    assert english_gate(normal, words(normal)) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m really sorry, but I’m not able to write this story. Perhaps another?",
        "I can't help you write this.",
        "I cannot fulfill this request. I am programmed to be harmless.",
        "Unfortunately, I am unable to continue.",
        "As an AI language model, I do not write such things.",
        "I apologize, but I will not create this content.",
    ],
)
def test_refusals(text: str) -> None:
    assert is_refusal(normalise(text), 40)


@pytest.mark.parametrize(
    "text",
    [
        "\"I'm sorry, but I can't help you,\" the clerk said, and closed the window.",
        "I can't say when the house began to listen.",
        "I can't help but smile when the ferry comes in.",
        "I cannot help it; the sea has always called me.",
        "Sorry was the only word he had left for her.",
        "He would not help me carry the box.",
    ],
)
def test_stories_are_no_refusals(text: str) -> None:
    assert not is_refusal(normalise(text), 40)


def test_a_long_text_is_no_refusal() -> None:
    assert not is_refusal("I cannot write this down without shaking.", 301)
