"""Runs on disk from scripted answers, hostile ones among them, and Chromium to read them in."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.prompts import Message, Prompt, PromptSet, prompt_from_row
from harness.runs import Completion, Run, TaskSettings
from harness.scoring import score_run
from harness.settings import GREEDY, PROSE
from tests.chromium import browser
from tests.harness.test_runs import header

__all__ = ["browser"]

NO_COMMA, KEYWORDS = "punctuation:no_comma", "keywords:existence"
HOSTILE_ID = "<img src=x onerror=window.hurt=1>"
HOSTILE_TEXT = (
    "</script><script>window.hurt = 2</script> <!-- <b onmouseover='window.hurt = 3'>bold</b> "
    "&lt;i&gt; {{ 7 * 7 }} \U0001f600 end"
)
HOSTILE_RUN = "<svg onload=window.hurt=4> & \"quoted\" 'run'"
HOSTILE_FILE = "<script>window.hurt = 5<script>.gguf"

ASKED = PromptSet(
    name="asked",
    kind="ifeval",
    prompts=tuple(
        prompt_from_row(
            {
                "id": name,
                "prompt": f"Tell me of {name}.",
                "instruction_id_list": [NO_COMMA, KEYWORDS],
                "kwargs": [{}, {"keywords": ["dogs"]}],
            }
            if name == "both"
            else {"id": name, "prompt": f"Tell me of {name}.", "instruction_id_list": [NO_COMMA]}
        )
        for name in ("won", "lost", "both", "never", HOSTILE_ID)
    ),
)
"""Five prompts of two instruction types."""

TOLD = PromptSet(
    name="told",
    kind="prose",
    prompts=tuple(
        Prompt(
            id=name,
            messages=(
                Message(role="system", content="You tell stories."),
                Message(role="user", content=f"Write of the {name}."),
            ),
        )
        for name in ("mill", "rain", "dogs")
    ),
)
"""Three prose prompts."""

PLAIN = (
    "He walked home past the mill, where the wheel had stopped for the night. A lamp burned. "
    "Somebody had left the gate open again, and the two dogs, which nobody owned, lay across "
    "the path as if they had been put there to stop him. They did not get up."
)
SLOP = PLAIN + " Her voice was barely above a whisper, a testament to the tapestry of rain."
LOOP = "It was the end of the day. " * 30

BASELINE = {
    "asked": {
        "won": "a, comma",
        "lost": "no comma at all",
        "both": "dogs bark at the moon",
        "never": "one, two",
        HOSTILE_ID: HOSTILE_TEXT,
    },
    "told": {"mill": PLAIN, "rain": PLAIN, "dogs": PLAIN},
}
CANDIDATE = {
    "asked": {
        "won": "no comma now",
        "lost": "now, a comma",
        "both": "dogs bark at the sun",
        "never": "three, four",
        HOSTILE_ID: HOSTILE_TEXT.replace("end", "end, with a comma"),
    },
    "told": {"mill": SLOP, "rain": LOOP, "dogs": PLAIN},
}
TIMID = {"asked": BASELINE["asked"], "told": BASELINE["told"] | {"mill": LOOP}}
"""A second candidate, which differs in one text."""


def make_run(folder: Path, answers: Mapping[str, Mapping[str, str]], file: str = "m.gguf") -> Run:
    """Write a run's folder, without a model, and score it."""
    asked = header()
    tasks = tuple(
        TaskSettings(
            name=s.name,
            kind=s.kind,
            prompts_sha256=s.sha256,
            n_prompts=len(s.prompts),
            samples=1,
            sampling=GREEDY if s.kind == "ifeval" else PROSE,
        )
        for s in (ASKED, TOLD)
    )
    run = Run(folder)
    run.write_header(
        asked.model_copy(
            update={"tasks": tasks, "model": asked.model.model_copy(update={"file": file})}
        )
    )
    run.write_prompts([ASKED, TOLD])
    run.write_completions(
        Completion(
            task=s.name,
            prompt_id=p.id,
            sample=0,
            text=answers[s.name][p.id],
            n_prompt_tokens=7,
            n_tokens=len(answers[s.name][p.id].split()),
            stop_reason="length" if answers[s.name][p.id] == LOOP else "eos",
        )
        for s in (ASKED, TOLD)
        for p in s.prompts
    )
    score_run(run)
    return run


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A baseline, a candidate of a hostile name, and a timid one."""
    root = tmp_path_factory.mktemp("runs")
    made = {"base": BASELINE, HOSTILE_RUN: CANDIDATE, "timid": TIMID}
    return [make_run(root / name, said, HOSTILE_FILE).folder for name, said in made.items()]


@pytest.fixture(scope="session")
def page_file(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of all three."""
    from harness.report.page import write_page
    from harness.report.report import report_on_runs

    path = tmp_path_factory.mktemp("report") / "report.html"
    _document, html = report_on_runs(folders)
    write_page(html, path)
    return path
