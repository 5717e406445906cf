"""Verdict formats: a check's report as a terminal, a pull request or a build server reads it.

A report in, text out. What is broken comes first, with by how much and the prompts that tell most;
text of models is escaped in each form's own way.
"""

from harness.comparison.grids import CONTROLS, Grid, escape_markdown, markdown, plain
from harness.comparison.tables import comparison_grids
from harness.gates.gates import Gate, Telling, Verdict
from harness.gates.report import CheckReport
from harness.tables import UNDEFINED, figure
from metrics.stats import Estimate

WORDS = {
    "kept": "kept     ",
    "broken": "BROKEN   ",
    "undecided": "UNDECIDED",
    "skipped": "skipped  ",
}
"""Of one width, so that the gates stand below each other."""
SUITE = "weighin check"


def to_lines(report: CheckReport) -> list[str]:
    """For a terminal: broken gates with their prompts, then the others, then the outcome."""
    lines = []
    for verdict in report.verdicts:
        lines.append(plain(f"{WORDS[verdict.status]} {_sentence(verdict)}"))
        for telling in verdict.telling:
            lines += [plain(line) for line in _telling_lines(telling)]
    lines.append(_outcome(report))
    return lines


def to_markdown(report: CheckReport) -> str:
    """For a pull request: the outcome, the gates, the telling prompts, the comparison folded."""
    parts = [f"### {_outcome(report)}", ""]
    parts += [
        f"{escape_markdown(report.candidate)} (SHA-256 `{report.candidate_sha256[:12]}`) against "
        f"{escape_markdown(report.baseline.file)} (`{report.baseline.sha256[:12]}`)",
        "",
        markdown(_gates_grid(report)),
    ]
    for verdict in report.verdicts:
        for telling in verdict.telling:
            where = f"{telling.task}/{telling.prompt_id}"
            parts.append(f"- **{escape_markdown(where)}**: {escape_markdown(telling.why)}")
            parts.append(f"  <br>prompt: {escape_markdown(telling.prompt)}")
            if telling.answer:
                parts.append(f"  <br>answer: {escape_markdown(telling.answer)}")
    if report.comparison is not None:
        parts += ["", "<details><summary>Comparison</summary>", ""]
        parts += [markdown(grid) for grid in comparison_grids(report.comparison)]
        parts += [f"- {escape_markdown(note)}" for note in report.comparison.notes]
        parts += ["", "</details>"]
    return "\n".join(parts) + "\n"


def to_junit(report: CheckReport) -> str:
    """JUnit XML: one suite, one test case a gate."""
    from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

    suite = TestSuite(SUITE)
    for name, value in (
        ("candidate", report.candidate),
        ("candidate_sha256", report.candidate_sha256),
        ("baseline", report.baseline.name),
        ("baseline_sha256", report.baseline.sha256),
        ("answers", f"{report.n_answers} of {report.n_answers_all}"),
    ):
        suite.add_property(name, _xml(value))
    for verdict in report.verdicts:
        case = TestCase(_xml(verdict.name), classname=SUITE)
        result = {"broken": Failure, "undecided": Error, "skipped": Skipped}.get(verdict.status)
        if result is not None:
            outcome = result(_xml(_sentence(verdict)), verdict.status)
            outcome.text = _xml(
                "\n".join(line for t in verdict.telling for line in _telling_lines(t))
            )
            case.result = [outcome]
        suite.add_testcase(case)
    xml = JUnitXml(SUITE)
    xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return text.decode() + "\n"


def _outcome(report: CheckReport) -> str:
    counts = {
        status: sum(v.status == status for v in report.verdicts)
        for status in ("broken", "undecided", "skipped")
    }
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    checks = f"{told} of {len(report.verdicts)}" if told else f"all {len(report.verdicts)}"
    answers = f"{report.n_answers} of {report.n_answers_all} answers judged"
    return f"{report.outcome}: {checks} checks; {answers}"


def _sentence(verdict: Verdict) -> str:
    """A verdict in one line: the gate, by how much, and what was found."""
    parts = [verdict.why] if verdict.why else []
    if verdict.gate is not None and verdict.found is not None:
        parts.append(f"found {found_text(verdict.gate, verdict.found)}, n {verdict.found.n}")
    return verdict.name + (": " + "; ".join(parts) if parts else "")


def found_text(gate: Gate, found: Estimate) -> str:
    """What was judged, in the gate's unit: `-8.33 [-20.8, +2.1]`."""
    if found.value is None:
        return UNDEFINED
    if gate.of == "ratio":
        ends = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
        return f"{found.value:.3f}{ends}"
    return figure(gate.metric, found, signed=gate.of == "difference")


def _telling_lines(telling: Telling) -> list[str]:
    lines = [
        f"  {telling.task}/{telling.prompt_id}: {telling.why}",
        f"    prompt: {telling.prompt}",
    ]
    return [*lines, f"    answer: {telling.answer}"] if telling.answer else lines


def _gates_grid(report: CheckReport) -> Grid:
    rows = []
    for verdict in report.verdicts:
        shown = (
            found_text(verdict.gate, verdict.found)
            if verdict.gate is not None and verdict.found is not None
            else UNDEFINED
        )
        n = UNDEFINED if verdict.found is None else str(verdict.found.n)
        rows.append((verdict.status.upper(), verdict.name, shown, n, verdict.why))
    return Grid("gates", ("", "gate", "found [interval]", "n", ""), tuple(rows), n_text=2)


def _xml(text: str) -> str:
    """A text without the characters that XML does not allow."""
    return "\n".join(CONTROLS.sub(" ", line) for line in text.split("\n"))
