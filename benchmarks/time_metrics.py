"""Time the metrics: IFEval over 541 responses, prose per 800-word text, and a bootstrap.

    python benchmarks/time_metrics.py --data ../shared/data

Prints the median of five rounds in CPU seconds of one core, so that other work on the machine
matters little. The limits are 2 s for the 541 responses after import, and 10 ms per text.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 5
TEXT_WORDS = 800


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder with ifeval/ and prose/.")
    data = parser.parse_args().data
    os.environ.setdefault("NLTK_DATA", str(data / "ifeval" / "nltk_data"))

    from metrics import ifeval
    from metrics.lexicon import default_lexicon
    from metrics.prose import score_text
    from metrics.stats import bootstrap_ratio, default_rng

    def rows(name: str) -> list[dict]:
        return [
            json.loads(line) for line in (data / "ifeval" / name).read_text("utf-8").splitlines()
        ]

    prompts = rows("input_data.jsonl")
    responses = rows("input_response_data_gpt4_20231107_145030.jsonl")
    cases = [
        (p["prompt"], list(zip(p["instruction_id_list"], p["kwargs"], strict=True)), r["response"])
        for p, r in zip(prompts, responses, strict=True)
    ]
    began = time.process_time()
    ifeval.score(*cases[0])
    print(f"ifeval: import and first response {time.process_time() - began:.2f} s")
    seconds = median(lambda: [ifeval.score(*case) for case in cases])
    print(f"ifeval: {len(cases)} responses {seconds:.2f} s")

    passages = json.loads((data / "prose" / "human_passages.json").read_text("utf-8"))
    texts = [" ".join(row["text"].split(" ")[:TEXT_WORDS]) for row in passages]
    lexicon = default_lexicon()
    seconds = median(lambda: [score_text(text, lexicon) for text in texts])
    print(f"prose: {1000 * seconds / len(texts):.2f} ms per text of {TEXT_WORDS} words")

    counts = [float(index % 7) for index in range(541)]
    sizes = [float(500 + index % 300) for index in range(541)]
    seconds = median(lambda: bootstrap_ratio(counts, sizes, rng=default_rng()))
    print(f"stats: BCa of a pooled rate over 541 prompts, 10,000 draws {seconds:.2f} s")


def median(work: Callable[[], object]) -> float:
    """Median CPU seconds of ROUNDS rounds."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
