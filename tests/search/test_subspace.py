"""One matrix's directions against LAPACK's, on every way there, and what of them is rounding."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search.subspace import subspace
from search.subspace.rounding import Rounding, RoundingFloor
from search.subspace.subspace import Directions, factorise, no_directions

KINDS = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
SEPARATED = 0.01
NEVER = RoundingFloor(2.0**-24)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(m: int, n: int, seed: int) -> torch.Tensor:
    return torch.randn(m, n, generator=rng(seed), dtype=torch.float64)


def matrix_with(values: torch.Tensor, m: int, n: int, seed: int) -> torch.Tensor:
    """[m, n] float32 with these singular values, random directions."""
    left = torch.linalg.qr(gaussian(m, len(values), seed)).Q
    right = torch.linalg.qr(gaussian(n, len(values), seed + 1)).Q
    return (left * values @ right.T).float()


def low_rank(m: int, n: int, rank: int, size: float, seed: int) -> torch.Tensor:
    """[m, n] float32 of a rank, its singular values near `size`."""
    return matrix_with(torch.linspace(1.0, 0.6, rank, dtype=torch.float64) * size, m, n, seed)


def angle(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Sine of the largest angle between the spans of orthonormal columns."""
    ours = ours.double()
    return float(torch.linalg.matrix_norm(ours - theirs @ (theirs.T @ ours), 2))


def worst_angle(found: Directions, delta: torch.Tensor) -> tuple[float, int]:
    """Over every rank at which the singular values are separated; and how many those are."""
    left, values, right = torch.linalg.svd(delta.double(), full_matrices=False)
    following = torch.cat([values[1:], torch.zeros(1)])
    worst, n_cuts = 0.0, 0
    for r in range(1, found.rank + 1):
        if values[r - 1] - following[r - 1] >= SEPARATED * values[r - 1]:
            n_cuts += 1
            worst = max(worst, angle(found.left[:r].T, left[:, :r]))
            worst = max(worst, angle(found.right[:r].T, right[:r].T))
    return worst, n_cuts


def floor_of(it: torch.Tensor, pt: torch.Tensor) -> RoundingFloor:
    ours, theirs = Rounding(tuple(it.shape)), Rounding(tuple(pt.shape))
    half = len(it) // 2
    for start, stop in ((0, half), (half, len(it))):  # in blocks, as a file is read
        ours.add(start, it[start:stop].float())
        theirs.add(start, pt[start:stop].float())
    return RoundingFloor(ours.unit, (ours, theirs))


def difference(
    it: torch.Tensor, pt: torch.Tensor, rank: int = 64, exact_up_to: int = 1024
) -> Directions:
    it, pt = it.float(), pt.float()
    return factorise(it - pt, rank, floor_of(it, pt), rng=rng(), exact_up_to=exact_up_to)


def check_form(found: Directions, delta: torch.Tensor) -> None:
    """What holds of every outcome."""
    assert found.left.shape == (found.rank, delta.shape[0])
    assert found.right.shape == (found.rank, delta.shape[1])
    assert found.left.dtype == found.right.dtype == found.values.dtype == torch.float32
    for side in (found.left, found.right):
        assert torch.allclose(side @ side.T, torch.eye(found.rank), atol=1e-6)
    assert torch.all(found.values[:-1] >= found.values[1:])
    assert torch.all(found.values > 0)
    largest = found.left.gather(1, found.left.abs().argmax(1, keepdim=True))
    assert torch.all(largest > 0)
    assert found.error < 5e-4


def test_a_diagonal_by_hand() -> None:
    found = factorise(torch.diag(torch.tensor([2.0, -3.0, 0.0])), 8, NEVER, rng=rng())
    assert found.values.tolist() == [3.0, 2.0]
    # the sign that U may not have goes to V
    assert torch.equal(found.left, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert torch.equal(found.right, torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert found.captured == 1.0
    assert found.error == 0.0
    top = factorise(torch.diag(torch.tensor([2.0, -3.0, 0.0])), 1, NEVER, rng=rng())
    assert top.captured == pytest.approx(9 / 13)


def test_zeros_have_no_directions() -> None:
    found = factorise(torch.zeros(5, 7), 3, NEVER, rng=rng())
    assert found.rank == 0
    assert found.left.shape == (0, 5)
    assert found.right.shape == (0, 7)
    assert found.captured is None
    assert no_directions((5, 7), None).error == 0


@settings(max_examples=60, deadline=None)
@given(
    m=st.integers(1, 90),
    n=st.integers(1, 90),
    rank=st.integers(1, 12),
    ratio=st.floats(0.5, 0.98),
    exact_up_to=st.sampled_from([0, 1024]),
    seed=st.integers(0, 1000),
)
def test_equals_lapack_where_values_are_separated(
    m: int, n: int, rank: int, ratio: float, exact_up_to: int, seed: int
) -> None:
    values = ratio ** torch.arange(min(m, n), dtype=torch.float64)
    delta = matrix_with(values, m, n, seed)
    found = factorise(delta, rank, NEVER, rng=rng(seed), exact_up_to=exact_up_to)
    check_form(found, delta)
    assert found.rank == min(rank, m, n)
    worst, n_cuts = worst_angle(found, delta)
    assert n_cuts == found.rank
    assert worst < 1e-3
    assert found.captured == pytest.approx(float((values[:rank] ** 2).sum() / (values**2).sum()))


def spectrum(kind: str, size: int) -> torch.Tensor:
    place = torch.arange(size, dtype=torch.float64)
    return {
        "falling": 0.9**place,
        "power": (place + 1) ** -2,
        "steps": 0.5 ** (place // 3),
        "low rank": (place < 5).double(),
    }[kind]


@pytest.mark.parametrize("shape", [(460, 400), (380, 440), (420, 420)])
@pytest.mark.parametrize("kind", ["falling", "power", "steps", "low rank"])
def test_randomised_alone(
    kind: str, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the randomised way did not settle")

    monkeypatch.setattr(subspace, "_gram", refuse)
    delta = matrix_with(spectrum(kind, min(shape)), *shape, seed=3)
    found = factorise(delta, 6, NEVER, rng=rng(), exact_up_to=0)
    check_form(found, delta)
    assert found.rank == (5 if kind == "low rank" else 6)
    worst, n_cuts = worst_angle(found, delta)
    assert n_cuts > 0
    assert worst < 1e-3


def test_a_spectrum_too_flat_for_the_iteration_is_done_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    gram = subspace._gram
    monkeypatch.setattr(subspace, "_gram", lambda *given: asked.append(1) or gram(*given))
    # a hundred values within 2 % below twelve that are separated by 1 % each
    values = torch.cat(
        [1.013 ** torch.arange(12, 0, -1, dtype=torch.float64), torch.linspace(1, 0.98, 188)]
    )
    delta = matrix_with(values, 240, 200, seed=5)
    found = factorise(delta, 30, NEVER, rng=rng(), exact_up_to=0)
    assert asked == [1]
    check_form(found, delta)
    worst, n_cuts = worst_angle(found, delta)
    assert n_cuts == 12
    assert worst < 1e-3


@pytest.mark.parametrize("exact_up_to", [0, 1024])
def test_the_same_seed_gives_the_same_bits(exact_up_to: int) -> None:
    delta = matrix_with(spectrum("falling", 400), 440, 400, seed=8)
    first, second = (
        factorise(delta, 6, NEVER, rng=rng(), exact_up_to=exact_up_to) for _ in range(2)
    )
    assert torch.equal(first.left, second.left)
    assert torch.equal(first.right, second.right)
    assert torch.equal(first.values, second.values)


def test_the_error_is_that_of_what_is_stored() -> None:
    delta = gaussian(60, 40, 2).float()
    found = factorise(delta, 5, NEVER, rng=rng())
    u, s, v = found.left.double().T, found.values.double(), found.right.double().T
    forward = torch.linalg.norm(delta.double() @ v - u * s)
    backward = torch.linalg.norm(delta.double().T @ u - v * s)
    assert found.error == pytest.approx(float(max(forward, backward) / s.norm()))


@pytest.mark.parametrize("exact_up_to", [0, 1024])
@pytest.mark.parametrize("shape", [(256, 256), (200, 520), (384, 192)])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_rounded_low_rank_delta_has_its_own_rank(
    kind: str, shape: tuple[int, int], exact_up_to: int
) -> None:
    # weights of a model's size, with rows and columns of unlike scale; the delta is a hundredth
    scale = torch.exp(0.3 * gaussian(shape[0], 1, 20) + 0.3 * gaussian(1, shape[1], 21))
    weight = (0.03 * gaussian(*shape, 22) * scale).to(KINDS[kind]).float()
    delta = low_rank(*shape, rank=4, size=0.02 * math.sqrt(max(shape)), seed=23)
    found = difference((weight + delta).to(KINDS[kind]), weight, exact_up_to=exact_up_to)
    assert found.rank == 4
    # and both rounded on their own, as from a finer master copy
    master = 0.03 * gaussian(*shape, 24).float()
    pair = (master + delta).to(KINDS[kind]), master.to(KINDS[kind])
    assert difference(*pair, exact_up_to=exact_up_to).rank == 4


def test_a_cast_alone_is_no_difference() -> None:
    master = 0.03 * gaussian(160, 240, 30).float()
    for it, pt in (
        (master.bfloat16(), master),
        (master, master.bfloat16()),
        (master.half(), master.bfloat16()),
    ):
        found = difference(it, pt)
        assert found.rank == 0
        assert found.captured == 0.0


def test_a_fine_delta_on_a_coarse_base_is_kept() -> None:
    # an adapter merged in float32 onto weights that came in bfloat16, far below their rounding
    base = (0.03 * gaussian(256, 256, 31)).bfloat16().float()
    delta = low_rank(256, 256, rank=4, size=1e-3, seed=32)
    assert difference(base + delta, base).rank == 4


def test_a_float32_product_is_as_exact_as_float32() -> None:
    # the product's own arithmetic rounds more than its storing does
    factors = gaussian(200, 16, 33).float(), gaussian(16, 300, 34).float()
    base = 1e-3 * gaussian(200, 300, 35).float()
    assert difference(base + factors[0] @ factors[1], base).rank == 16


def test_values_tell_what_they_were_rounded_to() -> None:
    values = gaussian(40, 30, 36).float()
    for kind, name in (("bf16", "BF16"), ("f16", "F16"), ("f32", "F32")):
        seen = Rounding((40, 30))
        seen.add(0, values.to(KINDS[kind]).float())
        assert seen.kind == name
    assert seen.unit == 2.0**-24


def test_the_floor_by_hand() -> None:
    # 4 x 4 values of 1.5 in bfloat16: spacing 2^-7, so a variance of 2^-14 / 12 each
    ones = torch.full((4, 4), 1.5)
    floor = floor_of(ones, torch.zeros(4, 4))
    rows = columns = torch.full((4,), 0.01, dtype=torch.float64)
    edge = (2 + 2) * 2.0**-7 / math.sqrt(12) * (1 + 4 / (2 + 2))
    own = (2.0**-8 + 8 * 2.0**-24) * 0.2 * (1 / 2 + 1 / 2)
    axis = torch.eye(4, 1, dtype=torch.float64)
    for over, kept in ((1.001, 1), (0.999, 0)):
        value = torch.tensor([over * (edge + own)], dtype=torch.float64)
        assert floor.kept(value, axis, axis, rows, columns) == kept
    # rows that hold less than rounding might have made cannot have been rounded so much
    less = rows / 1000
    edge = 2 * math.sqrt(1e-5) * (1 + 4 / (2 + 2))
    own /= math.sqrt(1000)
    for over, kept in ((1.001, 1), (0.999, 0)):
        value = torch.tensor([over * (edge + own)], dtype=torch.float64)
        assert floor.kept(value, axis, axis, less, less) == kept


@settings(max_examples=40, deadline=None)
@given(m=st.integers(8, 120), n=st.integers(8, 120), seed=st.integers(0, 10_000))
def test_the_floor_is_above_rounding_and_not_far(m: int, n: int, seed: int) -> None:
    master = gaussian(m, n, seed).float()
    it = master.bfloat16().float()
    assert difference(it, master).rank == 0
    noise = torch.linalg.svdvals((it - master).double())
    signal = low_rank(m, n, rank=1, size=4 * float(noise[0]), seed=seed)
    assert difference((master + signal).bfloat16(), master).rank >= 1


@pytest.mark.parametrize("exact_up_to", [0, 1024])
def test_rows_of_large_weights_do_not_hide_a_delta(exact_up_to: int) -> None:
    # rounding swallows the delta in a few rows of large weights, whose own spacing is coarse;
    # what it may have made there is not in the difference, and no measure of the other rows
    weight = 0.03 * gaussian(300, 400, 40)
    weight[::60] *= 30
    base = weight.bfloat16().float()
    delta = low_rank(300, 400, rank=6, size=0.03, seed=41)
    assert difference((base + delta).bfloat16(), base, exact_up_to=exact_up_to).rank == 6
