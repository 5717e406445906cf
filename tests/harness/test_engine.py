"""The engine with a real model: facts, repeatable bytes, and llama.cpp's death."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.engine.engine import Engine
from harness.engine.llama import EngineError
from harness.settings import GREEDY, EngineSettings, Sampling

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
