"""Prose figures of one text and of sets."""

import pytest

from metrics.errors import WeighinError
from metrics.lexicon import Entry, Lexicon, Origin
from metrics.prose import (
    METRICS,
    h_delta,
    score_text,
    score_texts,
    signature,
    summarise,
)

LIST = Lexicon(
    name="hand",
    origin=Origin(method="by hand"),
    words=(Entry(text="tapestry"),),
    bigrams=(),
    trigrams=(),
)
STORY = (
    "The man came down to the harbor at noon. He had a rope, two hooks and nothing to eat. "
    "Gulls were fighting over the heads of fish that somebody had thrown from the pier, and "
    "he watched them for a while. Then he sat. A boy on the wall asked him what the rope was for. "
)


def test_one_text_by_hand() -> None:
    score = score_text("A tapestry hung there. It was not just old but torn.", LIST)
    assert (score.word_count, score.rated_words) == (11, 11)
    assert (score.slop_hits, score.slop_weight, score.contrast_count) == (1, 1, 1)
    assert score.slop == pytest.approx(1000 / 11)
    assert score.contrast == pytest.approx(1000 / 11)
    assert score.rep3g == 0.0
    assert score.openers == 0.0
    assert score.rhythm is None
    assert score.diversity is None
    assert score.H == 0.0  # under 20 words nothing about style can be told


@pytest.mark.parametrize("text", ["", " \n ", "***", "<think>All of it was thought"])
def test_an_empty_answer_scores_zero_and_has_no_rates(text: str) -> None:
    score = score_text(text, LIST)
    assert (score.word_count, score.H) == (0, 0.0)
    assert score.slop is score.rep3g is score.contrast is score.openers is None


def test_refusals_and_other_languages_score_zero() -> None:
    refusal = "I'm sorry, but I can't write that story. " + STORY
    assert score_text(STORY, LIST, length_gate=False).H > 80
    assert score_text(refusal, LIST, length_gate=False).H == 0.0
    spanish = (
        "El hombre bajó al puerto al mediodía con una cuerda y dos anzuelos, y los pájaros "
        "peleaban por las cabezas de los peces que alguien había tirado desde el muelle. "
    )
    assert score_text(spanish * 2, LIST, length_gate=False).H == 0.0


def test_the_length_gate_can_be_turned_off() -> None:
    gated, free = score_text(STORY, LIST), score_text(STORY, LIST, length_gate=False)
    assert free.word_count == 56
    assert free.gate == 1.0
    assert gated.gate == pytest.approx(56 / 250)
    assert abs(gated.H - free.H * 56 / 250) < 1e-5


def test_rates_look_at_the_first_750_words_and_gates_at_all() -> None:
    head = " ".join(
        f"the word{'abcdefghij'[n % 10]}{'klmnopqrst'[n // 10 % 10]}." for n in range(375)
    )
    score = score_text(head + " tapestry" * 50, LIST)
    assert score.rated_words == 750
    assert score.slop_hits == 0
    assert score.word_count == 800


def test_a_summary_pools_slop_and_keeps_empty_answers_in_the_mean() -> None:
    texts = ["tapestry " * 2 + STORY, STORY * 2, ""]
    scores = [score_text(text, LIST) for text in texts]
    figures = summarise(scores)
    assert figures["slop"].value == pytest.approx(1000 * 2 / (58 + 112))
    assert figures["slop"].n == 2
    assert figures["word_count"].value == pytest.approx((58 + 112) / 3)
    assert figures["H"].n == 3
    assert figures["H"].value == pytest.approx(sum(s.H for s in scores) / 3)
    assert figures["slop_hits"].value == pytest.approx(2 / 3)
    assert figures["rep3g"].n == 2


def test_samples_of_a_prompt_are_resampled_together() -> None:
    scores = [score_text("tapestry " * n + STORY, LIST) for n in (0, 0, 0, 0, 9, 9, 9, 9)]
    apart = summarise(scores)
    together = summarise(scores, prompts=["a"] * 4 + ["b"] * 4)
    for name in ("slop", "slop_hits", "H"):
        assert together[name].value == pytest.approx(apart[name].value)
        assert together[name].n == apart[name].n == 8
    width = [f["slop_hits"].high - f["slop_hits"].low for f in (apart, together)]  # type: ignore[operator]
    assert width[1] > 1.2 * width[0]


def test_a_set_has_every_figure_with_its_n() -> None:
    scores, figures = score_texts([STORY, STORY.replace("man", "woman")], LIST)
    assert len(scores) == 2
    assert tuple(figures) == METRICS
    assert figures["xrep3"].value is not None
    assert figures["xrep3"].value > 80
    assert set(figures["H"].to_json()) == {"value", "low", "high", "n"}


def test_a_signature_names_what_could_change_a_score() -> None:
    assert signature(LIST) == f"prose|v:1|lexicon:hand@{LIST.sha256[:8]}|length_gate:on"
    assert signature(LIST, length_gate=False) == signature(LIST).replace(":on", ":off")


def test_nothing_scored_is_undefined() -> None:
    assert {figure.value for figure in summarise([]).values()} == {None}


def test_deltas_are_candidate_minus_baseline() -> None:
    baseline = [score_text(text, LIST) for text in (STORY * 4, "tapestry " + STORY, "")]
    candidate = [score_text(text, LIST) for text in ("tapestry " * 3 + STORY * 4, STORY, STORY)]
    expected = sum(c.H - b.H for b, c in zip(baseline, candidate, strict=True)) / 3
    assert h_delta(baseline, candidate).value == pytest.approx(expected)
    assert h_delta(baseline, candidate).n == 3
    with pytest.raises(WeighinError, match="cannot pair"):
        h_delta(baseline, candidate[:2])


def test_the_same_run_has_no_difference() -> None:
    scores = [score_text(STORY * n, LIST) for n in (1, 2, 3)]
    assert h_delta(scores, scores).to_json() == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 3}
