"""Fisher loss: one batch of examples through a model, forward and backward.

L is the mean negative log-likelihood of an example's tokens, which is what transformers' models
call their loss. Knows nothing of layers, files or prompts' texts.
Source: Kunstner et al. 2019, https://arxiv.org/abs/1905.12558: the empirical Fisher takes given
tokens, the true one tokens drawn from the model itself, here one per position after the text so
far.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from search.errors import FisherError
from search.fisher.prompts import Example, Loss
from search.fisher.squares import SquareSums

if TYPE_CHECKING:
    import torch

DRAWN_ROWS = 16
"""Positions whose tokens are drawn at once; each takes a float64 per token of the vocabulary."""


def add_batch(
    model: Any, sums: SquareSums, batch: Sequence[Example], loss: Loss, *, seed: int
) -> None:
    """Add one batch's squared gradients.

    Examples are padded on the right, where a causal model's tokens do not look, and each one's
    loss depends on its own tokens alone; so no mask is needed, and nothing is mixed.

    Args:
        model: Takes `input_ids` and returns `logits`; its parameters are frozen.
        sums: Of the group in work, changed in place.
        batch: At least one example.
        loss: See `Loss`.
        seed: Of drawn tokens.

    Raises:
        FisherError: a loss that is not finite.
    """
    import torch

    lengths = [len(example.tokens) for example in batch]
    device = next(iter(sums.sums.values())).device
    ids = torch.zeros((len(batch), max(lengths)), dtype=torch.int64)
    for row, example in enumerate(batch):
        ids[row, : lengths[row]] = torch.tensor(example.tokens)
    ids = ids.to(device)
    with torch.enable_grad(), sums.watching(lengths):
        logits = model(input_ids=ids, use_cache=False).logits
        losses = torch.stack(
            [
                _example_loss(logits[row], ids[row], example, loss, seed)
                for row, example in enumerate(batch)
            ]
        )
        finite = torch.isfinite(losses.detach())
        if not bool(finite.all()):
            worst = batch[int((~finite).nonzero()[0])]
            raise FisherError(
                f"the loss on prompt {worst.id!r} is not finite; take --precision float32"
            )
        if losses.requires_grad:
            torch.autograd.backward(losses.sum())


def _example_loss(
    logits: "torch.Tensor", ids: "torch.Tensor", example: Example, loss: Loss, seed: int
) -> "torch.Tensor":
    """Mean negative log-likelihood of one example's tokens, float32.

    Args:
        logits: [T, vocabulary], padding included.
        ids: [T].
    """
    from torch.nn.functional import cross_entropy

    n = len(example.tokens)
    if loss == "sampled":
        rows = logits[:n].float()
        return cross_entropy(rows, _draw(rows.detach(), example.id, seed))
    return cross_entropy(logits[example.first - 1 : n - 1].float(), ids[example.first : n])


def _draw(logits: "torch.Tensor", prompt_id: str, seed: int) -> "torch.Tensor":
    """One token per position from the model's own distribution there.

    The numbers drawn with are a function of the prompt's id and the seed, so that neither batches
    nor groups change them.
    """
    import torch

    key = sha256(f"fisher:{seed}:{prompt_id}".encode()).digest()
    rng = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
    uniform = torch.rand((len(logits), 1), dtype=torch.float64, generator=rng).to(logits.device)
    drawn = []
    for start in range(0, len(logits), DRAWN_ROWS):
        part = slice(start, start + DRAWN_ROWS)
        below = logits[part].double().softmax(-1).cumsum(-1)
        drawn.append(torch.searchsorted(below, uniform[part] * below[:, -1:]))
    return torch.cat(drawn).squeeze(-1).clamp_(max=logits.shape[-1] - 1)
