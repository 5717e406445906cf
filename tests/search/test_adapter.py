"""Adapters against PEFT's own merge, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.errors import IngredientError
from search.merging.adapter import Adapter
from search.tensors.checkpoint import Checkpoint
from tests.search.models import peft_quiet

PathMaker = Callable[..., Path]


def merged_by_peft(checkpoint: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """PEFT's merge_and_unload, float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    with peft_quiet():
        merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return {name: tensor.detach() for name, tensor in merged.state_dict().items()}


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True, "rank": 6}),
        (
            "llama",
            {
                "rank_pattern": {"q_proj": 3, "layers.1.mlp.up_proj": 5},
                "alpha_pattern": {"v_proj": 1.5, r"layers\.0.*down_proj": 7.0},
            },
        ),
        ("llama", {"targets": ("q_proj", "embed_tokens"), "rank": 3}),
        ("gemma3", {"targets": ("gate_proj", "down_proj")}),
    ],
)
def test_agrees_with_peft(
    checkpoint_of: PathMaker, adapter_of: PathMaker, family: str, settings: dict[str, Any]
) -> None:
    folder = checkpoint_of(family)
    adapter_folder = adapter_of(folder, **settings)
    checkpoint = Checkpoint(folder)
    adapter = Adapter(adapter_folder, checkpoint)
    expected = merged_by_peft(folder, adapter_folder)
    changed = set()
    for name in checkpoint.names:
        ours = checkpoint.rows(name)
        if name in adapter:
            changed.add(name)
            ours += adapter.factors(name).rows(0, ours.shape[0])
        theirs = expected[name]
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm(), name
    assert len(changed) == len(adapter.names) > 0


def edited(folder: Path, target: Path, **config: Any) -> Path:
    """A copy of an adapter with settings changed."""
    shutil.copytree(folder, target)
    settings = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps({**settings, **config}))
    return target


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "bias"),
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "whole saved modules"),
        ({"peft_type": "IA3"}, "only LORA"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base weights"),
        ({"trainable_token_indices": [3]}, "trained single tokens"),
        ({"r": 9}, "do not belong together"),
    ],
)
def test_refused_by_name(
    checkpoint_of: PathMaker,
    adapter_of: PathMaker,
    tmp_path: Path,
    config: dict[str, Any],
    says: str,
) -> None:
    folder = checkpoint_of("llama")
    bad = edited(adapter_of(folder), tmp_path / "bad", **config)
    with pytest.raises(IngredientError, match=says) as caught:
        Adapter(bad, Checkpoint(folder))
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.replace("base_model.model.model.", "base_model.model."),
        lambda key: key.replace(".lora_A.weight", ".lora_A.default.weight").replace(
            ".lora_B.weight", ".lora_B.default.weight"
        ),
        lambda key: key.replace(
            "base_model.model.model.", "base_model.model.language_model.model."
        ),
        lambda key: key.replace(
            "base_model.model.model.", "base_model.model.model.language_model."
        ),
        lambda key: key.replace("base_model.model.", ""),
    ],
)
def test_keys_in_all_shapes(
    checkpoint_of: PathMaker,
    adapter_of: PathMaker,
    tmp_path: Path,
    change: Callable[[str], str],
) -> None:
    folder = checkpoint_of("llama")
    plain = Adapter(adapter_of(folder), Checkpoint(folder))
    other = edited(adapter_of(folder), tmp_path / "other")
    tensors = load_file(other / "adapter_model.safetensors")
    renamed = {change(key): tensor for key, tensor in tensors.items()}
    assert set(renamed) != set(tensors)
    save_file(renamed, other / "adapter_model.safetensors")
    found = Adapter(other, Checkpoint(folder))
    assert set(found.names) == set(plain.names)
    for name in plain.names:
        assert torch.equal(found.factors(name).left, plain.factors(name).left)


def rewrite(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


def first(tensors: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in sorted(tensors) if part in name)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: {k: v for k, v in t.items() if k != first(t, "lora_B")}, "has no lora_B"),
        (
            lambda t: {
                **t,
                "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight": torch.ones(4, 256),
                "base_model.model.model.layers.7.mlp.up_proj.lora_B.weight": torch.ones(512, 4),
            },
            "has no weight in",
        ),
        (lambda t: {**t, first(t, "lora_A"): torch.ones(4, 128)}, "is for a weight of"),
        (lambda t: {**t, first(t, "lora_A"): torch.ones(3, 256)}, "not the two matrices"),
        (lambda t: {**t, "base_model.model.lm_head.weight": torch.ones(2, 2)}, "neither lora_A"),
        (lambda _: {}, "is empty"),
    ],
)
def test_every_tensor_must_find_its_weight(
    checkpoint_of: PathMaker,
    adapter_of: PathMaker,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
    says: str,
) -> None:
    folder = checkpoint_of("llama")
    bad = edited(adapter_of(folder), tmp_path / "bad")
    rewrite(bad, change)
    with pytest.raises(IngredientError, match=says):
        Adapter(bad, Checkpoint(folder))


def test_not_finite(checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path) -> None:
    folder = checkpoint_of("llama")
    bad = edited(adapter_of(folder), tmp_path / "bad")
    rewrite(bad, lambda t: {**t, first(t, "lora_A"): t[first(t, "lora_A")] * float("nan")})
    adapter = Adapter(bad, Checkpoint(folder))
    name = first(load_file(bad / "adapter_model.safetensors"), "lora_A")
    weight = name.removeprefix("base_model.model.").replace("lora_A.", "")
    with pytest.raises(IngredientError, match="NaN or infinity"):
        adapter.factors(weight)


def test_adapter_of_another_width(checkpoint_of: PathMaker, adapter_of: PathMaker) -> None:
    llama, gemma4 = checkpoint_of("llama"), checkpoint_of("gemma4")
    with pytest.raises(IngredientError, match="another model"):
        Adapter(adapter_of(gemma4, targets=("q_proj", "down_proj")), Checkpoint(llama))


def test_pickled_adapter(checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path) -> None:
    folder = checkpoint_of("llama")
    bad = edited(adapter_of(folder), tmp_path / "bad")
    (bad / "adapter_model.safetensors").rename(bad / "adapter_model.bin")
    with pytest.raises(IngredientError, match="pickled"):
        Adapter(bad, Checkpoint(folder))
