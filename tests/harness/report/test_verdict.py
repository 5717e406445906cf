"""Numerals and sentences on comparisons written by hand."""

import pytest

from harness.comparison.records import Comparison, Difference
from harness.report.glance import comparison_table, sanity_table
from harness.report.numerals import interval, number, p_text, tone_of
from harness.report.verdict import by_favour, verdict_on
from metrics.stats import Estimate


def row(
    metric: str,
    moved: float,
    *,
    p: float = 0.5,
    reach: float = 0.02,
    smallest: float | None = None,
    noise: float | None = None,
) -> Difference:
    def side(value: float) -> Estimate:
        return Estimate(value=value, low=value - reach, high=value + reach, n=100)

    return Difference(
        metric=metric,
        baseline=side(0.5),
        candidate=side(0.5 + moved),
        difference=side(moved),
        p_value=p,
        smallest=smallest,
        noise=noise,
    )


def compared(*rows: Difference, name: str = "cand") -> Comparison:
    return Comparison(baseline="base", candidate=name, n_pairs=100, differences=rows)


STRICT, H = "ifeval.prompt_level_strict_acc", "prose.H"


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (STRICT, 0.8595, "86.0"),
        (STRICT, 0.0, "0.0"),
        (H, 73.94, "73.9"),
        (H, 3.071, "3.07"),
        (H, 0.134, "0.13"),
        ("prose.diversity", 0.7261, "0.726"),
        ("prose.word_count", 1123.6, "1124"),
        ("ifeval.strict.keywords:existence", 0.5, "50.0"),
        ("prose.looping", 0.022, "2.2"),
        (H, None, "–"),
    ],
)
def test_numbers(metric: str, value: float | None, text: str) -> None:
    assert number(metric, value) == text


def test_a_difference_has_a_sign_and_nothing_has_none() -> None:
    assert number(STRICT, -0.006, signed=True) == "−0.6"
    assert number(H, 3.07, signed=True) == "+3.07"
    assert number(STRICT, -0.0001, signed=True) == "0.0"
    assert interval(STRICT, row(STRICT, -0.01).difference, signed=True) == "[−3.0, +1.0]"
    assert interval(STRICT, Estimate(value=None, low=None, high=None, n=0)) == ""


def test_p_values() -> None:
    assert [p_text(p) for p in (None, 0.0004, 0.0213, 1.0)] == ["–", "< .001", ".021", "1"]


def test_a_tone_needs_significance_and_a_direction() -> None:
    assert tone_of(row(STRICT, 0.1, p=0.01)) == "better"
    assert tone_of(row("prose.slop", 0.1, p=0.01)) == "worse"
    assert tone_of(row(STRICT, 0.1, p=0.2)) is None
    assert tone_of(row("prose.word_count", 0.1, p=0.01)) is None
    # corrected for several candidates it is none any more
    assert tone_of(row(STRICT, 0.1, p=0.03).model_copy(update={"p_holm": 0.09})) is None


def test_a_loss_and_a_gain() -> None:
    found = verdict_on(compared(row(STRICT, -0.07, p=0.001), row(H, 3.0, p=0.01, reach=1)))
    assert (
        found.sentence == "cand follows fewer prompts than base, but writes closer to human prose."
    )
    assert found.evidence == (
        "ifeval −7.0 points [−9.0, −5.0], p .001, n 100 · "
        "prose H +3.00 [+2.00, +4.00], p .01, n 100"
    )


def test_where_nothing_is_shown_it_says_what_could_have_been_missed() -> None:
    found = verdict_on(compared(row(STRICT, -0.01, smallest=0.019)))
    assert found.sentence == "cand shows no difference in following instructions."
    assert found.evidence.endswith("n 100, less than 1.9 could not have shown")


def test_nothing_twice_is_said_once() -> None:
    found = verdict_on(compared(row(STRICT, 0.0), row(H, 2.0, smallest=1.5)))
    assert (
        found.sentence == "cand shows no difference in following instructions, nor in prose style."
    )
    # a difference larger than what could be shown is not called too small to be seen
    assert found.evidence.endswith("prose H +2.00 [+1.98, +2.02], p .5, n 100")


def test_two_gains_are_joined_by_and() -> None:
    found = verdict_on(compared(row(STRICT, 0.07, p=0.001), row(H, 3.0, p=0.01)))
    assert found.sentence == "cand follows more prompts than base and writes closer to human prose."


def test_runs_without_either_figure_were_compared() -> None:
    assert verdict_on(compared()).sentence == "cand was compared with base."


def test_what_is_worse_in_nothing_comes_first_then_what_gains_most() -> None:
    lost = compared(row(STRICT, -0.07, p=0.001), row(H, 9.0, p=0.001), name="lost")
    same = compared(row(STRICT, 0.0), row(H, 0.5), name="same")
    more = compared(row(STRICT, 0.0), row(H, 1.5), name="more")
    won = compared(row(STRICT, 0.0), row(H, 1.0, p=0.01), name="won")
    assert by_favour([lost, same, more, won]) == [3, 2, 1, 0]


def test_percentages_share_a_scale_and_noise_is_drawn() -> None:
    loose = "ifeval.prompt_level_loose_acc"
    table = comparison_table(
        compared(row(STRICT, 0.08), row(loose, 0.03, noise=0.027), row(H, 5.0))
    )
    first, second, style = (cells[4].strip for cells in table.rows)
    assert first is not None
    assert second is not None
    assert style is not None
    # the widest of the two ends at 0.10, which is drawn at 1 / 1.08 of the half width
    assert first.high == pytest.approx(1 / 1.08)
    assert second.high == pytest.approx(0.5 / 1.08)
    assert second.limit == pytest.approx(0.27 / 1.08)
    assert style.high == pytest.approx(1 / 1.08)
    assert table.groups == (("ifeval", 2), ("prose", 1))


def test_what_went_wrong_in_no_run_has_no_row() -> None:
    def share(metric: str, before: int, after: int) -> Difference:
        sides = [
            Estimate(value=count / 10, low=0.0, high=1.0, n=10, count=count)
            for count in (before, after)
        ]
        return row(metric, 0.0).model_copy(update={"baseline": sides[0], "candidate": sides[1]})

    comparison = compared().model_copy(
        update={"sanity": (share("prose.empty", 0, 0), share("prose.looping", 0, 2))}
    )
    table, never = sanity_table([comparison])
    assert never == ["prose empty"]
    assert table is not None
    assert [[cell.text for cell in cells] for cells in table.rows] == [
        ["Looping", "0.0 %", "20.0 %"]
    ]
    assert table.rows[0][2].detail == "2 of 10"
