"""Tests of languages told apart, and of what is too little to tell."""

import random

import pytest

from metrics.language import language, other_language

ENGLISH = (
    "He walked home past the mill, where the wheel had stopped for the night, and he thought of "
    "what his brother used to say about the two dogs that nobody owned."
)
GERMAN = (
    "Er ging nach Hause an der Mühle vorbei, wo das Rad für die Nacht stehen geblieben war, und "
    "dachte an das, was sein Bruder über die beiden Hunde sagte, die niemandem gehörten."
)
RUSSIAN = "Он шёл домой мимо мельницы, где колесо остановилось на ночь."


@pytest.mark.parametrize(
    ("text", "code"), [(ENGLISH, "en"), (GERMAN, "de"), (RUSSIAN, "ru"), ("", None), ("Ja.", None)]
)
def test_language_of_a_text(text: str, code: str | None) -> None:
    assert language(text) == code


def test_an_answer_in_the_prompt_s_language_is_not_another() -> None:
    assert not other_language(ENGLISH, "Write a story.")
    assert not other_language(GERMAN, "Schreibe eine Geschichte über einen Hund und eine Mühle.")
    assert other_language(GERMAN, "Write a story about a dog.")
    assert other_language(RUSSIAN, "Write a story about a dog.")
    assert other_language(ENGLISH, GERMAN)


def test_data_and_loops_are_in_no_language() -> None:
    data = '{"model": "Bike", "brand": "Bike", "model_name": "Bike"}, ' * 20
    assert not other_language(data, "Describe a bicycle as JSON.")
    assert not other_language("[date] " * 200, "Write a reminder.")


def test_nobody_s_random_state_is_touched() -> None:
    from langdetect import DetectorFactory

    seed, state = DetectorFactory.seed, random.getstate()
    assert [language(GERMAN) for _ in range(3)] == ["de"] * 3
    assert (DetectorFactory.seed, random.getstate()) == (seed, state)
