"""Targets: the weights of a model whose importance is estimated, and which modules use them.

A loaded text model in, `squares.Target` out; computes nothing.
"""

from collections.abc import Sequence
from typing import Any

from search.errors import FisherError
from search.squares import Target


def find_targets(model: Any, wanted: Sequence[str] | None = None) -> list[Target]:
    """Weights of linear layers, in the model's order.

    Args:
        model: A text model of transformers; its module names are canonical.
        wanted: Last parts of modules' names, such as `q_proj`, as in PEFT's `target_modules`; may
            name embeddings. None means every linear layer, without a tied output layer, which is
            the embedding.

    Raises:
        FisherError: a name that no linear layer or embedding has.
    """
    from torch import nn

    users: dict[int, list[tuple[str, Any]]] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            users.setdefault(id(module.weight), []).append((path, module))
    known = {path.rsplit(".", 1)[-1] for uses in users.values() for path, _ in uses}
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise FisherError(
            f"no linear layer is called {unknown[0]!r}; known: {', '.join(sorted(known))}"
        )
    found = []
    for uses in users.values():
        if wanted is None:
            chosen = all(isinstance(module, nn.Linear) for _, module in uses)
        else:
            chosen = any(path.rsplit(".", 1)[-1] in wanted for path, _ in uses)
        if chosen:
            # a tied weight goes by the embedding's name, which comes first and is the stored one
            path, first = uses[0]
            shape = (int(first.weight.shape[0]), int(first.weight.shape[1]))
            found.append(Target(f"{path}.weight", shape, tuple(module for _, module in uses)))
    return found
