"""The formulas against mergekit 0.1.5, by golden values that golden/make_mergekit.py made."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from search.merging.average import average
from search.merging.blocks import blocks_of
from search.merging.factors import Factors
from search.merging.methods import METHODS, Parts
from search.merging.slerp import slerp
from tests.search.golden.values import DENSITY, WEIGHTS, T

GOLDEN = Path(__file__).parent / "golden" / "mergekit.safetensors"


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by model or method, then by name."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in load_file(GOLDEN).items():
        label, _, name = key.partition(".")
        found.setdefault(label, {})[name] = tensor
    return found


def as_factors(delta: torch.Tensor) -> Factors:
    """A full delta as a product with the identity, which changes no value."""
    rows = delta.reshape(1, -1) if delta.ndim == 1 else delta
    return Factors(rows, torch.eye(rows.shape[1]))


def units_apart(ours: torch.Tensor, theirs: torch.Tensor) -> int:
    """Largest distance in units in the last place of bfloat16."""

    def ordered(values: torch.Tensor) -> torch.Tensor:
        bits = values.to(torch.bfloat16).contiguous().view(torch.int16).to(torch.int32)
        return torch.where(bits < 0, -(bits & 0x7FFF), bits)

    return int((ordered(ours) - ordered(theirs)).abs().max())


def test_slerp(golden: dict[str, dict[str, torch.Tensor]]) -> None:
    straight = 0
    for name, one in golden["one"].items():
        two = golden["two"][name]
        ours = slerp(one.float(), two.float(), T)
        assert units_apart(ours, golden["slerp"][name]) <= 1, name
        cosine = torch.nn.functional.cosine_similarity(
            one.float().flatten(), two.float().flatten(), dim=0
        )
        straight += bool(cosine > 0.9995)
    # both ways through the formula were taken
    assert 0 < straight < len(golden["one"])


def test_linear(golden: dict[str, dict[str, torch.Tensor]]) -> None:
    for name, expected in golden["linear"].items():
        parts = [as_factors(golden[label][name].float()) for label in ("one", "two")]
        weights = [weight / sum(WEIGHTS) for weight in WEIGHTS]
        ours = average(parts, weights).rows(0, parts[0].shape[0])
        assert units_apart(ours.reshape(expected.shape), expected) <= 1, name


@pytest.mark.parametrize("method", ["task_arithmetic", "ties"])
def test_deltas(golden: dict[str, dict[str, torch.Tensor]], method: str) -> None:
    for name, expected in golden[method].items():
        base = golden["base"][name].float()
        deltas = [as_factors(golden[label][name].float() - base) for label in ("one", "two")]
        shape = deltas[0].shape
        parts = Parts(name, deltas, WEIGHTS, (0, 1), DENSITY, 0, blocks_of(shape))
        rows = METHODS["average" if method == "task_arithmetic" else method].rows(parts)
        ours = base + rows(0, shape[0]).reshape(base.shape)
        assert units_apart(ours, expected) <= 1, name
