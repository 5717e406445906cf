"""How fast the engine is, against llama-cpp-python one by one and against llama.cpp itself.

Prints ratios of rates that were measured in turn within one run, since machines drift:

    python benchmarks/engine.py --model MODEL.gguf

`one_by_one`: the same prompts through `Llama.create_chat_completion`, the way of most scripts.
`bare_loop`: the engine's own batches decoded again with nothing between them, which is what
llama.cpp can give. `python_share`: the part of a wave's time that is not spent in llama.cpp.

Rates count new tokens only, so long prompts lower every one of them, and the gain from batching
with them: `--prompts prose` has roleplays of up to 1,150 tokens, `mini` instructions of 30.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from harness.chat import ChatTemplate
from harness.engine.decode import Request, decode_wave
from harness.engine.engine import Engine
from harness.engine.llama import Context, Model, quiet_log
from harness.prompts import Prompt, load_prompt_set
from harness.settings import EngineSettings, Sampling, default_threads

N_PROMPTS = 64
N_NEW_TOKENS = 128
CONTEXT = 1536


class RecordingContext(Context):
    """A context that remembers every operation, to repeat them without anything between."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.operations: list[tuple[str, tuple[Any, ...]]] = []
        self.pending: list[tuple[int, int, list[int], bool]] = []

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, output: bool) -> None:
        self.pending.append((sequence, position, list(tokens), output))
        super().add(sequence, position, tokens, output=output)

    def decode(self) -> NDArray[np.float32]:
        self.operations.append(("decode", tuple(self.pending)))
        self.pending = []
        return super().decode()

    def clear(self) -> None:
        self.operations.append(("clear", ()))
        super().clear()

    def drop(self, sequence: int) -> None:
        self.operations.append(("drop", (sequence,)))
        super().drop(sequence)

    def copy(self, source: int, target: int) -> None:
        self.operations.append(("copy", (source, target)))
        super().copy(source, target)


def repeat(context: Context, operations: Sequence[tuple[str, tuple[Any, ...]]]) -> float:
    """Seconds that llama.cpp takes for recorded operations; filling a batch is not counted."""
    filling = 0.0
    started = time.perf_counter()
    for name, arguments in operations:
        if name == "decode":
            began = time.perf_counter()
            for sequence, position, tokens, output in arguments:
                Context.add(context, sequence, position, tokens, output=output)
            filling += time.perf_counter() - began
            Context.decode(context)
        else:
            getattr(Context, name)(context, *arguments)
    return time.perf_counter() - started - filling


def one_by_one(path: Path, prompts: Sequence[Prompt], threads: int) -> tuple[int, float]:
    """Tokens and seconds of the usual way."""
    import llama_cpp

    llama = llama_cpp.Llama(str(path), n_ctx=CONTEXT, n_threads=threads, verbose=False)
    n_tokens = 0
    started = time.perf_counter()
    for prompt in prompts:
        messages = [m.model_dump() for m in prompt.messages]
        told: Any = llama.create_chat_completion(messages, max_tokens=N_NEW_TOKENS, temperature=0)  # type: ignore[arg-type]
        n_tokens += told["usage"]["completion_tokens"]
    elapsed = time.perf_counter() - started
    llama.close()
    return n_tokens, elapsed


def main(
    model: Annotated[Path, typer.Option(help="The GGUF, such as SmolLM2-135M's Q6_K.")],
    parallel: Annotated[int, typer.Option(help="Sequences in a batch.")] = 16,
    rounds: Annotated[int, typer.Option(help="Times that all three are measured in turn.")] = 2,
    sets: Annotated[
        str, typer.Option("--prompts", help="Built-in sets; the first 64 of their prompts count.")
    ] = "mini,prose",
) -> None:
    """Measure and print one JSON object."""
    log = quiet_log()
    threads = default_threads()
    settings = EngineSettings(parallel=parallel, context=CONTEXT, threads=threads)
    sampling = Sampling(max_tokens=N_NEW_TOKENS)
    prompts = [p for name in sets.split(",") for p in load_prompt_set(name).prompts][:N_PROMPTS]
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine(model, settings, log=Path(folder) / "llama.log") as engine,
    ):
        engine.open(CONTEXT)
        template = ChatTemplate(
            engine.metadata["tokenizer.chat_template"],
            bos_token=engine.facts["bos"],
            eos_token=engine.facts["eos"],
        )
        texts = [template.render(p.messages) for p in prompts]
        tokens = engine.tokenize(texts, add_special=False)
        seeds = [0] * len(tokens)

        loaded = Model(model, gpu_layers=-1)
        context = RecordingContext(
            loaded,
            settings,
            n_sequences=parallel + 1,
            context=CONTEXT,
            outputs=parallel + 1,
        )
        decode_wave(context, [Request(t) for t in tokens], sampling, n_slots=parallel)
        operations = context.operations

        rows = []
        for _ in range(rounds):
            generated, times = engine.generate(tokens, seeds, sampling)
            n = sum(g["n_tokens"] for g in generated)
            bare = repeat(context, operations)
            n_single, single = one_by_one(model, prompts, threads)
            rows.append(
                {
                    "engine_tokens_per_s": n / times["total_s"],
                    "bare_tokens_per_s": n / bare,
                    "single_tokens_per_s": n_single / single,
                    "python_share": 1 - times["decode_s"] / times["total_s"],
                }
            )
    del log
    ratios = {
        "engine_over_one_by_one": [
            r["engine_tokens_per_s"] / r["single_tokens_per_s"] for r in rows
        ],
        "engine_over_bare_loop": [r["engine_tokens_per_s"] / r["bare_tokens_per_s"] for r in rows],
        "python_share": [r["python_share"] for r in rows],
    }
    told = {
        "model": model.name,
        "prompts": f"{len(prompts)} of {sets}",
        "prompt_tokens": sum(map(len, tokens)),
        "new_tokens": N_NEW_TOKENS,
        "parallel": parallel,
        "threads": threads,
        "rounds": rows,
        "medians": {name: round(statistics.median(v), 4) for name, v in ratios.items()},
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    typer.run(main)
