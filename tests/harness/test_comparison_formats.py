"""A comparison in every form: the same figures, and model's or user's text escaped in each."""

import csv
import io
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.comparison.formats import CSV_COLUMNS, to_csv, to_html, to_json, to_markdown
from harness.comparison.grids import Grid, markdown, rich_table
from harness.comparison.records import Comparison, ComparisonSet, Difference, Mover, RunFacts
from harness.comparison.tables import movers_grid, tone_of, why
from harness.tables import figure, label
from metrics.stats import Estimate

from .made_runs import changed, make_run


def facts(name: str) -> RunFacts:
    return RunFacts(
        name=name,
        file=f"{name}.gguf",
        sha256="a" * 64,
        quantization="llama Q6_K",
        size_bytes=1,
        n_parameters=1,
        template_sha256="b" * 64,
    )


def moved(
    metric: str, value: float | None, p: float | None, holm: float | None = None
) -> Difference:
    before = Estimate(value=0.5, low=0.25, high=0.75, n=8, count=4)
    gone = value is None
    change = Estimate(value=value, low=None if gone else -0.5, high=None if gone else 0.125, n=8)
    return Difference(
        metric=metric,
        baseline=before,
        candidate=before,
        difference=change,
        p_value=p,
        p_holm=holm,
        smallest=None,
    )


STRICT = "ifeval.prompt_level_strict_acc"
FOUND = ComparisonSet(
    baseline=facts("base"),
    candidates=(facts("<b>|x"),),
    comparisons=(
        Comparison(
            baseline="base",
            candidate="<b>|x",
            n_pairs=8,
            differences=(moved(STRICT, -0.25, 0.03), moved("prose.slop", None, None)),
            notes=("a <note> | of *two*",),
        ),
    ),
)


class Cells(HTMLParser):
    """The text of a page's cells; any tag that the page should not have is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_escapes_names_and_notes() -> None:
    page = Cells()
    page.feed(to_html(FOUND))
    assert "b" not in page.tags
    assert "note" not in page.tags
    assert "<b>|x against base, 8 pairs" in page.texts
    assert "50.00 [25.0, 75.0]" in page.texts
    assert "-25.00 [-50.0, +12.5]" in page.texts


def test_markdown_has_as_many_cells_in_every_row() -> None:
    lines = to_markdown(FOUND).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    n_cells = {row.replace("\\|", "").count("|") for row in rows}
    assert len(n_cells) == 1
    assert r"**&lt;b\>\|x against base, 8 pairs**" in lines
    assert r"- a &lt;note\> \| of \*two\*" in lines


def test_csv_and_json_hold_plain_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(FOUND))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert (rows[0]["metric"], float(rows[0]["difference"])) == (STRICT, -0.25)
    assert (rows[1]["difference"], rows[1]["p_value"]) == ("", "")
    assert ComparisonSet.model_validate_json(to_json(FOUND)) == FOUND


@pytest.mark.parametrize(
    ("metric", "value", "p", "holm", "tone"),
    [
        (STRICT, -0.25, 0.03, None, "worse"),
        (STRICT, 0.25, 0.03, None, "better"),
        ("prose.slop", 0.25, 0.03, None, "worse"),
        ("ifeval.looping", -0.25, 0.03, None, "better"),
        (STRICT, 0.25, 0.03, 0.06, None),  # two candidates, and one chance too many
        (STRICT, 0.25, 0.05, None, None),
        ("prose.rhythm", 0.25, 0.01, None, None),  # no better direction
    ],
)
def test_a_row_has_a_tone_only_where_something_is_shown(
    metric: str, value: float, p: float, holm: float | None, tone: str | None
) -> None:
    assert tone_of(moved(metric, value, p, holm)) == tone


@pytest.mark.parametrize(
    ("metric", "values", "shown"),
    [
        ("prose.H", (30.137, 12.28, 47.96), "30.1 [12.3, 48.0]"),
        ("prose.slop", (4.399, 1.39, 9.18), "4.40 [1.39, 9.18]"),
        ("prose.rhythm", (0.4377, 0.379, 0.517), "0.438 [0.379, 0.517]"),
        ("kld.mean", (0.01276, 0.01095, 0.0165), "0.01276 [0.01095, 0.01650]"),
        ("ifeval.strict.keywords:existence", (0.5, 0.25, 1.0), "50.00 [25.0, 100.0]"),
    ],
)
def test_figures_have_the_digits_that_mean_something(
    metric: str, values: tuple[float, float, float], shown: str
) -> None:
    value, low, high = values
    assert figure(metric, Estimate(value=value, low=low, high=high, n=8)) == shown


def test_percent_stands_where_it_is_printed() -> None:
    assert label("ifeval.strict.keywords") == "ifeval.strict.keywords %"
    assert label("prose.refused") == "prose.refused %"
    assert label("prose.H") == "prose.H"


def test_a_terminal_s_commands_are_taken_out_of_names() -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    grid = Grid("t", ("a",), (("[red]x\x1b[31my",),), ("worse",))
    console.print(rich_table(grid))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x [31my" in told
    assert "\x1b[31m" in told.replace("[red]x [31my", "")  # the row's own colour
    assert "x\x1b" not in told
    assert markdown(Grid("t", ("a",), ())) == "**t**\n\n| a   |\n|-----|\n"


def test_movers_name_their_largest_parts() -> None:
    parts = {"loop": -50.0, "slop": -2.0, "rep3g": 1.0, "rhythm": 0.6, "openers": 0.1}
    mover = Mover(task="prose", prompt_id="a", sample=0, baseline=60.0, candidate=9.7, parts=parts)
    assert why(mover) == "loop -50.0, slop -2.0, rep3g +1.0"
    assert mover.why == "loop"
    assert movers_grid([mover]).rows == (
        ("prose", "a", "60.0", "9.7", "-50.3", "loop -50.0, slop -2.0, rep3g +1.0"),
    )


def weighin(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search.cli", *arguments]
    own = os.environ | more
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=own)


def test_the_command_compares_several_and_colours_nothing_in_a_pipe(tmp_path: Path) -> None:
    make_run(tmp_path / "base")
    make_run(tmp_path / "one", changed(p0="a, comma", mill=""))
    make_run(tmp_path / "two")
    done = weighin("compare", "base", "one", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for told in (
        "one against base, 7 pairs",
        "two against base",
        "p, Holm",
        "asked by instruction",
    ):
        assert told in done.stdout
    found = json.loads(weighin("compare", "base", "one", "--json", cwd=tmp_path).stdout)
    assert [c["candidate"] for c in found["comparisons"]] == ["one"]
    wrong = weighin("compare", "base", "one", "--format", "pdf", cwd=tmp_path)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
