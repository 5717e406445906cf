"""Benchmark: what the mask adds to a training step, as a ratio within one run.

Makes two random models of a shape with the same LoRA adapter, one of them under a projecting mask,
and takes steps of AdamW on both in turn: forward, backward, clipping, optimiser, mask. The
vocabulary is small, so that no large output layer hides the mask's share. Prints one JSON object.

    python benchmarks/masked_training.py
    python benchmarks/masked_training.py --size e4b --rounds 2
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from search.training.masked_factors import MaskedFactors, Side
from search.training.settings import ATTENTION, MLP, TrainingSettings


@dataclass(frozen=True)
class Size:
    """One model's layers; more of them would change nothing in the ratio."""

    width: int
    feed_forward: int
    heads: int
    key_heads: int
    head_size: int
    n_layers: int


SIZES = {
    "tiny": Size(64, 128, 4, 2, 16, 1),
    "smollm2": Size(576, 1536, 9, 3, 64, 4),
    "e4b": Size(2560, 10240, 8, 2, 256, 1),
}
VOCABULARY = 1024


def make_model(size: Size) -> Any:
    """A random model with the default adapter."""
    torch.manual_seed(0)
    base = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=size.width,
            intermediate_size=size.feed_forward,
            num_hidden_layers=size.n_layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.key_heads,
            head_dim=size.head_size,
            vocab_size=VOCABULARY,
            use_cache=False,
        )
    )
    settings = TrainingSettings()
    config = LoraConfig(r=settings.r, lora_alpha=settings.alpha, target_modules=[*ATTENTION, *MLP])
    return get_peft_model(base, config)


def make_masks(model: Any, rank: int) -> MaskedFactors:
    """Random directions on both sides of every adapted weight."""
    sides = {}
    for name, factor in model.named_parameters():
        if factor.requires_grad:
            left = ".lora_B." in name
            d = factor.shape[0 if left else 1]
            q = torch.linalg.qr(torch.randn(d, min(rank, d)))[0].T.contiguous()
            sides[factor] = Side(q, 1.0, left)
    return MaskedFactors(sides)


class Stepper:
    """A model, its optimiser, and perhaps a mask."""

    def __init__(self, size: Size, rank: int | None) -> None:
        self.model = make_model(size)
        self.factors = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.factors, lr=1e-4, weight_decay=0.1, fused=True)
        self.masks = None if rank is None else make_masks(self.model, rank)
        if self.masks is not None:
            self.masks.attach(self.optimizer)

    def step(self, batch: torch.Tensor) -> float:
        """One optimiser step; returns its seconds."""
        began = time.perf_counter()
        self.optimizer.zero_grad()
        self.model(input_ids=batch, labels=batch).loss.backward()
        if self.masks is not None:
            self.masks.mask_gradients()
        torch.nn.utils.clip_grad_norm_(self.factors, 1.0)
        self.optimizer.step()
        return time.perf_counter() - began


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="smollm2")
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=2048, help="per optimiser step")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    size = SIZES[given.size]
    free, masked = Stepper(size, None), Stepper(size, given.rank)
    batch = torch.randint(VOCABULARY, (max(1, given.tokens // 512), min(512, given.tokens)))
    seconds: dict[str, list[float]] = {"free": [], "masked": []}
    for turn in range(-1, given.rounds):
        pair = [("free", free), ("masked", masked)]
        for name, stepper in pair if turn % 2 else reversed(pair):
            spent = stepper.step(batch)
            if turn >= 0:  # the first pair warms up
                seconds[name].append(spent)
    ratios = [m / f for m, f in zip(seconds["masked"], seconds["free"], strict=True)]
    print(
        json.dumps(
            {
                "size": given.size,
                "rank": given.rank,
                "tokens_per_step": batch.numel(),
                "threads": given.threads,
                "ratio": round(statistics.median(ratios), 4),
                "ratio_of_fastest": round(min(seconds["masked"]) / min(seconds["free"]), 4),
                "step_s": {name: round(statistics.median(s), 4) for name, s in seconds.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
