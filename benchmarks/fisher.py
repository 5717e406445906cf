"""What a Fisher pass costs over a plain forward and backward pass, as a ratio within one run; and
what memory it takes beside weights and sums, over what is estimated for it.

    python benchmarks/fisher.py --model examples/smollm2/it

The plain pass is `model(ids, labels=ids).loss.backward()` for one prompt at a time with gradients
of the same weights, as training with a batch of one would do it. Both take turns, so that a busy
machine slows both. `--layers-at-a-time` splits the layers as the command would; every group is
held against one plain pass over the whole model.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from search.fisher.groups import plan_groups, work_bytes
from search.fisher.loss import add_batch
from search.fisher.prompts import Example
from search.fisher.squares import SquareSums, Target
from search.fisher.targets import find_targets
from search.tensors.checkpoint import open_checkpoint
from search.tensors.text_model import load_text_model


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--layers-at-a-time", type=int, help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    checkpoint = open_checkpoint(str(arguments.model))
    model = load_text_model(checkpoint, arguments.precision, arguments.device)
    targets = find_targets(model)
    groups = plan_groups(targets, arguments.layers_at_a_time or checkpoint.n_layers)
    rng = torch.Generator().manual_seed(0)

    for n_tokens in arguments.tokens:
        tokens = torch.randint(0, model.config.vocab_size, (n_tokens,), generator=rng)
        example = Example("x", tuple(int(token) for token in tokens), 1)
        ids = tokens[None].to(arguments.device)
        memory = _memory(model, targets, example, arguments.device)
        estimate = work_bytes(model, n_tokens, arguments.precision)
        plain_s, fisher_s = [], []
        for round_ in range(arguments.rounds + 1):
            weights = [target.uses[0].weight for target in targets]
            plain = _timed(lambda w=weights, i=ids: _plain(model, w, i), arguments.device)
            ours = []
            for group in groups:
                sums = SquareSums(group, arguments.device, None)
                ours.append(
                    _timed(
                        lambda s=sums, e=example: add_batch(model, s, [e], "prompt", seed=0),
                        arguments.device,
                    )
                )
            if round_ > 0:  # the first warms up
                plain_s.append(plain)
                fisher_s.append(statistics.fmean(ours))
        ratios = [ours / plain for ours, plain in zip(fisher_s, plain_s, strict=True)]
        found = {
            "tokens": n_tokens,
            "groups": len(groups),
            "plain_s": round(statistics.median(plain_s), 4),
            "fisher_s_per_group": round(statistics.median(fisher_s), 4),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
            "memory_ratio": round(memory / estimate, 3),
        }
        print(json.dumps(found), flush=True)


def _plain(model: torch.nn.Module, weights: list[torch.Tensor], ids: torch.Tensor) -> None:
    for weight in weights:
        weight.requires_grad_(True)
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    for weight in weights:
        weight.requires_grad_(False)
        weight.grad = None


def _memory(
    model: torch.nn.Module, targets: Sequence[Target], example: Example, device: str
) -> int:
    """Bytes that a pass over all layers takes at its peak, weights and sums apart."""
    sums = SquareSums(targets, device, None)
    for total in sums.sums.values():
        total.fill_(0)  # main memory is only given when it is written
    for weight in model.parameters():
        weight.sum()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        add_batch(model, sums, [example], "prompt", seed=0)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak so far
    before = _status_bytes("VmRSS")
    add_batch(model, sums, [example], "prompt", seed=0)
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _timed(run: Callable[[], None], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
