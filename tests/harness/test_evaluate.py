"""A run with a real model: killed and gone on with, refused where it is not the same run."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from harness.engine.llama import EngineError
from harness.evaluate import Chat, check_gguf, run_waves
from harness.prompts import load_prompt_set
from harness.runs import Completion, Run, Usage
from harness.settings import GREEDY, EngineSettings, parse_engine_settings
from harness.waves import Task, Turn, in_turn, plan_waves
from metrics.errors import WeighinError

ARGUMENTS = ["--tasks", "mini,prose", "--limit", "6", "--max-tokens", "12", "--wave", "3"]
ARGUMENTS += ["--threads", "1", "--parallel", "2"]
FILES = ("completions.jsonl", "scores.jsonl", "summary.json", "prompts.jsonl")


def weighin(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def evaluate(model: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return weighin("eval", str(model), *ARGUMENTS, "--out", str(folder), *more)


@pytest.fixture(scope="module")
def whole(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = evaluate(smollm2_gguf, folder)
    assert done.returncode == 0, done.stderr
    return folder


def same(a: Path, b: Path) -> bool:
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in FILES)


def test_waves_are_slices_of_one_task_each() -> None:
    prompts = load_prompt_set("mini", limit=5)
    waves = plan_waves([Task(prompts, GREEDY), Task(prompts, GREEDY, samples=2)], 4)
    assert [(w.task, len(w.asks)) for w in waves] == [(0, 4), (0, 1), (1, 4), (1, 4), (1, 2)]
    assert [a.sample for a in waves[2].asks] == [0, 1, 0, 1]


def test_looks_bring_every_task_to_the_same_share() -> None:
    prompts = load_prompt_set("mini", limit=8)
    tasks = [Task(prompts, GREEDY), Task(prompts, GREEDY, samples=2)]
    waves = plan_waves(tasks, 3, order=1, looks=(0.25, 0.5))
    assert [(w.task, len(w.asks)) for w in waves] == [
        *[(0, 2), (1, 3), (1, 1)],
        *[(0, 2), (1, 3), (1, 1)],
        *[(0, 3), (0, 1), (1, 3), (1, 3), (1, 2)],
    ]
    # the same shuffled answers as without looks, in the same order within a task
    plain = plan_waves(tasks, 3, order=1)
    for task in (0, 1):
        assert [a for w in waves if w.task == task for a in w.asks] == [
            a for w in plain if w.task == task for a in w.asks
        ]


def test_a_task_of_one_prompt_is_done_at_the_first_look() -> None:
    waves = plan_waves([Task(load_prompt_set("mini", limit=1), GREEDY)], 4, looks=(0.1, 0.5))
    assert [len(w.asks) for w in waves] == [1]


def test_waves_keep_to_the_plan_or_to_whoever_names_the_turn() -> None:
    planned = ["a", "b", "a", "b", "b"]
    assert list(in_turn(planned)) == [0, 1, 2, 3, 4]
    asked: list[Sequence[str]] = []

    def last_first(tasks: Sequence[str]) -> str:
        asked.append(tasks)
        return tasks[-1]

    # a task's own waves stay in their order; one task alone is not asked about
    assert list(in_turn(planned, last_first)) == [1, 3, 4, 0, 2]
    assert asked == [("a", "b")] * 3
    # whose turn it is stands first
    asked.clear()
    assert list(in_turn(planned, lambda tasks: (asked.append(tasks), tasks[0])[1])) == [*range(5)]
    assert asked == [("a", "b"), ("b", "a"), ("a", "b")]


@pytest.mark.model
def test_another_turn_gives_the_same_answers_and_is_gone_on_with(
    smollm2_gguf: Path, tmp_path: Path
) -> None:
    mini, prose = load_prompt_set("mini", limit=4), load_prompt_set("prose", limit=4)
    sampling = GREEDY.model_copy(update={"max_tokens": 8})
    tasks = [Task(mini, sampling), Task(prose, sampling)]
    settings = EngineSettings(parallel=2, wave=2, threads=1, context=1536)

    def made(folder: Path, turn: Turn | None, n_waves: int = 99) -> list[Completion]:
        waves = run_waves(smollm2_gguf, tasks, folder, settings=settings, chat=Chat(), turn=turn)
        with closing(waves):
            for _ in zip(range(n_waves), waves, strict=False):
                pass
        return Run(folder).completions()

    plain = made(tmp_path / "plain", None)
    turned = made(tmp_path / "turned", lambda tasks: tasks[-1])
    assert [c.task for c in turned] == ["prose"] * 4 + ["mini"] * 4
    assert turned == plain[4:] + plain[:4]
    # begun with prose, then left to the plan: what was kept is not asked again
    assert len(made(tmp_path / "half", lambda tasks: tasks[-1], n_waves=1)) == 2
    # killed between the answers and their count: they are counted when it goes on
    half = Run(tmp_path / "half")
    half.write_header(half.header().model_copy(update={"usage": Usage()}))
    assert [c.task for c in made(tmp_path / "half", None)] == [
        *["prose"] * 2,
        *["mini"] * 4,
        *["prose"] * 2,
    ]
    assert half.header().usage.n_tokens == sum(c.n_tokens for c in plain)
    assert half.header().usage.n_prompt_tokens == sum(c.n_prompt_tokens for c in plain)


@pytest.mark.parametrize("looks", [(0.5, 0.25), (0.0,), (1.5,), (0.5, 0.5)])
def test_looks_that_do_not_rise_are_refused(looks: tuple[float, ...]) -> None:
    with pytest.raises(WeighinError, match=r"--looks: .*shares must rise"):
        parse_engine_settings(looks=looks)


@pytest.mark.model
def test_a_run_tells_everything(whole: Path, smollm2_gguf: Path) -> None:
    header = Run.open(whole).header()
    assert header.model.file == smollm2_gguf.name
    assert header.model.n_parameters == 134515008
    assert (header.engine.parallel, header.engine.threads, header.engine.wave) == (2, 1, 3)
    assert header.engine.context is not None
    assert [t.name for t in header.tasks] == ["mini", "prose"]
    completions = Run.open(whole).completions()
    assert header.usage.n_tokens == sum(c.n_tokens for c in completions)
    assert len(completions) == 12
    assert all(c.n_tokens <= 12 for c in completions)


@pytest.mark.model
def test_two_runs_are_equal_to_the_byte(whole: Path, smollm2_gguf: Path, tmp_path: Path) -> None:
    assert evaluate(smollm2_gguf, tmp_path / "again").returncode == 0
    assert same(whole, tmp_path / "again")


@pytest.mark.model
@pytest.mark.parametrize("n_waves", [0, 1, 3])
def test_a_killed_run_ends_as_if_never_stopped(
    whole: Path, smollm2_gguf: Path, tmp_path: Path, n_waves: int
) -> None:
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "search.cli", "eval", str(smollm2_gguf), *ARGUMENTS]
    process = subprocess.Popen([*command, "--out", str(folder)], stderr=subprocess.DEVNULL)
    path = folder / ("completions.jsonl" if n_waves else "run.json")
    while process.poll() is None:
        if path.is_file() and path.read_text("utf-8").count("\n") >= 3 * n_waves:
            process.kill()
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    done = evaluate(smollm2_gguf, folder)
    assert done.returncode == 0, done.stderr
    assert same(whole, folder)


@pytest.mark.model
def test_a_finished_run_is_not_made_again(whole: Path, smollm2_gguf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    before = (folder / "completions.jsonl").stat().st_mtime_ns
    assert evaluate(smollm2_gguf, folder).returncode == 0
    assert (folder / "completions.jsonl").stat().st_mtime_ns == before


@pytest.mark.model
def test_ctrl_c_keeps_the_waves_and_ends_with_130(smollm2_gguf: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "search.cli", "eval", str(smollm2_gguf), *ARGUMENTS]
    process = subprocess.Popen([*command, "--out", str(folder)], stderr=subprocess.PIPE, text=True)
    while not (folder / "completions.jsonl").is_file() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert told.splitlines()[-1] == "weighin: interrupted"
    assert len(Run.open(folder).completions()) % 3 == 0


@pytest.mark.model
def test_a_folder_of_other_settings_is_refused_by_name(whole: Path, smollm2_gguf: Path) -> None:
    done = evaluate(smollm2_gguf, whole, "--seed", "1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "holds a run of other settings" in done.stderr
    assert "sampling.seed: 1 != 0" in done.stderr


@pytest.mark.model
def test_a_full_disk_is_one_line_and_keeps_what_was_whole(
    smollm2_gguf: Path, tmp_path: Path
) -> None:
    # no file of this process or its child may grow beyond 4 KiB: prompts fit nowhere
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "search.cli", "eval", str(smollm2_gguf), *ARGUMENTS]
    limit = f"ulimit -f 4; exec {shlex.join([*command, '--out', str(folder)])}"
    done = subprocess.run(["bash", "-c", limit], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.model
def test_a_failed_load_leaves_no_folder(smollm2_gguf: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm2_gguf.read_bytes()[: 60 * 2**20])
    done = evaluate(cut, tmp_path / "run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "data is not within the file bounds, model is corrupted or incomplete" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocab.gguf"
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    with pytest.raises(EngineError, match="a vocabulary without weights"):
        check_gguf(path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m-00001-of-00002.gguf"
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint16("split.no", 0)
    writer.add_uint16("split.count", 2)
    writer.add_int32("split.tensors.count", 2)
    writer.add_tensor("token_embd.weight", np.zeros((32, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = evaluate(path, tmp_path / "run")
    assert done.returncode == 2
    assert "m-00002-of-00002.gguf" in done.stderr


@pytest.mark.model
def test_a_prompt_longer_than_the_context_is_named(smollm2_gguf: Path, tmp_path: Path) -> None:
    done = evaluate(smollm2_gguf, tmp_path / "run", "--context", "32")
    assert done.returncode == 2
    assert "tokens do not fit a context of 32; raise --context" in done.stderr


@pytest.mark.model
def test_json_is_one_object_with_intervals(whole: Path, smollm2_gguf: Path) -> None:
    done = evaluate(smollm2_gguf, whole, "--json")
    told = json.loads(done.stdout)
    strict = told["metrics"]["mini.prompt_level_strict_acc"]
    assert set(strict) == {"value", "low", "high", "n", "count"}
    assert strict["n"] == 6
    assert strict["low"] <= strict["value"] <= strict["high"]


@pytest.mark.model
def test_a_run_compared_with_itself_keeps_every_gate(whole: Path) -> None:
    gate = ["--min", "mini.prompt_level_strict_acc=0", "--min", "prose.h_delta=0"]
    done = weighin("check", str(whole), "--baseline", str(whole), *gate)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    # two gates, tokenizer and template, and the outcome
    assert [line.split()[0] for line in lines] == ["kept"] * 4 + ["kept:"]
    broken = weighin(
        "check", str(whole), "--baseline", str(whole), "--min", "prose.h_delta=0.5", "--json"
    )
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["kept"] is False
