"""The engine with a real model: facts, repeatable bytes, and llama.cpp's death."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import psutil
import pytest

from harness.engine.engine import Engine
from harness.engine.gpu import Gpu, _ggml, _gpu, find_gpus
from harness.engine.llama import EngineError
from harness.settings import GREEDY, MOST_PARALLEL, EngineSettings, Sampling, parse_engine_settings
from metrics.errors import WeighinError

pytestmark = pytest.mark.model

TEXTS = [
    f"<|im_start|>user\nName three things that are {colour}.<|im_end|>\n<|im_start|>assistant\n"
    for colour in ("red", "green", "cold", "very loud", "round")
]

TIE = 0.2
"""Logits that lie nearer are a tie: which wins hangs on the order in which a processor adds."""


@pytest.fixture(scope="module")
def engine(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    log = tmp_path_factory.mktemp("engine") / "llama.log"
    with Engine(smollm2_gguf, EngineSettings(parallel=3, threads=1), log=log) as opened:
        opened.open(256)
        yield opened


def generate(engine: Engine, sampling: Sampling, texts: list[str] | None = None) -> list[Any]:
    tokens = engine.tokenize(TEXTS if texts is None else texts, add_special=False)
    return engine.generate(tokens, [11 + i for i in range(len(tokens))], sampling)[0]


def test_facts_are_the_models(engine: Engine) -> None:
    assert engine.metadata["general.architecture"] == "llama"
    assert engine.facts["n_parameters"] == 134515008
    assert (engine.facts["bos"], engine.facts["eos"]) == ("<|im_start|>", "<|im_end|>")
    assert "<|im_start|>" in engine.metadata["tokenizer.chat_template"]


def test_special_tokens_are_recognised_in_the_text(engine: Engine) -> None:
    (tokens,) = engine.tokenize(["<|im_start|>user"], add_special=False)
    assert tokens[0] == 1
    assert len(tokens) == 2


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_same_wave_gives_the_same_bytes(engine: Engine, temperature: float) -> None:
    sampling = Sampling(temperature=temperature, max_tokens=12)
    assert generate(engine, sampling) == generate(engine, sampling)


def test_seeds_change_sampled_answers(engine: Engine) -> None:
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, max_tokens=12)
    same_prompt = generate(engine, sampling, [TEXTS[0]] * 3)
    assert len({answer["text"] for answer in same_prompt}) == 3


def test_greedy_equals_llama_cpp_pythons_own_loop(engine: Engine, smollm2_gguf: Path) -> None:
    import llama_cpp

    llama = llama_cpp.Llama(
        str(smollm2_gguf), n_ctx=256, n_threads=1, logits_all=True, verbose=False
    )
    for text in TEXTS[:2]:
        tokens = engine.tokenize([text], add_special=False)
        ((answer,), _) = engine.generate(tokens, [0], GREEDY.model_copy(update={"max_tokens": 16}))
        told = llama.create_completion(tokens[0], max_tokens=16, temperature=0)
        assert gap_where_they_part(llama, text, answer["text"], told["choices"][0]["text"]) < TIE
    llama.close()


def gap_where_they_part(llama: Any, prompt: str, ours: str, theirs: str) -> float:
    """Logits between the first tokens that differ; 0 where none does."""
    one, other = (
        llama.tokenize((prompt + text).encode(), add_bos=False, special=True)
        for text in (ours, theirs)
    )
    parted = [i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y]
    if not parted:
        assert ours == theirs
        return 0.0
    at = parted[0]
    llama.reset()
    llama.eval(other[:at])
    logits = llama.scores[at - 1]
    assert max(logits) == max(logits[one[at]], logits[other[at]])
    return float(abs(logits[one[at]] - logits[other[at]]))


def test_stop_string_and_limit_are_recorded(engine: Engine) -> None:
    (limited,) = generate(engine, Sampling(max_tokens=3), TEXTS[:1])
    assert (limited["n_tokens"], limited["stop_reason"]) == (3, "length")
    stop = limited["text"].strip()[:4]
    (stopped,) = generate(engine, Sampling(max_tokens=3, stop=(stop,)), TEXTS[:1])
    assert stopped["stop_reason"] == "stop"
    assert stop not in stopped["text"]


def test_death_of_llama_cpp_is_one_line(smollm2_gguf: Path, tmp_path: Path) -> None:
    settings = EngineSettings(parallel=2, threads=1)
    with Engine(smollm2_gguf, settings, log=tmp_path / "l.log") as engine:
        engine.open(256)
        os.kill(engine._process.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"process died \(killed by signal 9\); its log ends"):
            generate(engine, GREEDY)


def test_an_assertion_in_llama_cpp_is_one_line(smollm2_gguf: Path, tmp_path: Path) -> None:
    settings = EngineSettings(parallel=2, threads=1)
    with Engine(smollm2_gguf, settings, log=tmp_path / "l.log") as engine:
        engine.open(256)
        with pytest.raises(EngineError) as caught:
            # a token that no vocabulary has
            engine.generate([[10**6]], [0], GREEDY)
        assert "\n" not in str(caught.value)


def test_what_is_no_model_is_refused(smollm2_gguf: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm2_gguf.read_bytes()[: 60 * 2**20])
    with pytest.raises(
        EngineError, match=r"cut\.gguf: llama\.cpp cannot load it; its log ends: .+"
    ):
        Engine(cut, EngineSettings(), log=tmp_path / "l.log")


def test_a_gpu_is_given_as_many_sequences_as_its_memory_holds(engine: Engine) -> None:
    # keys and values of 30 layers with 3 heads of 64, in two bytes each: SmolLM2-135M's
    sequence = 256 * 2 * 2 * 30 * 3 * 64
    weights = engine.facts["tensor_bytes"]
    asked, engine.asked = engine.asked, EngineSettings(threads=1)
    try:
        engine.gpus = [Gpu("one", weights), Gpu("two", 2 * 41 * sequence)]
        opened = engine.open(256)
        # half of what the weights leave holds 41: 40 answers and their prefix
        assert (opened.parallel, opened.wave) == (40, 160)
        engine.gpus = [Gpu("small", weights + sequence)]
        assert (engine.open(256).parallel, engine.open(256).wave) == (1, 64)
        engine.gpus = [Gpu("large", 2**40)]
        engine.asked = EngineSettings(threads=1, wave=8, parallel=4)
        assert engine.open(256).wave == 8
        engine.gpus, engine.asked = [], EngineSettings(threads=1)
        assert (engine.open(256).parallel, engine.open(256).wave) == (16, 64)
    finally:
        engine.gpus, engine.asked = [], asked
        engine.open(256)


def test_the_most_sequences_that_may_be_asked_for_can_be_opened(
    smollm2_gguf: Path, tmp_path: Path
) -> None:
    settings = EngineSettings(parallel=MOST_PARALLEL, threads=1)
    with Engine(smollm2_gguf, settings, log=tmp_path / "l.log") as engine:
        assert engine.open(256).parallel == MOST_PARALLEL
    with pytest.raises(WeighinError, match=r"--parallel: .*255"):
        parse_engine_settings(parallel=MOST_PARALLEL + 1)


def test_ggml_tells_of_its_devices() -> None:
    ggml = _ggml()
    devices = [ggml.ggml_backend_dev_get(i) for i in range(ggml.ggml_backend_dev_count())]
    (cpu,) = (device for device in devices if ggml.ggml_backend_dev_type(device) == 0)
    assert _gpu(ggml, cpu).total_bytes == pytest.approx(psutil.virtual_memory().total, rel=0.01)
    assert _gpu(ggml, cpu).name
    assert bool(find_gpus()) == bool(llama_cpp.llama_supports_gpu_offload())
