"""Comparisons, gates and tables on figures computed by hand."""

import pytest

from harness.comparison.compare import compare_scores
from harness.comparison.pairing import PairingError, require_pairable
from harness.comparison.records import Comparison
from harness.runs import Score
from harness.tables import figure
from metrics.ifeval import IfevalScore
from metrics.lexicon import default_lexicon
from metrics.prose import score_text
from metrics.stats import Estimate

from .test_runs import header


def followed(prompt: str, *strict: bool) -> Score:
    return Score(
        task="ifeval",
        prompt_id=prompt,
        sample=0,
        empty=False,
        unclosed_thought=False,
        ifeval=IfevalScore(strict=strict, loose=strict),
    )


def written(prompt: str, text: str) -> Score:
    return Score(
        task="prose",
        prompt_id=prompt,
        sample=0,
        empty=not text,
        unclosed_thought=False,
        prose=score_text(text, default_lexicon()),
    )


BASELINE = [followed(f"p{i}", i < 6, True) for i in range(10)]
CANDIDATE = [followed(f"p{i}", i > 1 and i < 9, True) for i in range(10)]
NAMES = ("base", "cand")


def compared() -> Comparison:
    return compare_scores(BASELINE, CANDIDATE, names=NAMES)


def test_prompt_level_difference_and_mcnemar() -> None:
    # baseline passes 0-5, candidate 2-8: 2 lost, 3 won; exact McNemar of 2 against 3 is p = 1
    row = compared().by_metric()["ifeval.prompt_level_strict_acc"]
    assert (row.baseline.count, row.candidate.count) == (6, 7)
    assert row.difference.value == pytest.approx(0.1)
    assert row.p_value == 1.0


def test_instruction_level_pools_instructions() -> None:
    # 6 + 10 and 7 + 10 of 20 instructions
    row = compared().by_metric()["ifeval.inst_level_strict_acc"]
    assert (row.baseline.value, row.candidate.value) == (0.8, 0.85)
    assert row.difference.value == pytest.approx(0.05)


def test_a_clear_loss_is_significant() -> None:
    # six prompts lost, none won: p = 2 / 2**6
    none = [followed(f"p{i}", False, True) for i in range(10)]
    row = compare_scores(BASELINE, none, names=NAMES).by_metric()["ifeval.prompt_level_strict_acc"]
    assert row.p_value == pytest.approx(0.03125)


def test_only_common_prompts_are_paired() -> None:
    comparison = compare_scores(BASELINE, CANDIDATE[:4], names=NAMES)
    assert comparison.n_pairs == 4
    assert comparison.by_metric()["ifeval.prompt_level_strict_acc"].difference.n == 4


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(PairingError, match="no prompt in common"):
        compare_scores(BASELINE, [followed("other", True)], names=NAMES)


def test_equal_runs_do_not_differ() -> None:
    comparison = compare_scores(BASELINE, BASELINE, names=NAMES)
    assert {d.difference.value for d in comparison.differences} == {0.0}
    assert {d.p_value for d in comparison.differences} == {1.0}


def test_h_delta_is_the_mean_difference_of_h() -> None:
    text = (
        "He walked home past the mill, where the wheel had stopped for the night. A lamp burned. "
        "Somebody had left the gate open again, and the two dogs, which nobody owned, lay across "
        "the path as if they had been put there to stop him. They did not get up. What was it "
        "that his brother used to say about dogs? He could not remember; it was long ago, and "
        "the rain had begun."
    )
    before = [written("a", text), written("b", "")]
    after = [written("a", text), written("b", text)]
    rows = compare_scores(before, after, names=NAMES).by_metric()
    # nothing moves on a; on b it goes from 0, which an empty answer scores, to the text's H
    h = score_text(text, default_lexicon()).H
    assert h > 0
    assert rows["prose.h_delta"].difference.value == pytest.approx(h / 2)
    assert rows["prose.h_delta"] == rows["prose.H"]


def test_slop_is_pooled_over_the_prompts_that_have_words_on_both_sides() -> None:
    plain, slop = "The dog lay by the gate all day. " * 4, "A testament to the tapestry of it. " * 4
    before = [written("a", plain), written("b", slop), written("c", "")]
    after = [written("a", slop), written("b", plain + slop), written("c", plain)]
    row = compare_scores(before, after, names=NAMES).by_metric()["prose.slop"]

    def rate(scores: list[Score]) -> float:
        own = [s.prose for s in scores[:2] if s.prose is not None]
        return 1000 * sum(s.slop_weight for s in own) / sum(s.rated_words for s in own)

    # c has no words in the baseline, so it is in neither rate
    assert rate(before) > 0
    assert row.difference.value == pytest.approx(rate(after) - rate(before))
    assert row.difference.n == 2


def test_other_questions_cannot_be_paired() -> None:
    task = header().tasks[0]
    other = header(tasks=(task.model_copy(update={"samples": 2}),))
    with pytest.raises(PairingError, match=r"tasks\[0\].samples: 1 != 2"):
        require_pairable(header(), other, names=NAMES)


def test_figures_are_percentages_in_print_only() -> None:
    estimate = Estimate(value=0.5, low=0.25, high=0.75, n=10)
    assert figure("ifeval.prompt_level_strict_acc", estimate) == "50.00 [25.0, 75.0]"
    assert figure("prose.H", estimate.model_copy(update={"value": 51.5}), interval=False) == "51.50"
    assert figure("prose.H", Estimate(value=None, low=None, high=None, n=0)) == "-"
