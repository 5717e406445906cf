"""Factors under a mask: nothing protected is learnt, whatever the optimiser does."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.merging.factors import Factors
from search.merging.mask import Basis, mask
from search.training.masked_factors import MaskedFactors, Side, weight_of

D_OUT, D_IN, R = 12, 10, 3

Optimizer = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=2e-3, momentum=0.9, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1, fused=True),
    "adam with coupled decay": lambda p: torch.optim.Adam(p, lr=0.05, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.02, momentum=0.9),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.05),
}


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def orthonormal(d: int, rank: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(random(d, rank, seed=seed))[0]


def factors(seed: int) -> tuple[torch.nn.Parameter, torch.nn.Parameter]:
    """B and A of a delta that is not zero."""
    return (
        torch.nn.Parameter(random(D_OUT, R, seed=seed)),
        torch.nn.Parameter(random(R, D_IN, seed=seed + 1)),
    )


def loss(b: torch.Tensor, a: torch.Tensor, step: int) -> torch.Tensor:
    """Distance of the delta from a target that pulls in every direction, another at each step."""
    return (b @ a - random(D_OUT, D_IN, seed=100 + step)).square().sum()


def descend(
    b: torch.nn.Parameter,
    a: torch.nn.Parameter,
    optimizer: torch.optim.Optimizer,
    masks: MaskedFactors | None,
    n_steps: int = 12,
) -> None:
    """What a training loop does."""
    for step in range(n_steps):
        optimizer.zero_grad()
        loss(b, a, step).backward()
        if masks is not None:
            masks.mask_gradients()
        optimizer.step()


def masked(
    b: torch.nn.Parameter, a: torch.nn.Parameter, u: torch.Tensor, v: torch.Tensor, c: float
) -> MaskedFactors:
    sides = {b: Side(u.T.contiguous(), c, left=True), a: Side(v.T.contiguous(), c, left=False)}
    return MaskedFactors(sides)


def leak(b: torch.Tensor, a: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> float:
    """Largest share of the delta's norm on either side's protected directions, in float64."""
    delta = b.detach().double() @ a.detach().double()
    left, right = u.double().T @ delta, delta @ v.double()
    return float(max(left.norm(), right.norm()) / delta.norm())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_projection_holds_under_every_optimiser(name: str) -> None:
    u, v = orthonormal(D_OUT, 5, seed=1), orthonormal(D_IN, 4, seed=2)
    b, a = factors(seed=3)
    masks = masked(b, a, u, v, 1.0)
    optimizer = OPTIMIZERS[name]([b, a])
    masks.attach(optimizer)
    descend(b, a, optimizer, masks)
    assert leak(b, a, u, v) < 1e-6


def test_without_the_mask_the_delta_is_everywhere() -> None:
    u, v = orthonormal(D_OUT, 5, seed=1), orthonormal(D_IN, 4, seed=2)
    b, a = factors(seed=3)
    descend(b, a, OPTIMIZERS["adamw"]([b, a]), None)
    assert leak(b, a, u, v) > 0.1


def test_masked_gradients_alone_leak_through_adam() -> None:
    """Why the step is masked too: Adam divides element by element."""
    u, v = orthonormal(D_OUT, 5, seed=1), orthonormal(D_IN, 4, seed=2)
    b, a = factors(seed=3)
    masks = masked(b, a, u, v, 1.0)
    descend(b, a, OPTIMIZERS["adamw"]([b, a]), masks)  # not attached
    assert leak(b, a, u, v) > 0.01


@settings(max_examples=25, deadline=None)
@given(
    rank_left=st.integers(0, D_OUT - 1),
    rank_right=st.integers(0, D_IN - 1),
    seed=st.integers(0, 10_000),
    name=st.sampled_from(sorted(OPTIMIZERS)),
)
def test_nothing_protected_is_learnt(rank_left: int, rank_right: int, seed: int, name: str) -> None:
    u, v = orthonormal(D_OUT, rank_left, seed), orthonormal(D_IN, rank_right, seed + 1)
    b, a = factors(seed + 2)
    masks = masked(b, a, u, v, 1.0)
    optimizer = OPTIMIZERS[name]([b, a])
    masks.attach(optimizer)
    descend(b, a, optimizer, masks, n_steps=4)
    # where all but one of twelve directions are protected, little of the delta is left to round by
    assert leak(b, a, u, v) < 3e-6


@pytest.mark.parametrize("c", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("name", ["sgd", "adamw", "adam with coupled decay"])
def test_it_is_the_merge_s_mask_within_the_model(c: float, name: str) -> None:
    """The same as a model that computes with the masked delta, its gradients by autograd."""
    u, v = orthonormal(D_OUT, 5, seed=1), orthonormal(D_IN, 4, seed=2)
    b, a = factors(seed=3)
    free_b, free_a = (torch.nn.Parameter(x.detach().clone()) for x in (b, a))
    masks = masked(b, a, u, v, c)
    optimizer = OPTIMIZERS[name]([b, a])
    masks.attach(optimizer)
    descend(b, a, optimizer, masks, n_steps=6)

    left, right = torch.eye(D_OUT) - c * u @ u.T, torch.eye(D_IN) - c * v @ v.T
    plain = OPTIMIZERS[name]([free_b, free_a])
    for step in range(6):
        plain.zero_grad()
        loss(left @ free_b, free_a @ right, step).backward()
        plain.step()
    torch.testing.assert_close(b.detach(), left @ free_b.detach(), rtol=2e-4, atol=2e-5)
    torch.testing.assert_close(a.detach(), free_a.detach() @ right, rtol=2e-4, atol=2e-5)
    # and what comes out is the merge's own mask of the free delta
    merged = mask(Factors(free_b.detach(), free_a.detach()), Basis(u, v), c)
    torch.testing.assert_close(b.detach() @ a.detach(), merged.rows(0, D_OUT), rtol=1e-3, atol=1e-4)


def test_by_hand() -> None:
    # half of the first row is protected: B' = (2, 3) is seen as (1, 3), its gradient (4, 6) as
    # (2, 6), and plain descent at rate 0.5 ends at B' = (1, 0), seen as (0.5, 0)
    b = torch.nn.Parameter(torch.tensor([[2.0], [3.0]]))
    masks = MaskedFactors({b: Side(torch.tensor([[1.0, 0.0]]), 0.5, left=True)})
    assert b.tolist() == [[1.0], [3.0]]
    optimizer = torch.optim.SGD([b], lr=0.5)
    masks.attach(optimizer)
    b.grad = torch.tensor([[4.0], [6.0]])
    masks.mask_gradients()
    assert b.grad.tolist() == [[2.0], [6.0]]
    optimizer.step()
    assert b.tolist() == [[0.5], [0.0]]


def test_all_directions_protected_leave_exactly_nothing() -> None:
    b, a = factors(seed=3)
    masks = masked(b, a, orthonormal(D_OUT, D_OUT, 4), orthonormal(D_IN, 2, 5), 1.0)
    optimizer = OPTIMIZERS["adamw"]([b, a])
    masks.attach(optimizer)
    descend(b, a, optimizer, masks)
    assert not b.any()
    assert a.any()


def test_resumed_from_the_optimiser_s_state_it_goes_on_the_same() -> None:
    u, v = orthonormal(D_OUT, 5, seed=1), orthonormal(D_IN, 4, seed=2)

    def start() -> tuple[Any, Any, MaskedFactors, torch.optim.Optimizer]:
        b, a = factors(seed=3)
        masks = masked(b, a, u, v, 0.7)
        optimizer = OPTIMIZERS["adamw"]([b, a])
        masks.attach(optimizer)
        return b, a, masks, optimizer

    b, a, masks, optimizer = start()
    descend(b, a, optimizer, masks, n_steps=3)
    saved, values = deepcopy(optimizer.state_dict()), (b.detach().clone(), a.detach().clone())
    other_b, other_a, other_masks, other = start()
    other.load_state_dict(saved)
    other_b.data.copy_(values[0])
    other_a.data.copy_(values[1])
    descend(b, a, optimizer, masks, n_steps=3)
    descend(other_b, other_a, other, other_masks, n_steps=3)
    assert torch.equal(b, other_b)
    assert torch.equal(a, other_a)


@pytest.mark.parametrize(
    ("parameter", "weight"),
    [
        (
            "base_model.model.model.layers.3.self_attn.q_proj.lora_A.default.weight",
            "model.layers.3.self_attn.q_proj.weight",
        ),
        (
            "base_model.model.model.language_model.layers.3.mlp.up_proj.lora_B.default.weight",
            "model.layers.3.mlp.up_proj.weight",
        ),
        ("base_model.model.model.vision_tower.layers.0.q_proj.lora_B.default.weight", None),
        ("base_model.model.model.layers.3.self_attn.q_proj.base_layer.weight", None),
    ],
)
def test_the_weight_of_a_factor(parameter: str, weight: str | None) -> None:
    assert weight_of(parameter) == weight
