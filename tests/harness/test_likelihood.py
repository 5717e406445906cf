"""Likelihoods from real models, against llama-cpp-python and transformers on each text alone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.engine.engine import Engine
from harness.engine.reading import Passage
from harness.settings import EngineSettings

pytestmark = pytest.mark.model

CONTEXT = "The harbour was quiet. The old man sat down on the wall and looked at the"
ENDINGS = [" sea.", " sea and the boats.", " pigeons, who looked back.", " sea", " sea."]


@pytest.fixture(scope="module")
def engine(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    log = tmp_path_factory.mktemp("reading") / "llama.log"
    settings = EngineSettings(threads=1, micro_batch=64)
    with Engine(smollm2_gguf, settings, log=log) as opened:
        opened.open_reading(256)
        yield opened


@pytest.fixture(scope="module")
def passages(engine: Engine) -> list[Passage]:
    (start,) = engine.tokenize([CONTEXT], add_special=False)
    ends = engine.tokenize(ENDINGS, add_special=False)
    made = [Passage([*start, *end], len(start)) for end in ends]
    # one that is longer than a micro-batch, and one that goes its own way
    (long,) = engine.tokenize([" ".join([CONTEXT] * 5)], add_special=False)
    return [*made, Passage(long, 1), Passage([5, 6, 7], 1)]


def evaluated_alone(model: Path, passage: Passage) -> tuple[list[float], list[bool]]:
    """Log-softmax at each place, from llama-cpp-python with every logit kept."""
    import llama_cpp

    llama = llama_cpp.Llama(
        str(model), n_ctx=256, n_threads=1, logits_all=True, verbose=False, type_k=0, type_v=0
    )
    llama.eval(list(passage.tokens))
    rows = np.array(llama.scores[: len(passage.tokens)], np.float64)
    llama.close()
    places = range(passage.first, len(passage.tokens))
    tokens = passage.tokens
    values = [float(rows[at - 1, tokens[at]] - np.log(np.exp(rows[at - 1]).sum())) for at in places]
    return values, [tokens[at] == int(rows[at - 1].argmax()) for at in places]


def test_likelihoods_are_those_of_each_text_alone(
    engine: Engine, passages: list[Passage], smollm2_gguf: Path
) -> None:
    errors: list[float] = []
    for found, passage in zip(engine.score(passages), passages, strict=True):
        values, greedy = evaluated_alone(smollm2_gguf, passage)
        errors += np.abs(np.array(found.log_probabilities) - values).tolist()
        assert np.mean(np.array(found.greedy) == np.array(greedy)) >= 0.98
    # llama.cpp's kernels for quantised weights treat the last rows of a batch differently
    assert np.median(errors) < 1e-6
    assert max(errors) < 0.2


def test_equal_passages_and_a_second_reading_give_equal_bytes(
    engine: Engine, passages: list[Passage]
) -> None:
    found = engine.score(passages)
    assert found[0] == found[4]
    assert engine.score(passages) == found


@pytest.mark.slow
@pytest.mark.parametrize(
    # llama.cpp looks GELU up in a table of half precision, transformers computes it
    ("family", "error"),
    [("llama", 1e-4), ("gemma4", 5e-3)],
)
def test_likelihoods_are_transformers_own(
    family: str,
    error: float,
    checkpoint_of: Callable[..., Path],
    baseline_of: Callable[..., Path],
    tmp_path: Path,
) -> None:
    import torch
    import transformers

    checkpoint = checkpoint_of(family, dtype="float32")
    hf = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    rng = np.random.default_rng(1)
    # gemma4 attends to the last 64 tokens in one layer: the header is out of its sight, and a
    # cache that forgot it elsewhere, or went back too far, would show
    header = rng.integers(5, 250, 150).tolist()
    passages = [
        Passage([*header, *rng.integers(5, 250, 12).tolist()], len(header) + 2) for _ in range(9)
    ]
    passages.append(Passage(rng.integers(5, 250, 300).tolist(), 1))
    settings = EngineSettings(threads=1, micro_batch=64)
    with Engine(baseline_of(checkpoint, "F32"), settings, log=tmp_path / "l.log") as engine:
        engine.open_reading(300)
        found = engine.score(passages)
        alone = [engine.score([passage])[0] for passage in passages]
    for mine, own, passage in zip(found, alone, passages, strict=True):
        assert mine.log_probabilities == pytest.approx(own.log_probabilities, abs=2e-3)
        with torch.no_grad():
            logits = hf(torch.tensor([passage.tokens])).logits[0].double()
        rows = torch.log_softmax(logits, dim=-1)[passage.first - 1 : -1]
        tokens = torch.tensor(passage.tokens[passage.first :])
        theirs = rows.gather(1, tokens[:, None])[:, 0].tolist()
        assert mine.log_probabilities == pytest.approx(theirs, abs=error)
        assert mine.greedy == (rows.argmax(1) == tokens).tolist()
