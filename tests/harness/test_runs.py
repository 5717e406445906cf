"""Runs on disk: what is written is read again; what is broken is named."""

import json
from pathlib import Path

import pytest

from harness.chat import TEMPLATE_DATE
from harness.prompts import load_prompt_set
from harness.runs import (
    ASKED,
    ChatSettings,
    Completion,
    Machine,
    ModelFacts,
    Run,
    RunError,
    RunHeader,
    TaskSettings,
    Versions,
    write_whole,
)
from harness.settings import GREEDY, EngineSettings


def header(**changes: object) -> RunHeader:
    prompts = load_prompt_set("mini", limit=4)
    made = RunHeader(
        model=ModelFacts(
            file="m.gguf",
            sha256="a" * 64,
            size_bytes=10,
            architecture="llama",
            quantization="llama Q6_K",
            n_parameters=1,
        ),
        engine=EngineSettings(parallel=2, context=256, threads=1),
        chat=ChatSettings(
            template_sha256="b" * 64,
            template_date=TEMPLATE_DATE,
            thinking=False,
            thinking_rule=None,
        ),
        tasks=(
            TaskSettings(
                name="mini",
                kind="ifeval",
                prompts_sha256=prompts.sha256,
                n_prompts=4,
                samples=1,
                sampling=GREEDY,
            ),
        ),
        machine=Machine(
            platform="Linux x86_64",
            processor="p",
            n_cpus=2,
            memory_gib=24,
            llama_cpp_python="0.3.36",
            system_info="",
        ),
        versions=Versions(weighin="0", commit=None, dirty=None, lm_eval="0.4", python="3.11"),
    )
    return made.model_copy(update=changes)


def completion(text: str) -> Completion:
    return Completion(
        task="mini",
        prompt_id="a",
        sample=0,
        text=text,
        n_prompt_tokens=3,
        n_tokens=2,
        stop_reason="eos",
    )


def test_completions_come_back_verbatim(tmp_path: Path) -> None:
    # U+2028 and U+0085 are line ends to str.splitlines, but not to JSON Lines
    texts = ["", " a\n\tb ", "x\u2028y\u0085z", "\ufffd\x00 \N{WAVING HAND SIGN}"]
    run = Run(tmp_path)
    run.write_completions(map(completion, texts))
    assert [c.text for c in run.completions()] == texts


def test_header_comes_back_equal(tmp_path: Path) -> None:
    Run(tmp_path).write_header(header())
    assert Run.open(tmp_path).header() == header()


def test_differences_name_the_setting() -> None:
    other = header(engine=EngineSettings(parallel=3, context=256, threads=1))
    assert header().differences(other) == ["engine.parallel: 2 != 3"]
    assert header().differences(other, ASKED) == []


def test_versions_and_usage_do_not_make_another_run() -> None:
    versions = Versions(weighin="1", commit="c", dirty=True, lm_eval="0.5", python="3.12")
    assert header().differences(header(versions=versions)) == []


def test_prompts_are_found_again_by_name_and_hash(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_header(header())
    assert [p.sha256 for p in run.prompt_sets()] == [header().tasks[0].prompts_sha256]


def test_a_run_whose_prompts_are_nowhere_says_what_to_put_back(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (task,) = header().tasks
    run.write_header(header(tasks=(task.model_copy(update={"name": "of-my-own"}),)))
    with pytest.raises(RunError, match=r"has no prompts\.jsonl, and of-my-own .*; put the run's"):
        run.prompt_sets()


def test_changed_prompts_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_header(header())
    run.write_prompts([load_prompt_set("mini", limit=4)])
    path = tmp_path / "prompts.jsonl"
    rows = path.read_text("utf-8").splitlines()
    first = json.loads(rows[0])
    first["prompt"]["messages"][-1]["content"] += " please"
    path.write_text("\n".join([json.dumps(first), *rows[1:]]) + "\n", "utf-8")
    with pytest.raises(RunError, match="not those that were run"):
        run.prompt_sets()


def test_a_folder_without_a_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run here"):
        Run.open(tmp_path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_completions([completion("a"), completion("b")])
    path = tmp_path / "completions.jsonl"
    path.write_text(path.read_text("utf-8").replace('"text":"b",', ""), "utf-8")
    with pytest.raises(RunError, match=r"completions\.jsonl:2: .*text"):
        run.completions()


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    write_whole(path, "old")
    (tmp_path / "f.txt.tmp").mkdir()  # the place beside it cannot be opened for writing
    with pytest.raises(RunError, match="cannot be written"):
        write_whole(path, "new")
    assert path.read_text() == "old"
