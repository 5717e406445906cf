"""Every merge formula on values that a hand can check, and on properties that must hold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.errors import IngredientError
from search.merging.average import average
from search.merging.dampen import dampen, minmax
from search.merging.dare import block_rng, drop
from search.merging.factors import Factors, stack
from search.merging.mask import Basis, mask, share_inside
from search.merging.slerp import Products, coefficients, products, slerp
from search.merging.ties import elect, threshold, trim


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_factors(d_out: int, d_in: int, rank: int, seed: int) -> Factors:
    return Factors(random(d_out, rank, seed=seed), random(rank, d_in, seed=seed + 1000))


def full(factors: Factors) -> torch.Tensor:
    return factors.rows(0, factors.shape[0])


def test_average_of_two_ranks_by_hand() -> None:
    # [1, 2]^T [3, 4] and the identity, at weights 0.5 and 2
    one = Factors(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0, 4.0]]))
    two = Factors(torch.eye(2), torch.eye(2))
    both = average([one, two], [0.5, 2.0])
    assert both.left.shape == (2, 3)
    assert torch.equal(full(both), torch.tensor([[3.5, 2.0], [3.0, 6.0]]))


def test_average_is_not_the_product_of_averages() -> None:
    one, two = random_factors(4, 3, 2, 1), random_factors(4, 3, 2, 2)
    ours = full(average([one, two], [0.5, 0.5]))
    naive = ((one.left + two.left) / 2) @ ((one.right + two.right) / 2)
    assert not torch.allclose(ours, naive, atol=1e-2)


def test_norm_and_dot_without_forming_the_delta() -> None:
    one, two = random_factors(7, 5, 3, 3), random_factors(7, 5, 2, 4)
    assert one.squared_norm() == pytest.approx(float(full(one).square().sum()), rel=1e-5)
    assert one.dot(two) == pytest.approx(float((full(one) * full(two)).sum()), rel=1e-4, abs=1e-4)


def test_dampen_by_hand() -> None:
    # 1 + 0.5 * (1 - 0.2) * (1 - F) * 10, for F = 0 and F = 0.75
    base, delta = torch.ones(1, 2), torch.full((1, 2), 10.0)
    out = dampen(base, delta, s=0.5, fisher=torch.tensor([[0.0, 0.75]]), layer=0.2)
    assert torch.allclose(out, torch.tensor([[5.0, 2.0]]))


@pytest.mark.parametrize(
    ("fisher", "layer", "s"), [(1.0, 0.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 0.0)]
)
def test_dampen_lets_nothing_through(fisher: float, layer: float, s: float) -> None:
    base = random(3, 4, seed=5)
    out = dampen(base, random(3, 4, seed=6), s=s, fisher=torch.full((3, 4), fisher), layer=layer)
    assert torch.equal(out, base)


def test_minmax_ends_and_a_constant() -> None:
    assert minmax(torch.tensor([2.0, 3.0, 4.0]), 2, 4).tolist() == [0, 0.5, 1]
    assert minmax(torch.tensor([2.0, 2.0]), 2, 2).tolist() == [0, 0]


def test_mask_by_hand() -> None:
    # the first coordinate on each side is protected, so only the lower right corner is left
    basis = Basis(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [0.0]]))
    delta = Factors(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert full(mask(delta, basis, 1.0)).tolist() == [[0, 0], [0, 4]]
    assert full(mask(delta, basis, 0.5)).tolist() == [[0.25, 1], [1.5, 4]]
    assert share_inside(delta, basis) == pytest.approx(14 / 30)


@given(st.integers(1, 6), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_mask_agrees_with_the_full_matrices(rank: int, strength: float, seed: int) -> None:
    delta = random_factors(9, 7, 3, seed)
    left, _ = torch.linalg.qr(random(9, rank, seed=seed + 1))
    right, _ = torch.linalg.qr(random(7, rank, seed=seed + 2))
    ours = full(mask(delta, Basis(left, right), strength))
    expected = (torch.eye(9) - strength * left @ left.T) @ full(delta)
    expected = expected @ (torch.eye(7) - strength * right @ right.T)
    assert torch.allclose(ours, expected, atol=1e-4)


def test_projecting_twice_is_projecting_once() -> None:
    delta = random_factors(9, 7, 3, 8)
    left, _ = torch.linalg.qr(random(9, 4, seed=9))
    right, _ = torch.linalg.qr(random(7, 4, seed=10))
    once = mask(delta, Basis(left, right), 1.0)
    assert torch.allclose(full(mask(once, Basis(left, right), 1.0)), full(once), atol=1e-5)
    assert float((left.T @ full(once)).abs().max()) < 1e-5 * float(full(delta).norm())


def test_mask_of_rank_zero_or_no_strength_changes_nothing() -> None:
    delta = random_factors(4, 3, 2, 11)
    empty = Basis(torch.empty(4, 0), torch.empty(3, 0))
    assert mask(delta, empty, 1.0) is delta
    assert mask(delta, Basis(torch.eye(4), torch.eye(3)), 0.0) is delta


def test_mask_for_another_weight_is_refused() -> None:
    with pytest.raises(IngredientError, match="subspace is for a weight of"):
        mask(random_factors(4, 3, 2, 12), Basis(torch.eye(5), torch.eye(3)), 1.0)


def test_share_inside_of_a_zero_delta_is_undefined() -> None:
    zero = Factors(torch.zeros(4, 1), torch.zeros(1, 3))
    assert share_inside(zero, Basis(torch.eye(4), torch.eye(3))) is None


def test_slerp_of_a_right_angle_by_hand() -> None:
    # half way between two axes: sin 45 / sin 90 of each
    out = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
    assert out.tolist() == pytest.approx([math.sqrt(0.5), math.sqrt(0.5)])


def test_slerp_ends_are_exact() -> None:
    a, b = random(50, seed=13), random(50, seed=14)
    assert slerp(a, b, 0.0) is a
    assert slerp(a, b, 1.0) is b


@pytest.mark.parametrize("b", [torch.tensor([1.0, 1.0 + 1e-4]), torch.tensor([-1.0, -1.0])])
def test_slerp_is_straight_where_there_is_no_arc(b: torch.Tensor) -> None:
    a = torch.ones(2)
    assert torch.allclose(slerp(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_slerp_of_a_zero_tensor_is_straight() -> None:
    assert slerp(torch.zeros(3), torch.full((3,), 4.0), 0.25).tolist() == [1, 1, 1]


@given(st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_slerp_agrees_with_float64(t: float, seed: int) -> None:
    a, b = random(6, 5, seed=seed), random(6, 5, seed=seed + 500)
    x, y = a.double(), b.double()
    angle = torch.acos((x * y).sum() / (x.norm() * y.norm()))
    expected = (torch.sin((1 - t) * angle) * x + torch.sin(t * angle) * y) / torch.sin(angle)
    assert torch.allclose(slerp(a, b, t).double(), expected, atol=2e-6)


@given(st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_slerp_keeps_the_norm_of_equally_long_tensors(t: float, seed: int) -> None:
    a, b = random(40, seed=seed), random(40, seed=seed + 500)
    a, b = a / a.norm(), b / b.norm()
    assert float(slerp(a, b, t).norm()) == pytest.approx(1, abs=1e-5)


def test_products_of_blocks_add_up() -> None:
    a, b = random(8, 5, seed=15), random(8, 5, seed=16)
    total = Products()
    for start in (0, 3, 6):
        total = total + products(a[start : start + 3], b[start : start + 3])
    ours, theirs = coefficients(0.3, total), coefficients(0.3, products(a, b))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_ties_threshold_by_hand() -> None:
    values = torch.tensor([[0.1, -5.0, 3.0], [0.2, -4.0, 0.3]])
    assert threshold([values], 0.5, 6) == 3
    assert threshold([values[:1], values[1:]], 0.5, 6) == 3
    assert threshold([values], 1.0, 6) == 0
    # never less than the largest one
    assert threshold([values], 0.01, 6) == 5


@given(st.floats(0.05, 0.95), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_ties_threshold_agrees_with_sorting(density: float, seed: int) -> None:
    values = random(17, 9, seed=seed)
    n_keep = int(density * values.numel())
    expected = values.abs().flatten().sort(descending=True).values[n_keep - 1]
    assert threshold([values[:7], values[7:]], density, values.numel()) == float(expected)
    kept = trim(values, float(expected))
    assert int((kept != 0).sum()) == n_keep


def test_ties_election_by_hand() -> None:
    # column 0: 3 - 1 > 0, the positive one alone; 1: both agree; 2: nobody left; 3: cancels to +
    one = torch.tensor([3.0, -2.0, 0.0, 1.0])
    two = torch.tensor([-1.0, -4.0, 0.0, -1.0])
    assert elect([one, two], [1.0, 1.0]).tolist() == [3, -3, 0, 1]
    # weights count in the sum and in the mean
    assert elect([one, two], [1.0, 3.0]).tolist() == [3, -3.5, 0, -1]


def test_dare_keeps_its_expected_value_and_its_seed() -> None:
    delta = torch.ones(200, 200)
    one = drop(delta, 0.25, rng=block_rng(7, 0, "w", 0))
    assert set(one.unique().tolist()) == {0.0, 4.0}
    assert float(one.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(one, drop(delta, 0.25, rng=block_rng(7, 0, "w", 0)))
    for other in (block_rng(8, 0, "w", 0), block_rng(7, 1, "w", 0), block_rng(7, 0, "v", 0)):
        assert not torch.equal(one, drop(delta, 0.25, rng=other))
    assert drop(delta, 1.0, rng=block_rng(7, 0, "w", 0)) is delta


def test_stack_of_one_is_itself() -> None:
    one = random_factors(3, 2, 1, 17)
    assert stack([one]) is one
