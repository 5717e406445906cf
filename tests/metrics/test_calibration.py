"""What H must keep to on real prose: people above every model, and no cheap way up."""

import csv
import json
import os
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.stats import spearmanr

from metrics.lexicon import Lexicon
from metrics.prose import score_text
from metrics.text import normalise, words
from metrics.word_lists import stop_words
from tests.metrics.conftest import Writings

ROOT = Path(__file__).resolve().parent.parent.parent
LOSS = 10.0
"""Points that a paragraph repeated six times must cost, of a text that has them to lose."""


@pytest.fixture(scope="module")
def h(lexicon: Lexicon) -> Callable[[str], float]:
    return lambda text: score_text(text, lexicon).H


@pytest.fixture(scope="module")
def means(writings: Writings) -> dict[str, float]:
    return {
        model: statistics.fmean(score.H for score in own)
        for model, own in writings.model_scores.items()
    }


def human_mean(writings: Writings) -> float:
    return statistics.fmean(score.H for score in writings.human_scores)


def test_people_are_above_every_model(writings: Writings, means: dict[str, float]) -> None:
    assert human_mean(writings) > max(means.values()) + 10


def test_the_order_of_models_is_the_published_one(
    shared_data: Path, means: dict[str, float]
) -> None:
    with (shared_data / "prose" / "published_slop_score.csv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        published = {row["model"]: float(row["slop_score_composite"]) for row in rows}
    models = sorted(means)
    found = spearmanr([means[m] for m in models], [published[m] for m in models])
    assert len(models) == 22
    assert found.statistic <= -0.75


def test_the_lexicon_holds_for_models_it_has_not_seen(
    writings: Writings, means: dict[str, float], lexicon: Lexicon
) -> None:
    unseen = lexicon.origin.held_out
    assert set(unseen) < set(writings.models)
    people = pooled_slop(writings.human_scores)
    for model in unseen:
        assert pooled_slop(writings.model_scores[model]) > 3 * people
        assert means[model] < human_mean(writings) - 10
    seen = statistics.fmean(pooled_slop(writings.model_scores[m]) for m in lexicon.origin.models)
    held = statistics.fmean(pooled_slop(writings.model_scores[m]) for m in unseen)
    assert held > 0.8 * seen


def pooled_slop(scores: list) -> float:  # type: ignore[type-arg]
    return 1000 * sum(s.slop_weight for s in scores) / sum(s.rated_words for s in scores)


def test_shuffled_words_score_below_five(writings: Writings, h: Callable[[str], float]) -> None:
    rng = random.Random(1)
    for text in writings.sample:
        as_written = text.split()
        bare = words(normalise(text))
        rng.shuffle(as_written)
        rng.shuffle(bare)
        assert h(" ".join(as_written)) < 5
        assert h(" ".join(bare)) < 5


def test_a_text_followed_by_itself_never_gains(
    writings: Writings, h: Callable[[str], float]
) -> None:
    for text in writings.sample:
        before = h(text)
        assert h(f"{text}\n\n{text}") <= before
        short = " ".join(text.split()[:30])
        assert h(f"{short} {short}") <= h(short)


def test_a_paragraph_repeated_six_times_loses_ten_points(
    writings: Writings, h: Callable[[str], float]
) -> None:
    tried = 0
    for text in writings.sample:
        before = h(text)
        long_enough = [p for p in text.split("\n\n") if len(p.split()) >= 25]
        for paragraph in long_enough[:1] + long_enough[-1:]:
            six = "\n\n".join([paragraph] * 6)
            for looped in (text.replace(paragraph, six, 1), f"{text}\n\n{six}"):
                assert h(looped) <= max(0.0, before - LOSS)
                tried += 1
    assert tried > 200


def without_markdown(text: str) -> str:
    """Strip markdown the way a renderer would, by other means than the module under test."""
    plain = re.sub(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+)", "", text, flags=re.MULTILINE)
    plain = re.sub(r"^[ \t]*(?:[-*_][ \t]*){3,}$", "", plain, flags=re.MULTILINE)
    return re.sub(r"(\*\*\*|\*\*|__|\*|_|`)(?=\S)(.+?)(?<=\S)\1", r"\2", plain)


def test_markdown_and_curled_quotes_change_nothing(
    writings: Writings, h: Callable[[str], float]
) -> None:
    n_marked = 0
    for text in writings.sample:
        before = h(text)
        plain = without_markdown(text)
        n_marked += plain != text
        assert abs(h(plain) - before) <= 1e-9
        curled = re.sub(r'"([^"\n]*)"', "\u201c\\1\u201d", text).replace("'", "\u2019")
        straight = re.sub("[\u201c\u201d]", '"', text).replace("\u2019", "'").replace("\u2018", "'")
        assert abs(h(curled) - before) <= 1e-9
        assert abs(h(straight) - before) <= 1e-9
    assert n_marked > 20


def test_listed_words_in_place_of_others_lower_h(
    writings: Writings, lexicon: Lexicon, h: Callable[[str], float]
) -> None:
    rng = random.Random(2)
    listed = [entry.text for entry in lexicon.words]
    tried = 0
    for text in writings.sample:
        if score_text(text, lexicon).gate < 1:
            continue  # a looping text: any change of its words breaks the loop, which is a gain
        tried += 1
        replaced = replace_words(text, rng.sample(listed, 30), stop_words() | lexicon.word_set)
        assert h(replaced) < h(text)
    assert tried > 80


def replace_words(text: str, chosen: list[str], keep: frozenset[str]) -> str:
    """Put the chosen words where others were that need not be kept, every sixth of them."""
    pieces = re.split(r"(\b[a-z]{4,}\b)", text)
    plain = [i for i in range(1, len(pieces), 2) if pieces[i] not in keep]
    for place, word in zip(plain[::6], chosen, strict=False):
        pieces[place] = word
    return "".join(pieces)


def test_listed_phrases_added_lower_h(
    writings: Writings, lexicon: Lexicon, h: Callable[[str], float]
) -> None:
    rng = random.Random(3)
    listed = [entry.text for entry in (*lexicon.bigrams, *lexicon.trigrams)]

    def with_phrases(text: str) -> str:
        first, *rest = text.split("\n\n")
        added = " ".join(f"She felt the {phrase}." for phrase in rng.sample(listed, 20))
        return "\n\n".join([first, added, *rest])

    scored = [text for text in writings.sample if h(text) > 0]
    changes = [h(with_phrases(text)) - h(text) for text in scored]
    assert len(changes) > 90
    assert max(changes) < 0


def test_another_process_and_hash_seed_give_the_same_scores(writings: Writings) -> None:
    texts = writings.sample[::12]
    script = (
        "import json, sys; from metrics.lexicon import default_lexicon; "
        "from metrics.prose import score_text; "
        "print(json.dumps([score_text(t, default_lexicon()).model_dump() "
        "for t in json.load(sys.stdin)]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps(texts),
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "31337")
    }
    assert len(outputs) == 1
