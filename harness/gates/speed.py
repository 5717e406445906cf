"""Speed: tokens per second of two GGUFs on this machine, measured in turn.

Two model files and prompts in, three estimates out. Machines drift, so that only a ratio within one
session says anything: both models are loaded, warmed up, and generate the same wave alternately.
"""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.chat import ChatTemplate
from harness.engine.engine import Engine
from harness.evaluate import Chat, tokenize_prompts
from harness.prompts import Prompt
from harness.settings import EngineSettings, Sampling
from metrics.stats import Estimate, bootstrap_mean, default_rng

ROUNDS = 4
"""Times that each model generates the wave."""
N_PROMPTS = 8
NEW_TOKENS = 32
"""Of each answer: few answers end by themselves before that."""

Speeds = tuple[Estimate, Estimate, Estimate]
"""Tokens per second of the baseline and of the candidate, and the ratio of the second to the first;
n counts rounds."""


def measure_speed(
    baseline: Path,
    candidate: Path,
    prompts: Sequence[Prompt],
    *,
    settings: EngineSettings,
    chat: Chat,
    rounds: int = ROUNDS,
) -> Speeds:
    """Let both models answer the same prompts in turn.

    Args:
        baseline, candidate: The GGUFs; both must fit into memory together.
        prompts: The first N_PROMPTS of them are answered, greedily.
        settings: Of the engine, for both.
        chat: How the prompts are asked.
        rounds: Times that each model generates the wave.

    Returns:
        Generated tokens per second, reading the prompts included, with intervals over rounds.

    Raises:
        EngineError: llama.cpp cannot load or run one of them.
    """
    sampling = Sampling(max_tokens=NEW_TOKENS)
    rates: tuple[list[float], list[float]] = ([], [])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weighin-speed-")))
        sides = []
        for name, path in (("baseline", baseline), ("candidate", candidate)):
            engine = stack.enter_context(Engine(path, settings, log=folder / f"{name}.log"))
            tokens = _tokens(engine, prompts[:N_PROMPTS], chat)
            engine.open(max(map(len, tokens)) + NEW_TOKENS)
            sides.append((engine, tokens))
        for engine, tokens in sides:  # the first answer of each warms up
            engine.generate(tokens[:1], [0], sampling)
        for _ in range(rounds):
            for (engine, tokens), own in zip(sides, rates, strict=True):
                made, times = engine.generate(tokens, [0] * len(tokens), sampling)
                own.append(sum(each["n_tokens"] for each in made) / times["total_s"])
    ratios = [after / before for before, after in zip(*rates, strict=True)]
    before, after, ratio = (bootstrap_mean(v, rng=default_rng()) for v in (*rates, ratios))
    return before, after, ratio


def _tokens(engine: Engine, prompts: Sequence[Prompt], chat: Chat) -> list[list[int]]:
    template = ChatTemplate(
        chat.template or engine.metadata.get("tokenizer.chat_template", ""),
        bos_token=engine.facts["bos"],
        eos_token=engine.facts["eos"],
    )
    texts = [
        template.render(p.messages, thinking=chat.thinking, prefill=chat.prefill) for p in prompts
    ]
    return tokenize_prompts(engine, texts)
