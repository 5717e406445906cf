"""Checks of runs on disk: verdicts, their order, what is printed first, and certain ends."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.comparison.compare import PairedRuns
from harness.evaluate import Chat
from harness.gates.check import Check
from harness.gates.figures import Figures
from harness.gates.file import read_gates
from harness.gates.foregone import foregone_of
from harness.gates.formats import to_junit, to_lines, to_markdown
from harness.gates.gates import Gate, GateError, judge, noninferior
from harness.gates.report import CheckReport
from harness.gates.watch import Watch
from harness.runs import Run
from harness.scoring import Scoring

from .made_runs import LOOP, changed, make_run
from .test_runs import header

STRICT = "asked.prompt_level_strict_acc"


@pytest.fixture
def base(tmp_path: Path) -> Run:
    return make_run(tmp_path / "base")


def check(base: Run, candidate: Run, *gates: Gate) -> CheckReport:
    return Check(base, gates, Scoring(), Chat()).run(candidate)


def least(metric: str, bound: float, of: str = "difference", side: str = "min") -> Gate:
    return Gate(metric=metric, side=side, bound=bound, of=of)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gate", "value"),
    [
        (least(STRICT, 0), -0.25),
        (least(STRICT, 0, "value"), 0.5),
        (least(STRICT, 0, "ratio"), 2 / 3),
        (least("asked.inst_level_strict_acc", 0, "value"), 0.6),
        (least("asked.strict.punctuation", 0), -1 / 3),
        (least("asked.loose.punctuation:no_comma", 0), -1 / 3),
        (least("told.looping", 0, "value"), 1 / 3),
        (least("file.size_bytes", 0, "ratio"), 1.0),
        (least("file.size_bytes", 0, "value"), 10),
    ],
)
def test_every_kind_of_figure_can_be_gated(
    base: Run, tmp_path: Path, gate: Gate, value: float
) -> None:
    # p0 fails now, so two of four prompts and three of five instructions are followed
    candidate = make_run(tmp_path / "cand", changed(p0="a, comma", mill=LOOP))
    found = {v.name: v.found for v in check(base, candidate, gate).verdicts}[str(gate)]
    assert found is not None
    assert found.value == pytest.approx(value)


def test_the_same_run_passes_and_a_worse_one_is_shown(base: Run, tmp_path: Path) -> None:
    gates = (noninferior("told.H", 1, 0.95), least(STRICT, 0))
    assert check(base, make_run(tmp_path / "same"), *gates).exit_code == 0
    worse = make_run(tmp_path / "worse", changed(p2="No, comma", mill=LOOP))
    report = check(base, worse, *gates)
    assert report.exit_code == 1
    lines = to_lines(report)
    assert lines[0].startswith("BROKEN    told.H - baseline > -1 (95 % interval): short by")
    assert lines[1].startswith("  told/mill: H ")
    assert "loop -" in lines[1]
    assert lines[2] == "    prompt: Write of mill."
    told = [line for line in lines if "p2" in line]
    assert told == [
        "  asked/p2: no longer follows punctuation:no_comma, change_case:english_lowercase"
    ]
    assert lines[-1] == "broken: 2 broken of 4 checks; 7 of 7 answers judged"


def test_at_most_three_prompts_tell(base: Run, tmp_path: Path) -> None:
    worse = make_run(tmp_path / "w", changed(p0=", ", p1=", x", p2="A, b", p3="A"))
    (verdict,) = [v for v in check(base, worse, least(STRICT, 0.9, "value")).verdicts if v.gate]
    assert [t.prompt_id for t in verdict.telling] == ["p0", "p2", "p3"]
    # p1 was never followed: a gate on the value shows it as well, after those that were lost
    assert verdict.telling[0].why == "no longer follows punctuation:no_comma"


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (least("asked.prompt_level_strict", 0), "did you mean asked.prompt_level_strict_acc?"),
        (least("ifeval.H", 0), "the baseline was asked asked, told"),
        (least("kld.means", 0, "value"), "did you mean kld.mean?"),
        (least("kld.mean", 0), "it is a comparison with the baseline already"),
        (least("asked.strict.keywords", 0), "no such metric is measured"),
        (
            Gate(metric="file.size_bytes", side="max", bound=1, of="ratio", confidence=0.95),
            "it has no interval",
        ),
        (
            Gate(metric="kld.mean", side="max", bound=1, of="value", confidence=0.9),
            "its interval is a 95 % one",
        ),
    ],
)
def test_a_gate_that_nobody_can_judge_is_refused_at_once(base: Run, gate: Gate, told: str) -> None:
    with pytest.raises(GateError) as error:
        Check(base, (gate,), Scoring(), Chat())
    assert told in str(error.value)


def test_a_gate_of_a_file_is_refused_with_its_line(base: Run, tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text("gates:\n  - {metric: told.H, min: 0}\n  - {metric: told.h, min: 0}\n")
    with pytest.raises(GateError, match=r"gates\.yaml:3: gate on told\.h: .* mean told\.H\?"):
        Check(base, tuple(read_gates(path)), Scoring(), Chat())


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (least("kld.mean", 0.1, "value", "max"), "keeps no divergence from this baseline"),
        (least("speed.tokens_per_second", 0.9, "ratio"), "a run cannot be timed"),
    ],
)
def test_what_a_run_does_not_hold_is_said(base: Run, tmp_path: Path, gate: Gate, told: str) -> None:
    with pytest.raises(GateError, match=told):
        check(base, make_run(tmp_path / "cand"), gate)


def test_a_run_whose_prompts_were_read_otherwise_breaks_at_once(base: Run, tmp_path: Path) -> None:
    gate = least(STRICT, -1)
    tokens = check(base, make_run(tmp_path / "tokens", n_prompt_tokens=8), gate)
    assert tokens.exit_code == 1
    assert [(v.name, v.status) for v in tokens.verdicts] == [
        ("tokenizer", "broken"),
        (str(gate), "skipped"),
    ]
    assert tokens.verdicts[0].telling[0].why == "7 tokens in the baseline, 8 now"
    chat = header().chat.model_copy(update={"template_sha256": "c" * 64})
    template = check(base, make_run(tmp_path / "t", n_prompt_tokens=8, chat=chat), gate)
    assert [v.name for v in template.verdicts if v.status == "broken"] == ["chat template"]
    # as many tokens, but others: the runs recorded a hash of them
    hashed = [
        make_run(tmp_path / name, prompt_tokens_sha256={"asked": digest, "told": "x"})
        for name, digest in (("a", "0"), ("b", "1"))
    ]
    other = check(hashed[0], hashed[1], gate)
    assert other.verdicts[0].why == "the prompts have as many tokens, but others"


def test_junit_has_a_case_a_gate_and_escapes_what_models_say(base: Run, tmp_path: Path) -> None:
    worse = make_run(tmp_path / "w", changed(p0="</failure>, \x1b[31m & | `x`"))
    report = check(base, worse, least(STRICT, 0), noninferior("told.H", 1, 0.95))
    root = ElementTree.fromstring(to_junit(report))
    assert (root.attrib["tests"], root.attrib["failures"]) == ("4", "1")
    (failure,) = root.iter("failure")
    assert failure.text is not None
    assert "</failure>,  [31m & | `x`" in failure.text
    markdown = to_markdown(report)
    assert markdown.startswith("### broken: 1 broken of 4 checks")
    assert r"&lt;/failure\>,  [31m & \| \`x\`" in markdown
    assert "\x1b" not in "".join(to_lines(report))


def test_a_report_comes_back_from_its_json(base: Run, tmp_path: Path) -> None:
    report = check(base, make_run(tmp_path / "cand"), least(STRICT, 0))
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


def watched(base: Run, candidate: Run, gates: Sequence[Gate], n: int) -> Watch:
    """A watch that has seen the candidate's first answers, one a wave."""
    watch = Watch(gates, base, Scoring())
    for completion in candidate.completions()[:n]:
        if watch.see(candidate, [completion]) is not None:
            break
    return watch


def test_an_end_is_certain_when_no_answer_can_change_it(base: Run, tmp_path: Path) -> None:
    worse = make_run(tmp_path / "w", changed(p0="a, b", p1="a, b", p2="a, b", p3="A"))
    # 3 of 4 are asked for; after two failures the rest can bring it to 2 of 4
    gate = least(STRICT, 0.75, "value")
    assert not watched(base, worse, [gate], 1).stopped
    watch = watched(base, worse, [gate], 4)
    assert watch.stopped
    assert len(watch.scores) == 2
    (found,) = watch.certain()
    assert found[1:] == (
        "broken",
        "certain after 2 of 4 answers: at most 50 % whatever the others are",
    )


def test_a_kept_verdict_is_certain_only_if_every_gate_s_is(base: Run, tmp_path: Path) -> None:
    same = make_run(tmp_path / "same")
    sure = least(STRICT, 0.25, "value")
    assert len(watched(base, same, [sure], 7).scores) == 1  # p0 passes: at least 1 of 4
    open_ = least("told.H", 40, "value", "max")
    assert not watched(base, same, [sure, open_], 6).stopped
    # an interval is known at the end only, a word count has no largest value
    tested = noninferior(STRICT, 0.9, 0.95)
    assert not watched(base, same, [tested], 7).stopped
    assert not watched(base, same, [least("told.word_count", 60, "value")], 6).stopped


@pytest.mark.parametrize("of", ["value", "difference", "ratio"])
@pytest.mark.parametrize("side", ["min", "max"])
@pytest.mark.parametrize(
    "metric",
    [STRICT, "asked.inst_level_loose_acc", "told.H", "told.looping", "asked.strict.punctuation"],
)
def test_what_is_certain_is_what_comes_out(
    base: Run, tmp_path: Path, metric: str, side: str, of: str
) -> None:
    # whatever bound: a verdict that is certain after some answers is the whole run's
    candidate = make_run(tmp_path / "c", changed(p0="a, b", p1="fine", mill="", dogs=LOOP))
    n_certain = 0
    figures = Figures((1, 1), PairedRuns(base, candidate))
    for bound in (-0.3, 0.0, 0.3, 0.7, 30.0):
        gate = least(metric, bound, of, side)
        whole = judge(gate, figures.find(gate)).status
        watch = Watch([gate], base, Scoring())
        for completion in candidate.completions():
            watch.see(candidate, [completion])
            n_certain += len(watch.certain())
            assert {status for _, status, _ in watch.certain()} <= {whole}
    # no answer of the baseline's loops, so that a ratio of them is undefined
    assert n_certain > 0 or (of == "ratio" and metric == "told.looping")


def test_a_figure_that_has_no_bound_cannot_be_foregone(base: Run) -> None:
    kinds = {task.name: task.kind for task in base.header().tasks}
    answers = {(s.task, s.prompt_id, s.sample): (s, None) for s in base.scores()}
    for metric in ("told.slop", "told.xrep3", "told.rhythm", "kld.mean"):
        assert foregone_of(least(metric, 0), kinds, answers, base.prompt_sets()) is None


def weighin(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_the_commands_write_what_they_are_asked_for(base: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "cand", changed(p0="a, comma"))
    made = weighin("gates", "init", "--baseline", "base", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    again = weighin("gates", "init", cwd=tmp_path)
    assert again.returncode == 2
    assert "gates.yaml: is there already" in again.stderr
    gates = ["--baseline", "base", "--gates", "gates.yaml"]
    files = ["--junit", "j.xml", "--markdown", "m.md", "--json"]
    done = weighin("check", "cand", *gates, *files, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["outcome"], told["kept"]) == ("broken", False)
    assert ElementTree.parse(tmp_path / "j.xml").getroot().attrib["failures"] == "1"
    assert (tmp_path / "m.md").read_text().startswith("### broken: 1 broken of 8 checks")
