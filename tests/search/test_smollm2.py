"""The whole way on real weights: SmolLM2-135M-Instruct."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.baseline import make_baseline
from search.build import build
from search.export.gguf_file import read_gguf
from search.merging.adapter import Adapter
from search.recipe_file import load_recipe
from search.tensors.checkpoint import Checkpoint
from tests.search.models import make_adapter, peft_quiet

pytestmark = pytest.mark.model

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def it(smollm2_checkpoint: Path) -> Path:
    """The released model."""
    return smollm2_checkpoint


@pytest.fixture(scope="module")
def adapters(it: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three random adapters of the strength that training gives."""
    root = tmp_path_factory.mktemp("adapters")
    return [
        make_adapter(root / f"r{rank}", it, rank=rank, seed=rank, targets=LINEAR, strength=0.02)
        for rank in (4, 8, 16)
    ]


def test_agrees_with_peft(it: Path, adapters: list[Path]) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(it, dtype=torch.float32)
    with peft_quiet():
        merged = PeftModel.from_pretrained(model, adapters[1]).merge_and_unload().state_dict()
    checkpoint = Checkpoint(it)
    adapter = Adapter(adapters[1], checkpoint)
    assert len(adapter.names) == 210
    for name in adapter.names:
        ours = checkpoint.rows(name) + adapter.factors(name).rows(0, checkpoint.stored(name).n_rows)
        assert (ours - merged[name]).norm() <= 1e-6 * merged[name].norm(), name


def test_equals_merge_save_convert_quantise(
    it: Path, adapters: list[Path], converter: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"it: {it}\nbaseline: it.gguf\nadapters: [{adapters[0]}, {adapters[1]}]\n"
        f"heal: {{adapter: {adapters[2]}, onto: it}}\n"
    )
    out, hf = tmp_path / "out.gguf", tmp_path / "merged"
    # the baseline does not exist yet, so the build makes it
    result = build(load_recipe(recipe), {"s": 0.3, "alpha": 0.2}, out, hf=hf)
    assert (result.n_changed, result.n_copied) == (210, 62)
    make_baseline(str(hf), tmp_path / "again.gguf")
    ours, theirs = read_gguf(out), read_gguf(tmp_path / "again.gguf")
    assert list(ours.tensors) == list(theirs.tensors)
    read = _reader(ours.path), _reader(theirs.path)
    for name, info in ours.tensors.items():
        there = theirs.tensors[name]
        assert read[0](ours.data_start + info.offset, info.size_bytes) == read[1](
            theirs.data_start + there.offset, there.size_bytes
        ), name


def _reader(path: Path) -> Callable[[int, int], bytes]:
    raw = path.read_bytes()
    return lambda start, size: raw[start : start + size]
