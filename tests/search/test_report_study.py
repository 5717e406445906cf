"""Reports on studies that Optuna made in SQLite; what trials came to is written, not weighed."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from harness.console import run_app
from harness.report.document import Table
from harness.report.page import write_page
from search.cli import app
from search.errors import StudyError
from search.recipe import Recipe
from search.report.study import builds_that_matter, claim_of, is_study, report_on_study
from search.report.trials import front_of, importances_of, search_section, trials_table
from search.study.study import Study, default_url, load_study, open_study
from tests.chromium import browser, opened, violations
from tests.harness.report.conftest import BASELINE, CANDIDATE, make_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser"]

LIMIT = "asked.prompt_level_strict_acc >= baseline - 0.05"


def made(
    folder: Path, outcomes: Sequence[tuple[float, float, float]], maximize: Any = "h_delta"
) -> Study:
    """A study of whole trials, each its `s`, its first objective and by how much strict moved."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a"],
            "heal": {"adapter": "h"},
            "merge": {"s": 0.3, "alpha": 0.3},
            "search": {
                "space": {"s": [0.0, 1.0], "alpha": [0.0, 0.6]},
                "subject_to": [LIMIT],
                "maximize": maximize,
            },
        }
    )
    study = open_study(
        recipe,
        name="made",
        storage=default_url(folder),
        parts={"it": "sha256 " + "1" * 64},
        n_trials=len(outcomes),
        default_storage=True,
    )
    study.record.write(folder)
    for number, (s, gain, strict) in enumerate(outcomes):
        build = f"{number:016x}"
        study.optuna_study().add_trial(
            create_trial(
                params={"s": s, "alpha": 0.01 * number},
                distributions={
                    "s": FloatDistribution(0.0, 1.0),
                    "alpha": FloatDistribution(0.0, 0.6),
                },
                values=[gain] if isinstance(maximize, str) else [gain, strict],
                constraints={LIMIT: -0.05 - strict},
                user_attrs={"build": build, "run": f"{build}-asked", "sha256": "0" * 64},
            )
        )
    return load_study(folder)


TRADE = [(0.1, 1.0, 0.02), (0.3, 3.0, -0.02), (0.5, 2.0, -0.04), (0.9, 5.0, -0.10)]
"""Trial 3 gains most and breaks the constraint, 2 is beaten by 1 in both, 0 loses nothing."""


def cells(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with the runs of its baseline and of two builds."""
    folder = tmp_path_factory.mktemp("studies") / "made"
    study = made(folder, TRADE)
    make_run(folder / "baseline", BASELINE)
    for row, said in zip(builds_that_matter(study), (CANDIDATE, BASELINE), strict=False):
        assert row.run is not None
        make_run(folder / "runs" / row.run, said)
    return folder


def test_the_claim_is_the_best_that_keeps_the_constraint(tmp_path: Path) -> None:
    assert claim_of(made(tmp_path, TRADE)) == (
        "Of 4 trials, trial 1 (s = 0.300, alpha = 0.010) is the best that keeps the constraints: "
        "h_delta +3.00."
    )


def test_a_claim_without_a_gain_says_that_nothing_beats_the_baseline(tmp_path: Path) -> None:
    claim = claim_of(made(tmp_path, [(0.1, -2.0, 0.0), (0.2, -1.0, 0.0)]))
    assert claim.startswith("Of 2 trials none beats the baseline; the nearest that keeps")
    assert claim.endswith("is trial 1 (s = 0.200, alpha = 0.010): h_delta −1.00.")


def test_a_claim_where_everything_is_broken(tmp_path: Path) -> None:
    claim = claim_of(made(tmp_path, [(0.1, 2.0, -0.2)]))
    assert claim == "Of one trial none keeps the constraints: ship the baseline."


def test_a_claim_of_two_objectives_counts_the_front(tmp_path: Path) -> None:
    maximize = ["h_delta", "asked.prompt_level_strict_acc"]
    claim = claim_of(made(tmp_path, TRADE, maximize))
    assert claim.startswith("Of 4 trials, 2 are beaten by no other in every objective; trial 1 (")


def test_the_front_joins_what_no_other_beats_in_both(tmp_path: Path) -> None:
    study = made(tmp_path, TRADE)
    assert sorted(front_of(study, study.ranked())) == [0, 1, 3]


def test_builds_that_matter_are_the_best_the_front_and_the_next(tmp_path: Path) -> None:
    found = builds_that_matter(made(tmp_path, TRADE))
    assert [row.number for row in found] == [1, 0, 2, 3]


def test_every_trial_is_in_the_table_with_what_it_did(tmp_path: Path) -> None:
    study = made(tmp_path, TRADE)
    table = trials_table(study, study.rows())
    assert cells(table)[0] == ["0", "0.100", "0.000", "+1.00", "+2.00", "kept"]
    assert cells(table)[3] == ["3", "0.900", "0.030", "+5.00", "−10.00", "broken"]
    assert [row[4].tone for row in table.rows] == [None, None, None, "worse"]
    assert table.marked == 1


def test_the_search_has_its_front_its_path_and_what_matters(tmp_path: Path) -> None:
    section = search_section(made(tmp_path, TRADE))
    assert [chart.id for chart in section.charts] == ["front", "path-h-delta", "importance-h-delta"]
    front, path, _ = section.charts
    # strict in points, and the bound as an upright line
    assert cells(front.table)[3] == ["trial 3", "−10.00", "5.00", "broken"]
    assert '"values": [{"x": -5.0}]' in json.dumps(front.spec)
    # the best so far: trial 0 from the start, trial 1 from there to the end
    steps = [[0, 1.0], [1, 3.0], [3, 3.0]]
    (line,) = (
        layer["data"]["values"]
        for layer in path.spec["layer"]
        if layer["mark"].get("interpolate") == "step-after"
    )
    assert [[point["x"], point["y"]] for point in line] == steps


def test_importances_are_optunas_and_say_how_few_they_rest_on(tmp_path: Path) -> None:
    # only s moves the objective: alpha grows with the trial's number, and the order is shuffled
    points = [(s, -abs(s - 0.5), 0.0) for s in (0.9, 0.1, 0.5, 0.3, 0.7, 0.45, 0.0, 0.6, 1.0, 0.2)]
    study = made(tmp_path, points)
    shares = importances_of(study, 0)
    assert sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares)) == "s"
    (chart,) = (c for c in search_section(study).charts if c.id.startswith("importance"))
    assert chart.caption == "Optuna's PED-ANOVA over 10 whole trials; so few make it a guess."


def test_few_trials_tell_nothing_of_importance(tmp_path: Path) -> None:
    section = search_section(made(tmp_path, TRADE[:3]))
    assert [chart.id for chart in section.charts] == ["front", "path-h-delta"]
    assert section.notes == ("Which numbers matter is not told from fewer than 4 whole trials.",)


def test_a_study_without_an_ended_trial_cannot_be_reported_on(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no trial has ended yet"):
        report_on_study(made(tmp_path, []), tmp_path)


def test_a_study_is_reported_on_alone(tmp_path: Path) -> None:
    made(tmp_path / "s", TRADE)
    assert is_study([tmp_path / "s"], None)
    assert not is_study([tmp_path], None)
    assert is_study([Path("name")], "sqlite:///x.db")
    with pytest.raises(StudyError, match="leave out the other folders"):
        is_study([tmp_path, tmp_path / "s"], None)


def test_a_studys_page_in_chromium(study_folder: Path, browser: "Browser", tmp_path: Path) -> None:
    document, html = report_on_study(load_study(study_folder), study_folder)
    path = tmp_path / "report.html"
    write_page(html, path)
    with opened(browser, path) as page:
        assert page.locator(".verdict").inner_text() == document.verdict
        charts = page.locator("#search figure .chart svg")
        assert charts.count() == 3
        page.locator("summary", has_text="All 4 trials").click()
        assert page.locator("#search tr.marked th").inner_text() == "1"
        assert page.get_by_label("Beside the baseline").locator("option").all_inner_texts() == [
            "Trial 1",
            "Trial 0",
        ]
        for summary in page.locator("#search figure summary").all():
            summary.click()
        assert violations(page) == []


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["weighin", *map(str, arguments)])
    return run_app(app)


def test_the_command_writes_beside_the_study_and_tells_in_json(
    study_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(study_folder, folder)
    assert run(monkeypatch, "report", folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    path = folder / "report.html"
    assert told == {
        "report": str(path),
        "size_bytes": path.stat().st_size,
        "verdict": claim_of(load_study(folder)),
    }
    assert told["size_bytes"] < 5_000_000


def test_a_report_that_exists_is_kept_unless_forced(
    study_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    assert run(monkeypatch, "report", study_folder, "-o", path) == 2
    assert capsys.readouterr().err == (
        f"weighin: error: {path}: exists; name another --out, or replace it with --force\n"
    )
    assert path.read_text() == "mine"
    assert run(monkeypatch, "report", study_folder, "-o", path, "--force") == 0
    assert path.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(("answer", "kept"), [("n", True), ("y", False)])
def test_on_a_terminal_it_asks(
    study_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    kept: bool,
) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    monkeypatch.setattr("search.commands.report.is_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_args, **_options: answer == "y")
    assert run(monkeypatch, "report", study_folder, "-o", path) == (2 if kept else 0)
    assert (path.read_text() == "mine") is kept


def test_what_is_no_run_is_named_and_nothing_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out" / "report.html"
    assert run(monkeypatch, "report", tmp_path / "nothing", "-o", out) == 2
    assert "no run here" in capsys.readouterr().err
    assert not out.parent.exists()
