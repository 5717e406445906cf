"""Groups: how many layers' sums fit in memory at once, and which weights go together.

Targets and bytes in, groups out; computes no gradient. Every group costs a forward pass of the
whole model and a backward pass down to its lowest layer, so groups are as large as memory allows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.errors import FisherError
from search.fisher.squares import SUM_BYTES, Target
from search.tensors.names import layer_of
from search.tensors.text_model import ITEM_BYTES, Precision

LOGIT_BYTES = 12
"""Per logit: the float32 logit, its softmax and its gradient."""

KEPT_PER_OUTPUT = 4
"""Values kept for the backward pass, and their gradients, per output of a linear layer: norms,
activations and attention keep about as much again as the linear layers themselves. An estimate."""

USABLE = 0.9
"""Share of the free memory that is planned with."""


def plan_groups(targets: Sequence[Target], layers_at_a_time: int) -> list[tuple[Target, ...]]:
    """Split targets into groups, lowest layers first.

    Args:
        targets: In any order; those of one layer stay together.
        layers_at_a_time: Layers per group. Weights outside the layers join the lowest group, or
            stand alone where they are larger than a layer; the output layer joins the highest.
    """
    layers = _by_layer(targets)
    numbers = sorted(layers)
    groups = [
        [target for number in numbers[i : i + layers_at_a_time] for target in layers[number]]
        for i in range(0, len(numbers), layers_at_a_time)
    ]
    largest = max((_size(layer) for layer in layers.values()), default=0)
    for target in targets:
        if layer_of(target.name) is None:
            if target.n_elements > largest:
                groups.append([target])
            else:
                groups[-1 if target.name.startswith("lm_head") else 0].append(target)
    return [tuple(group) for group in groups]


def layers_that_fit(targets: Sequence[Target], free_bytes: int, work_bytes: int) -> int:
    """How many layers' sums may be held at once, at least 1.

    Args:
        targets: Everything that is to be estimated.
        free_bytes: What is free with the model loaded.
        work_bytes: What one pass needs beside the sums.

    Raises:
        FisherError: not even one layer, or one weight outside the layers, fits.
    """
    layers = [_size(layer) for layer in _by_layer(targets).values()]
    alone = [target.n_elements for target in targets if layer_of(target.name) is None]
    room = int(free_bytes * USABLE) - work_bytes
    need = max([*layers, *alone]) * SUM_BYTES
    if need > room:
        raise FisherError(
            f"not enough memory: {free_bytes / 1e9:.1f} GB are free, and the sums of one layer or "
            f"weight take {need / 1e9:.1f} GB beside {work_bytes / 1e9:.1f} GB for one pass; lower "
            "--batch or --max-tokens, take --precision bf16, or name fewer --targets"
        )
    if not layers:
        return 1
    # one more, since small weights outside the layers join a group
    fitting = room // (max(layers) * SUM_BYTES) - bool(alone)
    return max(1, min(len(layers), fitting))


def work_bytes(model: Any, n_tokens: int, precision: Precision) -> int:
    """What a forward and backward pass over all layers takes beside weights and sums, estimated.

    Args:
        model: The loaded text model.
        n_tokens: Tokens in one batch, padding included.
        precision: Of the activations.
    """
    from torch import nn

    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    outputs = sum(module.out_features for module in linear)
    per_token = LOGIT_BYTES * int(model.config.vocab_size)
    per_token += KEPT_PER_OUTPUT * ITEM_BYTES[precision] * outputs
    return n_tokens * per_token


def free_memory(device: str) -> int:
    """Bytes that can be taken now: of the GPU, or of main memory within the container's limit."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        stat = (group / "memory.stat").read_text().split()
        # cached file pages count as used, but are given up on demand
        return min(free, limit - used + int(stat[stat.index("inactive_file") + 1]))
    except (OSError, ValueError):  # no control group, or one without a limit ("max")
        return free


def choose_precision(n_parameters: int, device: str) -> Precision:
    """Arithmetic where nobody says: float32 on a CPU if half the memory holds it, else bf16.

    Args:
        n_parameters: Of the text model.
        device: cpu or cuda.

    Raises:
        FisherError: the weights do not fit in bf16 either.
    """
    free = free_memory(device)
    if n_parameters * ITEM_BYTES["bf16"] > free * USABLE:
        raise FisherError(
            f"not enough memory: {n_parameters * 2 / 1e9:.1f} GB of bf16 weights, "
            f"{free / 1e9:.1f} GB free; free some, or use another --device"
        )
    fits = n_parameters * ITEM_BYTES["float32"] <= free / 2
    return "float32" if device == "cpu" and fits else "bf16"


def _by_layer(targets: Sequence[Target]) -> dict[int, list[Target]]:
    layers: dict[int, list[Target]] = {}
    for target in targets:
        number = layer_of(target.name)
        if number is not None:
            layers.setdefault(number, []).append(target)
    return layers


def _size(targets: Sequence[Target]) -> int:
    return sum(target.n_elements for target in targets)
