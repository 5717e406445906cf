"""What a choice comes to on other prompts: who is chosen, what the figures are, what is said."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.comparison.compare import PairedRuns
from harness.console import run_app
from harness.runs import Run
from metrics.stats import Estimate, bootstrap_mean, default_rng
from search.board.confirmed import confirmation_grid, confirmation_lines
from search.cli import app
from search.confirmation.confirmation import (
    DONE,
    JOB,
    Asked,
    Bound,
    Candidate,
    Confirmation,
    Gain,
    OfBaseline,
    judged,
    kept_confirmation,
)
from search.confirmation.figures import Halves, bound_of, drop_of, gains_of, level_of
from search.confirmation.runners_up import choose, eligible
from search.leases.lease import StudyJob
from search.report.confirm import confirm_sections, confirmed_claim
from search.study.objective import Objective, parse_constraint
from search.study.study import Study, TrialRow, load_study
from search.trials.bench import BASELINE

from .confirmed import METRIC, passes_run, written

STRICT = Objective(METRIC)


def estimate(value: float, low: float, high: float, n: int = 10) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n)


# Arithmetic


@pytest.mark.parametrize(
    ("sign", "value", "low", "high"),
    [
        # 3 - 1, less hypot(3 - 1, 4 - 1), more hypot(5 - 3, 1 + 3)
        (1, 2.0, 2 - 13**0.5, 2 + 20**0.5),
        # made small: 1 - 3 is a gain of 2, and the ends change places
        (-1, -2.0, -2 - 20**0.5, -2 + 13**0.5),
    ],
)
def test_the_drop_is_the_difference_with_its_distances_squared_and_added(
    sign: int, value: float, low: float, high: float
) -> None:
    drop = drop_of(estimate(3, 1, 5), estimate(1, -3, 4, n=8), sign)
    assert drop.n == 8
    assert (drop.value, drop.low, drop.high) == pytest.approx((value, low, high))


def test_a_trial_that_was_stopped_has_no_drop() -> None:
    nothing = Estimate(value=None, low=None, high=None, n=0)
    assert drop_of(nothing, estimate(1, 0, 2), 1) == nothing


def test_five_claims_need_intervals_of_99_percent() -> None:
    assert level_of(5) == pytest.approx(0.99)
    assert level_of(1) == pytest.approx(0.95)
    assert level_of(0) == pytest.approx(0.95)


def halves(folder: Path, baseline: tuple[str, str], *builds: tuple[str, str]) -> list[Halves]:
    """Builds' and the baseline's passes on the search's half and on the other."""
    base = [passes_run(folder / f"b{side}", passes) for side, passes in enumerate(baseline)]
    found = []
    for number, build in enumerate(builds):
        own = [passes_run(folder / f"{number}{side}", passes) for side, passes in enumerate(build)]
        found.append(Halves(PairedRuns(base[0], own[0]), PairedRuns(base[1], own[1])))
    return found


def test_gains_of_two_builds_are_corrected_for_two(tmp_path: Path) -> None:
    both = halves(
        tmp_path,
        ("0000", "0" * 10 + "10"),
        ("1100", "1" * 10 + "10"),
        ("1000", "0" * 10 + "01"),
    )
    first, second = (gains[0] for gains in gains_of(both, [STRICT]))
    # 2 of 4 more in the search, 10 of 12 on the other half
    assert first.search.value == 0.5
    assert first.confirmed.value == pytest.approx(10 / 12)
    assert first.drop.value == pytest.approx(0.5 - 10 / 12)
    assert first.own.count == 11
    # exact McNemar of 10 to 0 is 2 / 2^10; Holm doubles the smaller of two
    assert first.p_value == pytest.approx(2 / 1024)
    assert first.p_holm == pytest.approx(4 / 1024)
    assert (second.p_value, second.p_holm) == (1.0, 1.0)
    wide = bootstrap_mean([1.0] * 10 + [0.0] * 2, rng=default_rng(), confidence=0.975)
    assert (first.confirmed.low, first.confirmed.high) == (wide.low, wide.high)
    assert first.shown == "better"
    assert second.shown is None
    # the same build alone has a narrower interval
    alone = gains_of(both[:1], [STRICT])[0][0]
    assert alone.p_holm == alone.p_value
    assert alone.confirmed.low is not None and first.confirmed.low is not None
    assert alone.confirmed.low >= first.confirmed.low


def test_two_objectives_count_as_claims_of_their_own(tmp_path: Path) -> None:
    (both,) = halves(tmp_path, ("0000", "0" * 12), ("1100", "1" * 10 + "00"))
    gains = gains_of([both], [STRICT, Objective("asked.inst_level_strict_acc", "minimize")])[0]
    assert gains[0].p_holm == pytest.approx(2 * 2 / 1024)
    assert gains[0].shown == "better"
    assert gains[1].shown == "worse", "more is worse where little is wanted"


@pytest.mark.parametrize(
    ("text", "kept", "sure", "violation"),
    [
        (f"{METRIC} >= baseline - 0.7", True, True, -0.2),
        (f"{METRIC} >= baseline - 0.5", True, False, 0.0),
        (f"{METRIC} >= baseline - 0.4", False, False, 0.1),
        (f"{METRIC} >= 0.9", False, True, 0.4),
    ],
)
def test_a_limit_is_kept_by_the_figure_and_for_sure_by_the_interval(
    tmp_path: Path, text: str, kept: bool, sure: bool, violation: float
) -> None:
    (both,) = halves(tmp_path, ("11", "1" * 40), ("11", "1" * 20 + "0" * 20))
    found = bound_of(both.confirm, parse_constraint(text), 0.95)
    assert (found.kept, found.sure) == (kept, sure)
    assert found.violation == pytest.approx(violation)


# The choice


def trial(value: float, **more: object) -> dict[str, object]:
    return {"values": [value], **more}


def chosen(
    study: Study, folder: Path, passes: Sequence[str], limit: int = 3
) -> tuple[list[tuple[int, tuple[str, ...]]], int]:
    """Numbers and roles, and how many were left out, where the trials passed these prompts."""
    runs = {
        f"{number:016x}-q": passes_run(folder / f"run{number}", text)
        for number, text in enumerate(passes)
    }

    def run_of(row: TrialRow) -> Run:
        return runs[row.run or ""]

    choice = choose(study, eligible(study, "q"), limit, run_of)
    return [(one.row.number, one.roles) for one in choice.chosen], choice.n_left_out


HARD, EASY = "0" * 30, "1" * 30


def test_runners_up_are_those_that_a_paired_test_cannot_tell_from_the_leader(
    tmp_path: Path,
) -> None:
    study = written(tmp_path / "s", [trial(0.0), trial(1.0), trial(0.9), trial(0.1)])
    found, left = chosen(study, tmp_path, [HARD, EASY, "1" * 27 + "000", "1" * 3 + "0" * 27])
    # 27 of 30 cannot be told from 30, 3 of 30 can; the recipe's own is run whatever it was
    assert found == [(1, ("leader",)), (2, ("runner-up",)), (0, ("recipe's own",))]
    assert left == 0


def test_the_recipes_own_is_run_once_whatever_else_it_is(tmp_path: Path) -> None:
    study = written(tmp_path / "s", [trial(1.0), trial(0.9)])
    found, _ = chosen(study, tmp_path, [EASY, EASY[:-1] + "0"])
    assert found == [(0, ("leader", "recipe's own")), (1, ("runner-up",))]


def test_no_more_runners_up_than_the_limit(tmp_path: Path) -> None:
    study = written(tmp_path / "s", [trial(1 - n / 100) for n in range(5)])
    found, left = chosen(study, tmp_path, [EASY] * 5, limit=2)
    assert [number for number, _ in found] == [0, 1, 2]
    assert left == 2


def test_what_breaks_a_limit_was_stopped_or_asked_otherwise_is_no_runner_up(
    tmp_path: Path,
) -> None:
    limit = f"{METRIC} >= 0.5"
    kept, broken = {limit: -0.1}, {limit: 0.1}
    trials = [
        trial(0.9, constraints=kept),
        trial(1.0, constraints=broken),
        trial(0.8, constraints=kept, kept={"stopped": "cannot reach trial 0"}),
        trial(0.8, constraints=kept, kept={"run": "0-before"}),
        trial(0.8, constraints=kept, kept={"build": BASELINE, "run": BASELINE}),
    ]
    study = written(tmp_path / "s", trials, subject_to=[limit])
    assert [row.number for row in eligible(study, "q")] == [0, 4]


# The verdict


def candidate(
    number: int, confirmed: Estimate, p: float, *, kept: bool = True, in_search: bool = True
) -> Candidate:
    search = estimate(3, 1, 5)
    return Candidate(
        trial=number,
        roles=("leader",) if number == 4 else ("runner-up",),
        params={"s": 0.25},
        build=f"{number:016x}",
        sha256=f"{number:064x}",
        run=f"{number:016x}-q",
        kept_in_search=in_search,
        p_leader=None,
        gains=(
            Gain(
                metric="h_delta",
                direction="maximize",
                search=search,
                confirmed=confirmed,
                drop=drop_of(search, confirmed, 1),
                own=estimate(50, 40, 60),
                p_value=p,
                p_holm=p,
            ),
        ),
        bounds=(
            Bound(
                text=f"{METRIC} >= baseline - 0.05",
                metric=METRIC,
                relative=True,
                confirmed=estimate(-0.02 if kept else -0.08, -0.1, 0.06),
                violation=-0.03 if kept else 0.03,
                sure=False,
            ),
        ),
    )


SHOWN = estimate(2, 0.5, 3.5)
UNSURE = estimate(2, -0.5, 4.5)
WORSE = estimate(-2, -3.5, -0.5)


def test_the_first_that_is_shown_wins_not_the_highest() -> None:
    high = candidate(6, estimate(9, 5, 13), 0.001)
    unsure = candidate(4, UNSURE, 0.2)
    assert judged([unsure, candidate(5, SHOWN, 0.01), high]) == ("shown", 5)
    assert judged([unsure, candidate(5, UNSURE, 0.2)]) == ("not shown", 4)


@pytest.mark.parametrize(
    "one",
    [
        candidate(4, WORSE, 0.01),
        candidate(4, estimate(0, -1, 1), 1.0),
        candidate(4, SHOWN, 0.01, kept=False),
        candidate(4, SHOWN, 0.01, in_search=False),
    ],
)
def test_what_gains_nothing_or_breaks_a_limit_on_either_half_wins_nothing(one: Candidate) -> None:
    assert judged([one]) == ("nothing", None)


def test_an_interval_off_zero_alone_shows_nothing() -> None:
    assert not candidate(4, SHOWN, 0.06).shown
    assert not candidate(4, UNSURE, 0.01).shown
    assert candidate(4, SHOWN, 0.01).shown


def recorded(folder: Path, *candidates: Candidate, n_trials: int = 2) -> Study:
    """A study of two trials whose confirmation was written down."""
    study = written(folder, [trial(1.0), trial(0.9)])
    outcome, winner = judged(candidates)
    record = Confirmation(
        asked=Asked(baseline_sha256="b" * 64, questions="q", n_trials=n_trials, runners_up=3),
        n_prompts={"asked": 40, "told": 8},
        confidence=0.95,
        n_claims=len(candidates),
        leader=4,
        baseline=(
            OfBaseline(
                metric="told.H", search=estimate(40, 30, 50), confirmed=estimate(44, 34, 54)
            ),
        ),
        candidates=candidates,
        n_left_out=1,
        outcome=outcome,
        winner=winner,
        n_tokens=1000,
    )
    done = {"record": record.model_dump(mode="json"), "files": {}, "host": "h"}
    StudyJob(study.storage, study.id, JOB).set(DONE, done)
    assert kept_confirmation(load_study(folder)) == record
    return load_study(folder)


def test_a_confirmed_winner_is_told_with_both_scores_the_drop_and_its_limits(
    tmp_path: Path,
) -> None:
    study = recorded(tmp_path, candidate(4, SHOWN, 0.01))
    assert confirmation_lines(study) == [
        "confirmed: trial 4 (s=0.250) beats the baseline on prompts that the search has not seen: "
        "h_delta +2.00 [+0.50, +3.50], after +3.00 [+1.00, +5.00] in the search, a drop of 1.00; "
        f"keeps {METRIC} >= baseline - 0.05 (-2.00 [-10.0, +6.0], within chance)",
        "1 more cannot be told from the leader and were not run (search.runners_up: 3)",
    ]
    record = kept_confirmation(study)
    assert record is not None
    row, baseline = confirmation_grid(record).rows
    assert row == (
        *("trial 4", "leader", "h_delta", "+3.00 [+1.00, +5.00]", "+2.00 [+0.50, +3.50]"),
        *("+1.00 [-1.50, +3.50]", "0.01", "kept, within chance"),
    )
    assert baseline[:5] == ("baseline", "", "told.H", "40.0 [30.0, 50.0]", "44.0 [34.0, 54.0]")


def test_where_nothing_wins_it_is_said_in_words_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "written"
    study = recorded(folder, candidate(4, WORSE, 0.01))
    assert confirmation_lines(study)[0] == (
        "nothing beats the baseline on prompts that the search has not seen: ship the baseline "
        "(the search's leader, trial 4: h_delta -2.00 [-3.50, -0.50], after +3.00 [+1.00, +5.00] "
        "in the search, a drop of 5.00)"
    )
    out = tmp_path / "best.gguf"
    monkeypatch.setattr("sys.argv", ["weighin", "best", str(folder), "-o", str(out)])
    assert run_app(app) == 0
    assert capsys.readouterr().out.startswith("nothing beats the baseline, so nothing is written")
    assert not out.exists()


def test_a_confirmation_from_before_the_last_trials_says_so(tmp_path: Path) -> None:
    study = recorded(tmp_path, candidate(4, UNSURE, 0.2), n_trials=1)
    lines = confirmation_lines(study)
    assert lines[0].startswith("not confirmed: no build is shown to beat the baseline")
    assert lines[-1] == "that was after 1 whole trial; 2 have ended by now"
    assert confirmed_claim(study) is None


def test_without_prompts_held_back_it_is_said_that_nothing_is_confirmed(tmp_path: Path) -> None:
    study = written(tmp_path, [trial(1.0)])
    assert confirmation_lines(study)[0].startswith("nothing is confirmed yet")
    recipe = study.recipe
    blind = recipe.evaluate.model_copy(update={"confirm": False})
    record = study.record.model_copy(
        update={"recipe": recipe.model_copy(update={"evaluate": blind})}
    )
    study.set("study", record.model_dump(mode="json"))
    (line,) = confirmation_lines(load_study(tmp_path))
    assert line.startswith("nothing is confirmed: `evaluate.confirm` is false")
    assert "nothing was held back" in line


def test_the_report_has_the_gains_the_limits_and_the_baseline(tmp_path: Path) -> None:
    study = recorded(tmp_path, candidate(4, SHOWN, 0.01), candidate(5, WORSE, 0.01, kept=False))
    (section,) = confirm_sections(study)
    gains, bounds, baseline = section.tables
    assert [cell.text for cell in gains.rows[0]] == ["Trial 4", "h_delta", *GAIN_TEXTS]
    assert gains.rows[0][5].detail == "[−1.50, +3.50]"
    assert [row[3].tone for row in gains.rows] == ["better", "worse"]
    assert gains.marked == 0
    strip = gains.rows[1][4].strip
    assert strip is not None and (strip.low, strip.high) == (-1.0, -0.5 / 3.5)
    assert [row[3].text for row in bounds.rows] == ["kept, within chance", "broken, within chance"]
    assert [cell.text for cell in baseline.rows[0]] == ["Prose style, H", "40.0", "44.0"]
    assert section.notes[0].startswith("Confirmed: trial 4")
    assert "(−2.00 [−10.0, +6.0]" in section.notes[0]
    assert confirmed_claim(study) == section.notes[0]


GAIN_TEXTS = ["+3.00", "+2.00", "", "+1.00", ".01"]
