"""Checkpoints, Fishers, subspaces and GGUFs that are broken or do not fit: one line each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.describe import describe
from search.errors import BuildError, IngredientError, TemplateError
from search.export.gguf_file import read_gguf
from search.fisher.file import FisherFile, read_layer_importance
from search.ingredients import open_ingredients
from search.recipe_file import load_recipe
from search.subspace.file import SubspaceFile
from search.tensors.checkpoint import Checkpoint, find_source
from search.tensors.names import canonical
from tests.search.masks import make_fisher, make_subspace

PathMaker = Callable[..., Path]


@pytest.fixture
def folder(checkpoint_of: PathMaker, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to break."""
    return Path(shutil.copytree(checkpoint_of("llama"), tmp_path / "copy"))


def test_names_of_the_same_tensor() -> None:
    for name in (
        "model.layers.3.mlp.up_proj.weight",
        "model.language_model.layers.3.mlp.up_proj.weight",
        "language_model.model.layers.3.mlp.up_proj.weight",
    ):
        assert canonical(name) == "model.layers.3.mlp.up_proj.weight"
    assert canonical("language_model.lm_head.weight") == "lm_head.weight"
    assert canonical("model.vision_tower.x.weight") is None
    assert canonical("multi_modal_projector.x") is None


def test_reads_what_safetensors_wrote(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    expected = load_file(folder / "model.safetensors")
    assert set(checkpoint.names) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(checkpoint.rows(name), tensor.float())
        assert torch.equal(checkpoint.rows(name, 3, 9), tensor[3:9].float())


def test_hash_is_of_the_weights_however_they_are_sharded(
    checkpoint_of: PathMaker, folder: Path
) -> None:
    whole, sharded = checkpoint_of("llama"), checkpoint_of("llama", shard="500KB")
    assert len(Checkpoint(sharded).files) > 1
    assert Checkpoint(whole).sha256 == Checkpoint(sharded).sha256
    before = Checkpoint(folder).sha256
    assert before == Checkpoint(whole).sha256
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, folder / "model.safetensors")
    assert Checkpoint(folder).sha256 != before


def test_a_multimodal_checkpoint_is_its_text_model(checkpoint_of: PathMaker) -> None:
    text, whole = (Checkpoint(checkpoint_of(name)) for name in ("gemma4", "gemma4-multimodal"))
    assert whole.left_out == ("model.vision_tower.encoder.weight",)
    assert whole.sha256 == text.sha256
    assert whole.n_layers == text.n_layers == 3
    assert describe(whole.folder)["n_left_out"] == 1


def test_cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    for size in (4, 100, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(IngredientError, match=r"cut short|no safetensors|broken"):
            Checkpoint(folder)


def test_not_finite(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][5] = float("inf")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(IngredientError, match=r"model\.norm\.weight holds NaN or infinity"):
        Checkpoint(folder).rows("model.norm.weight")


def test_large_values_are_finite(folder: Path) -> None:
    # a sum of these is not finite, though each of them is
    tensors = {"a": torch.full((4,), 3e38), **load_file(folder / "model.safetensors")}
    save_file(tensors, folder / "model.safetensors")
    assert Checkpoint(folder).rows("a").tolist() == tensors["a"].tolist()


def test_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(IngredientError, match="pickled, which can run code"):
        Checkpoint(folder)


def test_an_index_that_points_outside(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.safetensors", tmp_path / "outside.safetensors")
    index = {"weight_map": {"model.norm.weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(IngredientError, match="points outside the folder"):
        Checkpoint(folder)


def test_a_link_that_points_outside(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder / "model.safetensors", tmp_path / "outside.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(IngredientError, match="points outside the folder"):
        Checkpoint(folder)


def test_the_hub_s_own_links_are_followed(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "rev"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        shutil.move(path, blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert "model.norm.weight" in Checkpoint(snapshot)


def test_a_missing_shard(checkpoint_of: PathMaker, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint_of("llama", shard="500KB"), tmp_path / "copy"))
    lost = sorted(folder.glob("*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(IngredientError, match=f"shard {lost.name} is missing"):
        Checkpoint(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(IngredientError, match=r"config\.json is not"):
        Checkpoint(folder)


def test_neither_folder_nor_hub_id(tmp_path: Path) -> None:
    with pytest.raises(IngredientError, match="does not exist"):
        find_source(str(tmp_path / "none"))
    with pytest.raises(IngredientError, match="not to be had from the hub") as caught:
        find_source("nobody-here/no-such-model")
    assert "\n" not in str(caught.value)


def write_recipe(tmp_path: Path, it: Path, adapter: Path, **parts: str) -> Path:
    path = tmp_path / "recipe.yaml"
    mask = {"mask": {}} if "subspace" in parts else {}
    path.write_text(
        json.dumps(
            {
                "it": str(it),
                "baseline": "it.gguf",
                "adapters": [{"path": str(adapter), **mask}],
                **parts,
            }
        )
    )
    return path


def test_masks_of_other_weights(
    checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path
) -> None:
    it, other = checkpoint_of("llama"), checkpoint_of("llama", seed=1)
    adapter = adapter_of(it)
    fisher, subspace = tmp_path / "fisher.safetensors", tmp_path / "subspace.safetensors"
    make_fisher(fisher, Checkpoint(it))
    make_subspace(subspace, Checkpoint(it), Checkpoint(other))
    open_ingredients(
        load_recipe(write_recipe(tmp_path, it, adapter, fisher=str(fisher), subspace=str(subspace)))
    )
    for parts in ({"fisher": str(fisher)}, {"subspace": str(subspace)}):
        recipe = load_recipe(write_recipe(tmp_path, other, adapter, **parts))
        with pytest.raises(IngredientError, match="was made for other weights"):
            open_ingredients(recipe)


def test_masks_that_cover_nothing(
    checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path
) -> None:
    it = checkpoint_of("llama")
    adapter = adapter_of(it, targets=("embed_tokens",))
    fisher = tmp_path / "fisher.safetensors"
    make_fisher(fisher, Checkpoint(it))
    recipe = load_recipe(write_recipe(tmp_path, it, adapter, fisher=str(fisher)))
    with pytest.raises(IngredientError, match="covers none"):
        open_ingredients(recipe)


def test_pt_of_another_shape(
    checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path
) -> None:
    it = checkpoint_of("llama")
    path = write_recipe(tmp_path, it, adapter_of(it), pt=str(checkpoint_of("qwen3")))
    text = json.loads(path.read_text())
    text["heal"] = {"adapter": str(adapter_of(it)), "onto": "pt"}
    path.write_text(json.dumps(text))
    with pytest.raises(IngredientError, match="is this the model that IT came from"):
        open_ingredients(load_recipe(path))


def test_fisher_gates_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "fisher.safetensors"
    values = torch.tensor([[0.0, 1.0, 2.0], [4.0, 4.0, 100.0]])
    save_file({"model.layers.0.x.weight": values}, path)
    fisher = FisherFile(path)
    plain = fisher.gate("model.layers.0.x.weight", "minmax")
    assert torch.allclose(plain(0, 2), values / 100)
    # six elements: the two fours share the middle of ranks 3 and 4
    rank = fisher.gate("model.layers.0.x.weight", "rank")
    assert rank(0, 2).flatten().tolist() == pytest.approx([0, 0.2, 0.4, 0.7, 0.7, 1.0], abs=1e-6)
    log = fisher.gate("model.layers.0.x.weight", "log")(0, 2)
    # from 1e-12 of the largest (27.6 nats below it) to the largest
    assert log[0, 0] == 0
    assert log[1, 2] == pytest.approx(1)
    assert float(log[0, 1]) == pytest.approx(1 - 4.60517 / 27.63102, abs=1e-4)


def test_public_fisher_files(tmp_path: Path, checkpoint_of: PathMaker) -> None:
    checkpoint = Checkpoint(checkpoint_of("llama"))
    values = make_fisher(tmp_path / "fisher.safetensors", checkpoint)
    torch.save(values, tmp_path / "fisher.pt")
    ours, public = FisherFile(tmp_path / "fisher.safetensors"), FisherFile(tmp_path / "fisher.pt")
    for name in values:
        assert torch.equal(ours.gate(name, "minmax")(2, 5), public.gate(name, "minmax")(2, 5))
    assert ours.layer_importance() == pytest.approx(public.layer_importance(), rel=1e-5)


class _Runs:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("a file must not run this",)


def test_a_fisher_that_would_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": _Runs()}, tmp_path / "fisher.pt")
    with pytest.raises(IngredientError, match="not a plain file of tensors"):
        FisherFile(tmp_path / "fisher.pt")
    assert "must not run" not in capsys.readouterr().out


def test_a_negative_fisher(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([[1.0, -1.0]])}, tmp_path / "fisher.safetensors")
    with pytest.raises(IngredientError, match="negative"):
        FisherFile(tmp_path / "fisher.safetensors").rows("w", 0, 1)


@pytest.mark.parametrize(
    "value",
    [
        [0.2, 0.6, 1.0],
        {"0": 0.2, "1": 0.6, "2": 1.0},
        {"layers": {"layer_0": 0.2, "layer_1": 0.6, "layer_2": 1.0}},
        {"layer_importance": {"model.layers.0": 2, "model.layers.1": 6, "model.layers.2": 10}},
    ],
)
def test_layer_importance_in_all_shapes(tmp_path: Path, value: object) -> None:
    path = tmp_path / "layer_importance.json"
    path.write_text(json.dumps(value))
    assert read_layer_importance(path, 3) == pytest.approx({0: 0, 1: 0.5, 2: 1})
    with pytest.raises(IngredientError, match="has 3 layers, the model 4"):
        read_layer_importance(path, 4)


def test_subspace_of_lower_rank_is_the_top_of_a_higher(
    tmp_path: Path, checkpoint_of: PathMaker
) -> None:
    it, pt = Checkpoint(checkpoint_of("llama")), Checkpoint(checkpoint_of("llama", seed=1))
    bases = make_subspace(tmp_path / "subspace.safetensors", it, pt, rank=8)
    file = SubspaceFile(tmp_path / "subspace.safetensors")
    name = file.names[0]
    assert file.basis(name, None).rank == 8
    low = file.basis(name, 3)
    assert torch.equal(low.left, bases[name][0][:, :3])
    assert torch.equal(low.right, bases[name][1][:, :3])
    assert file.basis(name, 0).rank == 0
    assert describe(file.path)["rank"] == 8


def test_a_subspace_without_its_record(tmp_path: Path) -> None:
    save_file({"w.U": torch.ones(1, 3)}, tmp_path / "subspace.safetensors")
    with pytest.raises(IngredientError, match=r"has no weighin\.subspace metadata"):
        SubspaceFile(tmp_path / "subspace.safetensors")
    save_file(
        {"w.U": torch.ones(1, 3)},
        tmp_path / "subspace.safetensors",
        metadata={"weighin.subspace": json.dumps({"rank": 3})},
    )
    with pytest.raises(IngredientError, match="it_sha256"):
        SubspaceFile(tmp_path / "subspace.safetensors")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is not a GGUF"),
        (b"PK\x03\x04", "is not a GGUF"),
        (b"GGUF\x03\x00\x00\x00", "cut short"),
        (b"GGUF" + (2).to_bytes(4, "little") + bytes(16), "version 2"),
        (b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16, "cut short"),
    ],
)
def test_what_is_no_gguf(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(raw)
    with pytest.raises(TemplateError, match=says):
        read_gguf(path)


def test_reads_a_gguf_as_the_gguf_package_does(smollm2_gguf: Path) -> None:
    from gguf import GGUFReader

    ours, theirs = read_gguf(smollm2_gguf), GGUFReader(smollm2_gguf)
    assert ours.value("general.architecture") == "llama"
    assert ours.value("tokenizer.ggml.tokens") == theirs.fields["tokenizer.ggml.tokens"].contents()
    assert ours.length("tokenizer.ggml.tokens") == 49152
    for tensor in theirs.tensors:
        info = ours.tensors[tensor.name]
        assert info.kind == tensor.tensor_type
        assert info.size_bytes == tensor.n_bytes
        assert ours.data_start + info.offset == tensor.data_offset


def test_a_cut_gguf(smollm2_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    with smollm2_gguf.open("rb") as whole:
        path.write_bytes(whole.read(10_000_000))
    with pytest.raises(TemplateError, match="cut short at tensor"):
        read_gguf(path)


def test_too_little_disk(tmp_path: Path) -> None:
    from search.disk import check_room

    with pytest.raises(BuildError, match="GB free"):
        check_room(tmp_path, 1 << 60)
    with pytest.raises(BuildError, match="is not a folder"):
        check_room(tmp_path / "none", 1)


def test_what_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(IngredientError, match="cannot tell what"):
        describe(tmp_path / "x.txt")
