"""Squares of per-example gradients: against autograd one example at a time, and closed forms."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from search.errors import FisherError
from search.fisher.loss import add_batch
from search.fisher.prompts import Example
from search.fisher.squares import BLOCK_ELEMENTS, SquareSums, Target
from search.fisher.targets import find_targets
from search.tensors.checkpoint import Checkpoint
from search.tensors.text_model import load_text_model

PathMaker = Callable[..., Path]
LENGTHS = (17, 5, 2, 70)
"""The longest is beyond the sliding windows of the test models."""


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def load(folder: Path) -> Any:
    return load_text_model(Checkpoint(folder), "float32", "cpu")


def examples_for(model: Any, lengths: Sequence[int] = LENGTHS) -> list[Example]:
    rng = torch.Generator().manual_seed(7)
    size = model.config.vocab_size
    return [
        Example(f"p{i}", tuple(torch.randint(0, size, (n,), generator=rng).tolist()), 1)
        for i, n in enumerate(lengths)
    ]


def naive(
    model: Any, targets: Sequence[Target], examples: Sequence[Example]
) -> dict[str, torch.Tensor]:
    """Squares of autograd's own gradients of transformers' own loss, in float64 sums."""
    weights = [target.uses[0].weight for target in targets]
    sums = {t.name: torch.zeros(t.shape, dtype=torch.float64) for t in targets}
    for weight in weights:
        weight.requires_grad_(True)
    for example in examples:
        ids = torch.tensor([example.tokens])
        loss = model(input_ids=ids, labels=ids).loss
        gradients = torch.autograd.grad(loss, weights)
        for target, gradient in zip(targets, gradients, strict=True):
            sums[target.name] += gradient.double().square()
    for weight in weights:
        weight.requires_grad_(False)
    return sums


def ours(
    model: Any, targets: Sequence[Target], batches: Sequence[Sequence[Example]]
) -> dict[str, torch.Tensor]:
    sums = SquareSums(targets, "cpu", None)
    for batch in batches:
        add_batch(model, sums, batch, "prompt", seed=0)
    return sums.sums


def assert_close(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], rtol: float
) -> None:
    """Every element to `rtol` of itself, or of a thousandth of the tensor's mean."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert value.sum() > 0, name
        tolerance = rtol * (value.abs() + 1e-3 * value.mean())
        assert bool(((found[name].double() - value).abs() <= tolerance).all()), name


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "gemma4", "gemma4-multimodal"])
def test_equals_autograd_example_by_example(family: str, checkpoint_of: PathMaker) -> None:
    folder = checkpoint_of(family)
    model = load(folder)
    targets = find_targets(model)
    stored = Checkpoint(folder)
    linear = {n for n in stored.names if len(stored.stored(n).shape) == 2 and "embed" not in n}
    assert {target.name for target in targets} == linear
    examples = examples_for(model)
    assert_close(
        ours(model, targets, [[e] for e in examples]), naive(model, targets, examples), 1e-5
    )


def test_tied_and_per_layer_embeddings_equal_autograd_when_asked_for(
    checkpoint_of: PathMaker,
) -> None:
    model = load(checkpoint_of("gemma4"))
    names = {target.name for target in find_targets(model)}
    targets = find_targets(model, embeddings=True)
    embeddings = [target for target in targets if target.name not in names]
    assert [target.name for target in embeddings] == [
        "model.embed_tokens.weight",
        "model.embed_tokens_per_layer.weight",
    ]
    assert len(embeddings[0].uses) == 2  # looked up, and the output layer
    # the token 0 is padding, whose row autograd gives no gradient
    examples = [*examples_for(model), Example("pads", (0, 5, 0, 9), 1)]
    found = ours(model, embeddings, [[e] for e in examples])
    assert_close(found, naive(model, embeddings, examples), 1e-5)
    assert float(found["model.embed_tokens_per_layer.weight"][0].abs().sum()) == 0


def test_an_output_layer_of_its_own_is_a_target(checkpoint_of: PathMaker) -> None:
    model = load(checkpoint_of("llama"))
    assert [t.name for t in find_targets(model, ["lm_head"])] == ["lm_head.weight"]


def test_unknown_target(checkpoint_of: PathMaker) -> None:
    model = load(checkpoint_of("gemma3"))
    with pytest.raises(FisherError, match=r"called 'lm_head'; known: .*q_proj.*--embeddings"):
        find_targets(model, ["q_proj", "lm_head"])


@pytest.mark.parametrize("family", ["llama", "gemma4"])
def test_a_batch_mixes_nothing(family: str, checkpoint_of: PathMaker) -> None:
    # in float64, so that only mixing could show and not how matrices are multiplied
    model = load(checkpoint_of(family)).double()
    targets = find_targets(model)
    examples = examples_for(model)
    alone = ours(model, targets, [[example] for example in examples])
    together = ours(model, targets, [examples])
    assert_close(together, {name: value.double() for name, value in alone.items()}, 1e-5)


def test_groups_see_the_same_bits(checkpoint_of: PathMaker) -> None:
    model = load(checkpoint_of("gemma4"))
    targets = find_targets(model)
    batches = [[example] for example in examples_for(model)]
    whole = ours(model, targets, batches)
    for target in targets:
        assert ours(model, [target], batches)[target.name].equal(whole[target.name]), target.name


class _OneLayer(nn.Module):
    """Logits are W times a fixed vector per token."""

    def __init__(self, n_tokens: int, width: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(1)
        self.table = nn.Embedding(n_tokens, width)
        self.head = nn.Linear(width, n_tokens, bias=False)
        self.table.weight.data = torch.randn((n_tokens, width), generator=rng)
        self.head.weight.data = torch.randn((n_tokens, width), generator=rng)
        self.requires_grad_(False)

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(logits=self.head(self.table(input_ids)))


def one_layer() -> tuple[_OneLayer, Target]:
    model = _OneLayer(n_tokens=5, width=3)
    return model, Target("head.weight", (5, 3), (model.head,))


def test_empirical_fisher_of_a_softmax_layer() -> None:
    # one predicted token: dL/dW = (p - y) a^T
    model, target = one_layer()
    sums = SquareSums([target], "cpu", None)
    add_batch(model, sums, [Example("x", (2, 4), 1)], "prompt", seed=0)
    a = model.table.weight[2]
    residual = (model.head.weight @ a).softmax(0) - torch.eye(5)[4]
    torch.testing.assert_close(sums.sums["head.weight"], torch.outer(residual, a).square())


def test_true_fisher_of_a_softmax_layer_approaches_the_closed_form() -> None:
    # tokens drawn independently at T positions: E[(dL/dW)^2] = sum_t p_t (1 - p_t) a_t^2 / T^2
    model, target = one_layer()
    tokens, n_draws = (0, 1, 3), 6000
    expected = torch.zeros(5, 3)
    for token in tokens:
        a = model.table.weight[token]
        p = (model.head.weight @ a).softmax(0)
        expected += torch.outer(p * (1 - p), a.square()) / len(tokens) ** 2
    errors = []
    for seed in (0, 1):
        sums = SquareSums([target], "cpu", None)
        batch = [Example(f"draw {i}", tokens, 1) for i in range(n_draws // 2)]
        add_batch(model, sums, batch, "sampled", seed=seed)
        errors.append(sums.sums["head.weight"] / len(batch))
    found = (errors[0] + errors[1]) / 2
    assert not errors[0].equal(errors[1])
    # the standard error of the mean of 6000 draws is about 1 to 2 %
    torch.testing.assert_close(found, expected, rtol=0.08, atol=0.08 * float(expected.mean()))


def test_draws_depend_on_the_prompt_and_the_seed_alone(checkpoint_of: PathMaker) -> None:
    model, target = one_layer()
    batch = [Example(f"p{i}", (i % 5, 1, 2), 1) for i in range(8)]

    def drawn(batches: Sequence[Sequence[Example]], seed: int) -> torch.Tensor:
        sums = SquareSums([target], "cpu", None)
        for part in batches:
            add_batch(model, sums, part, "sampled", seed=seed)
        return sums.sums["head.weight"]

    whole = drawn([batch], 0)
    torch.testing.assert_close(drawn([[example] for example in batch], 0), whole)
    assert not torch.allclose(drawn([batch], 1), whole)


class _Odd(nn.Module):
    """A layer used twice, one that gets its tokens flat, and one that the loss does not see."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = nn.Embedding(11, 6)
        self.twice = nn.Linear(6, 6, bias=False)
        self.flat = nn.Linear(6, 11)
        self.unseen = nn.Linear(6, 6, bias=False)

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SimpleNamespace:
        inner = self.twice(torch.tanh(self.twice(self.table(input_ids))))
        self.unseen(inner)
        flat = self.flat(inner.reshape(-1, 6))
        return SimpleNamespace(logits=flat.reshape(*input_ids.shape, 11))


def test_odd_uses_of_a_layer() -> None:
    model = _Odd().requires_grad_(False)
    targets = [
        Target(name, tuple(getattr(model, name).weight.shape), (getattr(model, name),))  # type: ignore[arg-type]
        for name in ("twice", "flat", "unseen")
    ]
    examples = [Example("a", (1, 2, 3, 4), 1), Example("b", (5, 6), 1)]
    sums = SquareSums(targets, "cpu", None)
    add_batch(model, sums, examples, "prompt", seed=0)
    expected = {name: torch.zeros_like(sums.sums[name]) for name in ("twice", "flat")}
    model.requires_grad_(True)
    for example in examples:
        ids = torch.tensor([example.tokens])
        logits = model(ids).logits[0, :-1]
        loss = nn.functional.cross_entropy(logits, ids[0, 1:])
        for name, value in expected.items():
            (gradient,) = torch.autograd.grad(
                loss, [getattr(model, name).weight], retain_graph=True
            )
            value += gradient.square()
    for name, value in expected.items():
        torch.testing.assert_close(sums.sums[name], value)
    assert not sums.sums["unseen"].any()


def test_blocks_of_rows_change_nothing(
    checkpoint_of: PathMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(checkpoint_of("gemma3"))
    targets = find_targets(model, ["down_proj"]) + find_targets(model, (), embeddings=True)
    batches = [[example] for example in examples_for(model)]
    whole = ours(model, targets, batches)
    monkeypatch.setitem(BLOCK_ELEMENTS, "cpu", 7 * 512)
    blocks = ours(model, targets, batches)
    for name, value in whole.items():
        torch.testing.assert_close(blocks[name], value, rtol=1e-5, atol=1e-12)


def test_a_loss_that_is_not_finite_names_the_prompt() -> None:
    model, target = one_layer()
    model.table.weight[3] = float("nan")
    sums = SquareSums([target], "cpu", None)
    batch = [Example("good", (1, 2), 1), Example("bad", (3, 2), 1)]
    with pytest.raises(FisherError, match=r"'bad' is not finite; take --precision float32"):
        add_batch(model, sums, batch, "prompt", seed=0)
