"""Divergence of two files: against llama.cpp's own tool, against itself, and refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.divergence import DivergenceError, FileTexts, RunTexts, measure_divergence, windows
from harness.runs import Run
from harness.settings import EngineSettings
from metrics.stats import Estimate

TEXT = Path(__file__).parent / "golden" / "kld.txt"
SETTINGS = EngineSettings(threads=1)

Q4_0 = 2
ALL_F32 = 0

# What llama-perplexity of the installed library's revision (llama-cpp-python 0.3.36) says, built
# from its vendor/llama.cpp and run on what `files` makes:
#   llama-perplexity -m base32.gguf -f kld.txt -c 128 -t 1 -fa off -ctk f32 -ctv f32 \
#     --kl-divergence-base base.bin
#   llama-perplexity -m cand32.gguf -c 128 -t 1 -fa off -ctk f32 -ctv f32 \
#     --kl-divergence-base base.bin --kl-divergence
LLAMA_CPP_F32 = {
    "kld.mean": 0.324980,
    "kld.median": 0.244703,
    "kld.p99": 1.572261,
    "kld.max": 2.138834,
    "kld.same_top": 0.65306,
    "kld.ppl_baseline": 94.680958,
    "kld.ppl_candidate": 108.740692,
    "kld.ppl_ratio": 1.148496,
}
# the same with the quantised files themselves, base.gguf and cand.gguf; 99 % and maximum are left
# out, since a quantised model's single tokens move with what shares their batch: by the tool's own
# -fa on and -fa off the 99 % quantile is 1.541 or 1.651
LLAMA_CPP_QUANTISED = {
    "kld.mean": 0.332598,
    "kld.median": 0.250267,
    "kld.same_top": 0.65760,
    "kld.ppl_baseline": 94.861791,
    "kld.ppl_candidate": 109.446446,
    "kld.ppl_ratio": 1.153746,
}


def quantise(source: Path, target: Path, kind: int) -> Path:
    """llama.cpp's quantiser, in a process of its own since it talks on the terminal."""
    code = (
        "import sys, llama_cpp as l; p = l.llama_model_quantize_default_params(); "
        "p.allow_requantize = True; p.nthread = 1; p.ftype = int(sys.argv[3]); "
        "sys.exit(l.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), p))"
    )
    command = [sys.executable, "-c", code, str(source), str(target), str(kind)]
    subprocess.run(command, check=True, capture_output=True)
    return target


@pytest.fixture(scope="module")
def q4_0(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantise(smollm2_gguf, tmp_path_factory.mktemp("kld") / "cand.gguf", Q4_0)


@pytest.fixture(scope="module")
def run(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    from harness.evaluate import Chat
    from harness.tasks import load_tasks
    from harness.weigh import weigh

    folder = tmp_path_factory.mktemp("runs") / "baseline"
    tasks = load_tasks(["mini"], limit=4, max_tokens=12)
    return weigh(smollm2_gguf, tasks, folder, settings=SETTINGS, chat=Chat())


def values(metrics: dict[str, Estimate]) -> dict[str, float]:
    return {name: e.value for name, e in metrics.items() if e.value is not None}


def test_windows_are_asked_in_their_second_half() -> None:
    found = windows(list(range(1, 12)), 4, [])
    assert [list(p.tokens) for p in found] == [[1, 2, 3, 4], [5, 6, 7, 8]]
    # of four tokens the fourth alone, given the three before it
    assert {p.first for p in found} == {3}
    assert list(windows([5, 6, 7, 8, 9], 4, [1])[0].tokens) == [1, 6, 7, 8]
    assert windows([1, 2, 3], 4, []) == []


@pytest.mark.model
@pytest.mark.slow
def test_every_figure_is_that_of_llama_cpp(smollm2_gguf: Path, q4_0: Path, tmp_path: Path) -> None:
    base = quantise(smollm2_gguf, tmp_path / "base32.gguf", ALL_F32)
    cand = quantise(q4_0, tmp_path / "cand32.gguf", ALL_F32)
    report = measure_divergence(base, cand, FileTexts(TEXT, 128), settings=SETTINGS)
    assert (report.n_texts, report.n_tokens) == (7, 7 * 63)
    assert values(report.metrics) == pytest.approx(LLAMA_CPP_F32, rel=0.01)
    assert all(e.low is not None and e.high is not None for e in report.metrics.values())


@pytest.mark.model
@pytest.mark.slow
def test_figures_of_quantised_files_are_those_of_llama_cpp(smollm2_gguf: Path, q4_0: Path) -> None:
    report = measure_divergence(smollm2_gguf, q4_0, FileTexts(TEXT, 128), settings=SETTINGS)
    found = values(report.metrics)
    # llama.cpp's kernels for quantised weights differ with a processor's vector instructions
    assert {name: found[name] for name in LLAMA_CPP_QUANTISED} == pytest.approx(
        LLAMA_CPP_QUANTISED, rel=0.03
    )


@pytest.mark.model
def test_a_model_does_not_diverge_from_itself(smollm2_gguf: Path, run: Run) -> None:
    report = measure_divergence(smollm2_gguf, smollm2_gguf, RunTexts(run), settings=SETTINGS)
    assert report.n_texts == 4
    # twelve tokens an answer: the text spells as the tokens that made it, or nearly so
    assert report.n_tokens == pytest.approx(48, abs=6)
    found = values(report.metrics)
    assert (found["kld.mean"], found["kld.max"]) == (0, 0)
    assert (found["kld.same_top"], found["kld.ppl_ratio"]) == (1, 1)
    # greedy answers are likely to the model that gave them
    assert found["kld.ppl_baseline"] < 3


@pytest.mark.model
def test_command_prints_one_json_object(smollm2_gguf: Path, q4_0: Path, run: Run) -> None:
    command = [sys.executable, "-m", "search.cli", "kld", str(q4_0), "--json", "--threads", "1"]
    command += ["--baseline", str(smollm2_gguf), "--run", str(run.folder), "--limit", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["n_texts"], told["candidate"]) == (2, "cand.gguf")
    assert told["metrics"]["kld.mean"]["value"] > 0


@pytest.mark.model
def test_a_run_of_another_file_is_refused(smollm2_gguf: Path, q4_0: Path, run: Run) -> None:
    with pytest.raises(DivergenceError, match="not this baseline"):
        measure_divergence(q4_0, smollm2_gguf, RunTexts(run), settings=SETTINGS)


@pytest.mark.model
def test_a_text_too_short_for_a_window_is_refused(smollm2_gguf: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("The sea, the sea.", encoding="utf-8")
    with pytest.raises(DivergenceError, match="do not fill a window of 512"):
        measure_divergence(smollm2_gguf, smollm2_gguf, FileTexts(short), settings=SETTINGS)


@pytest.mark.model
@pytest.mark.slow
def test_two_vocabularies_are_refused(
    smollm2_gguf: Path, checkpoint_of: Callable[..., Path], baseline_of: Callable[..., Path]
) -> None:
    other = baseline_of(checkpoint_of("llama", dtype="float32"), "F32")
    with pytest.raises(DivergenceError, match="only models of one vocabulary"):
        measure_divergence(smollm2_gguf, other, FileTexts(TEXT, 128), settings=SETTINGS)
