"""How fast the engine is with more and more sequences at once, greedy and sampled, and where the
time goes; and whether the same wave gives the same bytes when it is asked again.

    python benchmarks/parallel.py --model MODEL.gguf --parallel 1 --parallel 16 --parallel 64

Prints one JSON object a line: the machine, then for every number of sequences and way of choosing
`tokens_per_s`, over all rounds; `over_first`, the rate against the first number's in this run;
`decode` and `choose`, shares of the time that llama.cpp and the choosing of tokens take, of which
the rest is our own; and `alike`, whether every round gave the bytes of the first. As many prompts
are asked as fill the places, `--fill` times over, from `mini` and on.
"""

import json
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer

from harness.chat import ChatTemplate
from harness.engine.engine import Engine
from harness.prompts import load_prompt_set
from harness.settings import EngineSettings, Sampling, default_threads

CONTEXT = 512


def main(
    model: Annotated[Path, typer.Option(help="The GGUF.")],
    parallel: Annotated[list[int], typer.Option(help="Sequences in a batch; may be repeated.")],
    rounds: Annotated[int, typer.Option(help="Times that each is measured.")] = 2,
    fill: Annotated[int, typer.Option(help="Prompts per place.")] = 2,
    tokens: Annotated[int, typer.Option(help="Most tokens an answer.")] = 128,
) -> None:
    """Measure and print."""
    first: dict[str, float] = {}
    for n_places in parallel:
        settings = EngineSettings(parallel=n_places, context=CONTEXT, threads=default_threads())
        with (
            tempfile.TemporaryDirectory() as folder,
            Engine(model, settings, log=Path(folder) / "llama.log") as engine,
        ):
            if not first:
                print(json.dumps({"model": model.name, "system": engine.system_info}), flush=True)
            engine.open(CONTEXT)
            template = ChatTemplate(
                engine.metadata["tokenizer.chat_template"],
                bos_token=engine.facts["bos"],
                eos_token=engine.facts["eos"],
            )
            prompts = islice(cycle(load_prompt_set("mini").prompts), n_places * fill)
            asked = engine.tokenize(
                [template.render(p.messages) for p in prompts], add_special=False
            )
            for way, temperature in (("greedy", 0.0), ("sampled", 0.8)):
                sampling = Sampling(max_tokens=tokens, temperature=temperature)
                seeds = list(range(len(asked)))
                engine.generate(asked[:n_places], seeds[:n_places], sampling)  # warms up
                answers = [engine.generate(asked, seeds, sampling) for _ in range(rounds)]
                times = [each for _, each in answers]
                total = sum(each["total_s"] for each in times)
                rate = sum(g["n_tokens"] for made, _ in answers for g in made) / total
                told = {
                    "parallel": n_places,
                    "way": way,
                    "tokens_per_s": round(rate, 1),
                    "over_first": round(rate / first.setdefault(way, rate), 2),
                    "decode": round(sum(each["decode_s"] for each in times) / total, 3),
                    "choose": round(sum(each["sample_s"] for each in times) / total, 3),
                    "alike": all(made == answers[0][0] for made, _ in answers),
                }
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    typer.run(main)
