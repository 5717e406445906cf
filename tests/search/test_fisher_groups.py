"""Groups of layers: what goes together, and how many fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from search.errors import FisherError
from search.fisher.groups import choose_precision, free_memory, layers_that_fit, plan_groups
from search.fisher.squares import Target
from search.tensors.names import layer_of

MODULE = nn.Identity()


def target(name: str, n_elements: int) -> Target:
    return Target(name, (1, n_elements), (MODULE,))


def layer(number: int, n_elements: int = 100) -> list[Target]:
    return [
        target(f"model.layers.{number}.self_attn.q_proj.weight", n_elements // 2),
        target(f"model.layers.{number}.mlp.up_proj.weight", n_elements - n_elements // 2),
    ]


@given(
    n_layers=st.integers(0, 9),
    at_a_time=st.integers(1, 12),
    outside=st.lists(st.integers(1, 300), max_size=3),
)
def test_groups_hold_every_weight_once(n_layers: int, at_a_time: int, outside: list[int]) -> None:
    targets = [part for number in range(n_layers) for part in layer(number)]
    targets += [target(f"model.outside_{i}.weight", size) for i, size in enumerate(outside)]
    groups = plan_groups(targets, at_a_time)
    assert sorted(t.name for group in groups for t in group) == sorted(t.name for t in targets)
    for group in groups:
        numbers = {layer_of(t.name) for t in group} - {None}
        assert len(numbers) <= at_a_time
        # a layer is never split
        for number in numbers:
            assert sum(layer_of(t.name) == number for t in group) == 2
    # large weights outside the layers stand alone
    for t in targets:
        if layer_of(t.name) is None and t.n_elements > (100 if n_layers else 0):
            assert (t,) in groups


def test_small_weights_outside_go_with_the_layers_beside_them() -> None:
    below = target("model.per_layer_model_projection.weight", 50)
    above = target("lm_head.weight", 60)
    groups = plan_groups([above, *layer(0), *layer(1), below], 1)
    assert [group[-1].name for group in groups] == [below.name, above.name]


def test_layers_that_fit() -> None:
    targets = [part for number in range(10) for part in layer(number, 1000)]
    # 9 of 10 bytes are used, 2000 by the pass, and a layer's sums are 4000
    assert layers_that_fit(targets, free_bytes=20_000, work_bytes=2000) == 4
    assert layers_that_fit(targets, free_bytes=10_000_000, work_bytes=2000) == 10
    # room for one more where a small weight may join a group
    assert layers_that_fit([*targets, target("lm_head.weight", 10)], 20_000, 2000) == 3
    with pytest.raises(FisherError, match=r"not enough memory.*fewer --targets"):
        layers_that_fit(targets, free_bytes=6000, work_bytes=2000)
    with pytest.raises(FisherError, match="not enough memory"):
        layers_that_fit([*targets, target("lm_head.weight", 9999)], 20_000, 2000)


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_memory("cpu") > 0
    monkeypatch.setattr("search.fisher.groups.free_memory", lambda _device: 16_000)
    assert choose_precision(2000, "cpu") == "float32"
    assert choose_precision(2001, "cpu") == "bf16"
    assert choose_precision(2000, "cuda") == "bf16"
    with pytest.raises(FisherError, match="not enough memory"):
        choose_precision(7500, "cpu")
