"""Checks of real builds: the same file and a finer one pass; coarse, ungated, broken ones do not.

SmolLM2-135M-Instruct, converted and quantised by llama.cpp; few prompts and few tokens.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.evaluate import Chat
from harness.gates.report import CheckReport
from harness.gates.speed import measure_speed
from harness.prompts import load_prompt_set
from harness.runs import Run
from harness.settings import EngineSettings
from tests.search.models import make_adapter

pytestmark = [pytest.mark.model, pytest.mark.slow]

GATES = """\
gates:
  - {metric: mini.empty, of: difference, max: 0.2}
  - {metric: mini.prompt_level_strict_acc, noninferior: 0.9}
  - {metric: file.size_bytes, of: ratio, max: 1.1}
  - {metric: kld.mean, max: 0.1}
  - {metric: kld.same_top1, min: 0.8}
"""
QUICK = """\
gates:
  - {metric: mini.inst_level_strict_acc, min: 0.99}
  - {metric: mini.empty, max: 0.5}
"""
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def weighin(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def build(
    smollm2_checkpoint: Path, converter: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The checkpoint in one of llama.cpp's types; converted once, quantised on first use."""
    from search.export.converter import convert
    from search.export.llama_child import quantize_file

    folder = tmp_path_factory.mktemp("builds")
    convert(smollm2_checkpoint, folder / "plain.gguf", "bf16")

    def get(kind: str) -> Path:
        path = folder / f"{kind}.gguf"
        if not path.exists():
            quantize_file(folder / "plain.gguf", path, kind, imatrix=None, n_threads=1)
        return path

    return get


@pytest.fixture(scope="module")
def baseline(build: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the Q6_K on six prompts, three a wave."""
    folder = tmp_path_factory.mktemp("runs") / "base"
    asked = ("--tasks", "mini", "--limit", 6, "--max-tokens", 24)
    engine = ("--wave", 3, "--threads", 1, "--parallel", 3)
    done = weighin("eval", build("Q6_K"), *asked, *engine, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def judged(
    build: Callable[[str], Path], baseline: Path, tmp_path: Path
) -> Callable[..., tuple[int, CheckReport]]:
    """Checks a GGUF by its path; gives the exit code and the report."""

    def get(model: Path, gates: str = GATES) -> tuple[int, CheckReport]:
        path = tmp_path / "gates.yaml"
        path.write_text(gates)
        against = ("--baseline", baseline, "--baseline-gguf", build("Q6_K"), "--gates", path)
        done = weighin("check", model, *against, "--out", tmp_path / "run", "--json")
        assert done.stdout, done.stderr
        told = json.loads(done.stdout)
        told.pop("kept")
        return done.returncode, CheckReport.model_validate(told)

    return get


def broken(report: CheckReport) -> list[str]:
    return [v.gate.metric if v.gate else v.name for v in report.verdicts if v.status == "broken"]


def test_the_same_file_passes(
    build: Callable[[str], Path], judged: Callable[..., tuple[int, CheckReport]]
) -> None:
    code, report = judged(build("Q6_K"))
    assert (code, broken(report)) == (0, [])
    found = {v.gate.metric: v.found for v in report.verdicts if v.gate and v.found}
    assert found["kld.mean"].value == 0
    assert found["mini.prompt_level_strict_acc"].value == 0
    assert report.comparison is not None


def test_q8_0_against_q6_k_passes_and_its_run_can_be_judged_again(
    build: Callable[[str], Path],
    judged: Callable[..., tuple[int, CheckReport]],
    baseline: Path,
    tmp_path: Path,
) -> None:
    code, report = judged(build("Q8_0"))
    assert (code, broken(report)) == (0, [])
    assert report.n_answers == 6
    # the divergence is kept in the run, so that the folder alone can be judged by the same gates
    again = weighin(
        "check", tmp_path / "run", "--baseline", baseline, "--gates", tmp_path / "gates.yaml"
    )
    assert again.returncode == 0, again.stderr
    assert "kept      kld.mean <= 0.1" in again.stdout


def test_q2_k_breaks_and_shows_where(
    build: Callable[[str], Path], judged: Callable[..., tuple[int, CheckReport]]
) -> None:
    code, report = judged(build("Q2_K"))
    assert code == 1
    assert broken(report) == ["kld.mean", "kld.same_top1"]
    assert len(report.verdicts[0].telling) == 3
    # nothing was generated for a verdict that was certain
    assert (report.run, report.n_answers) == (None, 0)
    assert {v.status for v in report.verdicts if v.name.startswith("mini.")} == {"skipped"}


def test_a_merge_without_gates_breaks(
    build: Callable[[str], Path],
    judged: Callable[..., tuple[int, CheckReport]],
    smollm2_checkpoint: Path,
    tmp_path: Path,
) -> None:
    adapter = make_adapter(
        tmp_path / "a", smollm2_checkpoint, rank=8, seed=1, targets=LINEAR, strength=0.2
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"it: {smollm2_checkpoint}\nbaseline: {build('Q6_K')}\n"
        f"adapters: [{adapter}]\nmerge: {{s: 1.0}}\n"
    )
    merged = tmp_path / "merged.gguf"
    made = weighin("build", recipe, "-o", merged)
    assert made.returncode == 0, made.stderr
    code, report = judged(merged)
    assert code == 1
    assert "kld.mean" in broken(report)


def test_it_ends_after_the_wave_that_makes_it_certain(
    build: Callable[[str], Path], judged: Callable[..., tuple[int, CheckReport]]
) -> None:
    code, report = judged(build("Q6_K"), QUICK)
    assert code == 1
    assert (report.n_answers, report.n_answers_all) == (3, 6)
    first = report.verdicts[0]
    assert first.why.startswith("certain after 3 of 6 answers: at most ")
    assert first.telling
    assert report.run is not None
    assert len(Run(Path(report.run)).completions()) == 3
    assert not (Path(report.run) / "summary.json").exists()


@pytest.mark.parametrize(
    ("key", "old", "new", "name", "told"),
    [
        ("tokenizer.chat_template", b"<|im_start|>", b"<|im_stort|>", "chat template", "tokens"),
        ("tokenizer.chat_template", b"{% for", b"{% far", "chat template", "far"),
        ("tokenizer.ggml.tokens", "Ġthe".encode(), "Ġtqe".encode(), "tokenizer", "tokens"),
        ("tokenizer.ggml.pre", b"smollm", b"nosuch", "tokenizer", "unknown pre-tokenizer type"),
    ],
)
def test_a_broken_tokenizer_or_template_breaks_at_once(
    build: Callable[[str], Path],
    judged: Callable[..., tuple[int, CheckReport]],
    tmp_path: Path,
    key: str,
    old: bytes,
    new: bytes,
    name: str,
    told: str,
) -> None:
    path = tmp_path / "broken.gguf"
    shutil.copyfile(build("Q6_K"), path)
    with path.open("r+b") as file:
        head = file.read(8 << 20)
        start = head.index(key.encode())
        # the first place behind the key: of the same length, so that nothing moves
        file.seek(head.index(old, start))
        file.write(new)
    code, report = judged(path)
    assert code == 1
    assert broken(report) == [name]
    assert told in report.verdicts[0].why
    assert report.run is None


def test_speed_is_measured_on_both_files_in_turn(build: Callable[[str], Path]) -> None:
    prompts = load_prompt_set("mini", limit=3).prompts
    settings = EngineSettings(threads=1, parallel=3)
    files = build("Q6_K"), build("Q8_0")
    speeds = measure_speed(*files, prompts, settings=settings, chat=Chat(), rounds=2)
    assert [speed.n for speed in speeds] == [2, 2, 2]
    before, after, ratio = (speed.value for speed in speeds)
    assert before is not None and after is not None and ratio is not None
    assert min(before, after) > 0
    assert 0.2 < ratio < 5  # of one size and one kind; anything closer would time the machine
