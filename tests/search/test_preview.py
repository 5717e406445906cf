"""The preview against norms computed from the merged checkpoint itself."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.errors import IngredientError
from search.merging.adapter import Adapter
from search.preview import preview, preview_lines
from search.recipe import Recipe
from search.recipe_file import load_recipe
from search.tensors.checkpoint import Checkpoint
from search.tensors.names import layer_of
from tests.search.masks import make_fisher, make_subspace

PathMaker = Callable[..., Path]


@pytest.fixture
def recipe(checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path) -> Recipe:
    """Fuel with a Fisher, heal with a mask; no baseline, which a preview does not need."""
    it, pt = Checkpoint(checkpoint_of("llama")), Checkpoint(checkpoint_of("llama", seed=1))
    make_fisher(tmp_path / "fisher.safetensors", it)
    make_subspace(tmp_path / "subspace.safetensors", it, pt)
    parts = {
        "it": str(it.folder),
        "pt": str(pt.folder),
        "baseline": "none.gguf",
        "adapters": [str(adapter_of(it.folder))],
        "fisher": "fisher.safetensors",
        "subspace": "subspace.safetensors",
        "heal": {"adapter": str(adapter_of(it.folder, seed=9)), "onto": "pt", "mask": {}},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(parts))
    return load_recipe(tmp_path / "recipe.yaml")


def test_without_dampening_everything_comes_through(recipe: Recipe) -> None:
    bare = recipe.model_copy(update={"fisher": None})
    shown = preview(bare, {"s": 0.5})
    it = Checkpoint(Path(recipe.it))
    adapter = Adapter(Path(recipe.adapters[0].path), it)
    assert [row.layer for row in shown.layers] == [0, 1]
    for row in shown.layers:
        names = [name for name in adapter.names if layer_of(name) == row.layer]
        deltas = [0.5 * adapter.factors(name).rows(0, it.stored(name).n_rows) for name in names]
        base = sum(float(it.rows(name).square().sum()) for name in names) ** 0.5
        moved = sum(float(delta.square().sum()) for delta in deltas) ** 0.5
        assert row.n_touched == len(names)
        assert row.moved == pytest.approx(moved / base, rel=1e-4)
        assert row.fuel_norm == pytest.approx(moved / base, rel=1e-4)
        assert row.let_through == pytest.approx(1, rel=1e-4)
        assert row.heal_norm is None


def test_dampening_lets_less_through(recipe: Recipe) -> None:
    rows = preview(recipe, {"s": 0.5}).layers
    shares = [row.let_through for row in rows]
    # of two layers, the more important one is closed, the other open but for F itself
    assert min(share for share in shares if share is not None) == pytest.approx(0, abs=1e-6)
    assert 0.5 < max(share for share in shares if share is not None) < 1


def test_slerp_lies_between_its_ends(recipe: Recipe) -> None:
    shown = preview(recipe, {"s": 0.5, "alpha": 0.3, "rank": 4})
    assert shown.layers[-1].layer is None
    for row in shown.layers:
        assert row.cosine is not None
        assert row.heal_cosine is not None
        assert row.heal_cosine < row.cosine <= 1
        assert 0 < row.moved < (row.heal_norm or 0)
    assert all(0 < (row.in_subspace or 0) < 0.5 for row in shown.layers[:-1])


def test_share_of_a_full_subspace_is_everything(
    recipe: Recipe, checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    it = Checkpoint(Path(recipe.it))
    name = "model.layers.0.self_attn.v_proj.weight"
    # all 128 left directions of a [128, 256] weight: nothing can lie outside
    pt = Checkpoint(checkpoint_of("llama", seed=1))
    make_subspace(tmp_path / "subspace.safetensors", it, pt, rank=128, names=[name])
    row = preview(recipe, {"s": 0.1, "alpha": 0.5}).layers[0]
    assert row.in_subspace == pytest.approx(1, abs=1e-5)


def test_lines_are_a_table(recipe: Recipe) -> None:
    lines = list(preview_lines(preview(recipe, {"s": 0.5, "alpha": 0.3})))
    assert lines[-1].split()[0] == "outside"
    assert len({len(line) for line in lines}) == 1


def test_rank_beyond_the_stored_one(recipe: Recipe) -> None:
    with pytest.raises(IngredientError, match="beyond the 8 directions"):
        preview(recipe, {"rank": 9})


def test_same_for_any_number_of_threads(recipe: Recipe) -> None:
    torch.manual_seed(0)
    one, two = (preview(recipe, {"s": 1, "alpha": 0.2}, n_threads=n) for n in (1, 2))
    assert one == two
