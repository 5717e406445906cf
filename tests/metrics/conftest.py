"""What the tests of the metrics share: the calibration texts and their scores."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from metrics.lexicon import Lexicon, default_lexicon
from metrics.prose import ProseScore, score_text


class Writings(NamedTuple):
    """Texts of people and of models, with their scores."""

    human: list[str]
    models: dict[str, list[str]]
    human_scores: list[ProseScore]
    model_scores: dict[str, list[ProseScore]]

    @property
    def sample(self) -> list[str]:
        """Every second human passage and every tenth answer of each model: 96 texts."""
        return self.human[::2] + [text for own in self.models.values() for text in own[::10]]


@pytest.fixture(scope="session")
def lexicon() -> Lexicon:
    """The project's own lexicon."""
    return default_lexicon()


@pytest.fixture(scope="session")
def writings(shared_data: Path, lexicon: Lexicon) -> Writings:
    """The calibration texts."""
    prose = shared_data / "prose"
    human = [row["text"] for row in json.loads((prose / "human_passages.json").read_text("utf-8"))]
    rows = json.loads((prose / "model_texts.json").read_text("utf-8"))
    models = {model: [row["output"] for row in own] for model, own in rows.items()}
    return Writings(
        human=human,
        models=models,
        human_scores=[score_text(text, lexicon) for text in human],
        model_scores={
            model: [score_text(text, lexicon) for text in own] for model, own in models.items()
        },
    )
