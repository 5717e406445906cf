"""Targets: the weights of a model whose importance is estimated, and which modules use them.

A loaded text model in, `squares.Target` out; computes nothing.
"""

from collections.abc import Sequence
from typing import Any

from search.errors import FisherError
from search.fisher.squares import Target


def find_targets(
    model: Any, wanted: Sequence[str] | None = None, *, embeddings: bool = False
) -> list[Target]:
    """Weights of linear layers, in the model's order.

    Args:
        model: A text model of transformers; its module names are canonical.
        wanted: Last parts of linear layers' names, such as `q_proj`, as in PEFT's
            `target_modules`; None means all.
        embeddings: Whether embeddings are covered too, and with them an output layer that is tied
            to one.

    Raises:
        FisherError: a name that no linear layer has.
    """
    from torch import nn

    users: dict[int, list[tuple[str, Any]]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            users.setdefault(id(module.weight), []).append((path, module))
    found: list[Target] = []
    known: set[str] = set()
    for uses in users.values():
        looked_up = any(isinstance(module, nn.Embedding) for _, module in uses)
        called = {path.rsplit(".", 1)[-1] for path, _ in uses}
        if not looked_up:
            known |= called
        if embeddings if looked_up else wanted is None or called & set(wanted):
            # a tied weight goes by the embedding's name, which comes first and is the stored one
            path, first = uses[0]
            shape = (int(first.weight.shape[0]), int(first.weight.shape[1]))
            found.append(Target(f"{path}.weight", shape, tuple(module for _, module in uses)))
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise FisherError(
            f"no linear layer with weights of its own is called {unknown[0]!r}; known: "
            f"{', '.join(sorted(known))} (embeddings, and an output layer tied to one, are covered "
            "with --embeddings)"
        )
    return found
