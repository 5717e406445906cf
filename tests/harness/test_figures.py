"""Figures as sums over answers are those of a summary."""

import pytest

from harness.comparison.figures import FIGURES
from harness.runs import Score
from metrics import ifeval, prose
from metrics.ifeval import IfevalScore
from metrics.lexicon import default_lexicon
from metrics.prose import ProseScore, score_text

TEXTS = [
    "",
    "Yes. No.",
    "She walked into the room. She sat down. It was not fear, but a quiet kind of hope. " * 12,
    "The old man carried his lamp to the door, and a testament to nothing in particular stood "
    "there in the rain. He said it was late. A voice answered. He shut the door again. " * 6,
]


def scored(ifeval: IfevalScore | None = None, prose: ProseScore | None = None) -> Score:
    return Score(
        task="t",
        prompt_id="p",
        sample=0,
        empty=False,
        unclosed_thought=False,
        ifeval=ifeval,
        prose=prose,
    )


@pytest.mark.parametrize("name", FIGURES["prose"])
def test_prose_figures_are_those_of_a_summary(name: str) -> None:
    scores = [score_text(text, default_lexicon()) for text in TEXTS]
    figure = FIGURES["prose"][name]
    parts = [(figure.top(scored(prose=s)), figure.bottom(scored(prose=s))) for s in scores]
    assert all(0 <= top <= figure.highest * bottom for top, bottom in parts if bottom)
    value = sum(top for top, _ in parts) / sum(bottom for _, bottom in parts)
    assert value == pytest.approx(prose.summarise(scores)[name].value)
    if figure.fixed:
        assert len({bottom for _, bottom in parts}) == 1


@pytest.mark.parametrize("name", FIGURES["ifeval"])
def test_ifeval_figures_are_those_of_a_summary(name: str) -> None:
    scores = [
        IfevalScore(strict=strict, loose=loose)
        for strict, loose in (
            ((True,), (True,)),
            ((False, True, False), (True, True, False)),
            ((True, True), (True, True)),
            ((False, False), (True, True)),
        )
    ]
    figure = FIGURES["ifeval"][name]
    parts = [(figure.top(scored(ifeval=s)), figure.bottom(scored(ifeval=s))) for s in scores]
    value = sum(top for top, _ in parts) / sum(bottom for _, bottom in parts)
    assert value == pytest.approx(ifeval.summarise(scores)[name].value)
