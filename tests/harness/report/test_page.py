"""The page's text: what fits into it, what may run in it, what it says of what is missing."""

import gzip
import json
import random
import string
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest

from harness.report import page
from harness.report.browser import Exchange, exchanges, pack
from harness.report.charts import quartiles_of
from harness.report.contents import document_on
from harness.report.page import ReportError, render, require_extra
from harness.report.report import names_of, page_of, report_on_runs
from harness.report.subject import Subject, matter_of
from harness.runs import Run
from harness.scoring import Scoring, score_run
from metrics.errors import WeighinError
from metrics.lexicon import default_lexicon, parse_lexicon

from .conftest import BASELINE, HOSTILE_RUN, HOSTILE_TEXT, make_run


def exchange(number: int, n_characters: int) -> Exchange:
    """One of weight `number`, with text that does not compress."""
    rng = random.Random(number)
    text = "".join(rng.choices(string.printable, k=n_characters))
    return Exchange(("t", str(number), 0), {"id": number, "text": text, "weights": [number]})


def unpacked(text: str) -> list[int]:
    found = json.loads(gzip.decompress(b64decode(text)))
    return [entry["id"] for entry in found["exchanges"]]


def test_all_that_fits_is_packed() -> None:
    text, n_kept = pack(["a"], [exchange(n, 10) for n in range(3)], limit_bytes=10_000)
    assert (unpacked(text), n_kept) == ([0, 1, 2], 3)


def test_where_there_is_no_room_the_first_are_kept() -> None:
    every = [exchange(n, 1_000) for n in range(40)]
    text, n_kept = pack(["a"], every, limit_bytes=20_000)
    assert len(text) <= 20_000
    assert 8 < n_kept < 40
    assert unpacked(text) == list(range(n_kept))
    assert pack(["a"], every, limit_bytes=0)[1] == 0


def test_the_same_runs_make_the_same_page(folders: list[Path]) -> None:
    assert report_on_runs(folders[:2])[1] == report_on_runs(folders[:2])[1]


def test_what_was_left_out_is_said(folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    subjects = [Subject(Run(folder), folder.name) for folder in folders]
    matter = matter_of(subjects[0], subjects[1:])
    found = exchanges(matter, default_lexicon())
    assert found[0].key[1] == "lost"
    document = document_on(matter)
    whole = render(document, matter.names, found)
    assert "are left out to keep this file small" not in whole
    monkeypatch.setattr(page, "LIMIT_BYTES", len(whole.encode()) - 200)
    less = render(document, matter.names, found)
    assert len(less.encode()) <= page.LIMIT_BYTES
    assert "of 8 prompts, those that differ least, are left out to keep this file small" in less


def test_nothing_may_run_but_the_two_scripts(page_file: Path) -> None:
    html = page_file.read_text()
    policy = html.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#39;", "'").split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    assert len(rules["script-src"].split()) == 2
    assert "connect-src" not in rules
    assert html.count("<script") == 4  # two of data, two that run
    for word in ("http://", "https://"):
        assert f'src="{word}' not in html
        assert f'href="{word}' not in html
    assert len(html.encode()) < page.LIMIT_BYTES


def test_no_text_of_a_model_stands_in_the_page_as_it_is(page_file: Path) -> None:
    html = page_file.read_text()
    assert HOSTILE_TEXT not in html
    assert HOSTILE_RUN not in html
    assert "&lt;svg onload=window.hurt=4&gt;" in html


def test_one_run_alone(folders: list[Path]) -> None:
    document, html = report_on_runs(folders[:1])
    assert document.kind == "Run"
    assert document.verdict == "base: asked 60.0 % of prompts followed, H 14.8."
    assert [section.id for section in document.sections] == ["glance", "prose-told", "made"]
    assert html.startswith("<!doctype html>")


def test_the_best_candidate_comes_first(folders: list[Path]) -> None:
    document, _html = report_on_runs(folders)
    assert document.title == f"timid · {HOSTILE_RUN} against base"
    assert document.verdict.startswith("timid shows no difference")
    assert len(document.remarks) == 1


def test_slop_of_another_lexicon_is_not_marked_but_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "other", BASELINE)
    score_run(run, Scoring(lexicon=parse_lexicon('["mill wheel"]', name="mine.json")))
    matter = matter_of(Subject(run, "other"), [])
    html = page_of(matter, document_on(matter))
    assert "Slop is not marked: it was counted by another lexicon" in html
    assert "mine.json@" in html


def test_names_take_as_many_parents_as_they_need(tmp_path: Path) -> None:
    assert names_of([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert names_of([tmp_path / "x" / "run", tmp_path / "y" / "run"]) == ["x/run", "y/run"]
    twice = names_of([tmp_path / "a", tmp_path / "a"])
    assert len(set(twice)) == 2


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "find_spec", lambda name: None if name == "altair" else name)
    with pytest.raises(ReportError, match=r"needs altair: pip install 'weighin\[report\]'"):
        require_extra()


def test_a_run_that_is_not_scored_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", BASELINE)
    (run.folder / "summary.json").unlink()
    with pytest.raises(WeighinError, match="not scored"):
        report_on_runs([run.folder])


def test_quartiles() -> None:
    assert quartiles_of([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert quartiles_of([7.0]) == (7.0, 7.0, 7.0)


def test_the_policy_allows_what_is_in_the_page(page_file: Path) -> None:
    from base64 import b64encode

    html = page_file.read_text()
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert b64encode(sha256(style.encode()).digest()).decode() in html
