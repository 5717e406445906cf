"""Builds against llama.cpp's own converter and quantiser, and against the formula in float64."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter

from search.baseline import make_baseline
from search.build import build, build_hash
from search.cache import file_sha256
from search.errors import BuildError, IngredientError, TemplateError
from search.export.converter import convert
from search.export.gguf_file import GgufFile, read_gguf
from search.export.llama_child import quantize_file
from search.merging.slerp import coefficients, products
from search.prepare import prepare
from search.recipe import Recipe
from search.recipe_file import load_recipe
from search.tensors.checkpoint import Checkpoint
from search.tensors.names import layer_of
from tests.search.masks import make_fisher, make_subspace

PathMaker = Callable[..., Path]
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write_recipe(folder: Path, **parts: Any) -> Recipe:
    path = folder / "recipe.yaml"
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in parts.items()}
    # JSON is YAML
    path.write_text(json.dumps(plain))
    return load_recipe(path)


def tensor_bytes(header: GgufFile) -> dict[str, bytes]:
    raw = header.path.read_bytes()
    return {
        name: raw[header.data_start + info.offset :][: info.size_bytes]
        for name, info in header.tensors.items()
    }


def assert_same_tensors(one: Path, two: Path) -> None:
    a, b = read_gguf(one), read_gguf(two)
    assert {n: i.kind for n, i in a.tensors.items()} == {n: i.kind for n, i in b.tensors.items()}
    ours, theirs = tensor_bytes(a), tensor_bytes(b)
    assert [name for name in ours if ours[name] != theirs[name]] == []


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "family",
    [
        "llama",
        "gemma3",
        "gemma4-multimodal",
        *(
            pytest.param(name, marks=slow)
            for name in ("mistral", "qwen2", "qwen3", "gemma2", "gemma4")
        ),
    ],
)
def test_equals_merge_save_convert_quantise(
    checkpoint_of: PathMaker,
    adapter_of: PathMaker,
    baseline_of: PathMaker,
    tmp_path: Path,
    family: str,
) -> None:
    bare = family.removesuffix("-multimodal")
    adapters = [adapter_of(checkpoint_of(bare), rank=rank, seed=rank) for rank in (3, 5)]
    folder = checkpoint_of(family)
    recipe = write_recipe(
        tmp_path,
        it=folder,
        pt=checkpoint_of(family, seed=1),
        baseline=str(baseline_of(folder)),
        adapters=[str(adapter) for adapter in adapters],
        heal={"adapter": str(adapter_of(checkpoint_of(bare), rank=2, seed=9)), "onto": "pt"},
    )
    out, hf = tmp_path / "out.gguf", tmp_path / "merged"
    result = build(recipe, {"s": 0.4, "alpha": 0.3}, out, hf=hf, n_threads=2)
    make_baseline(str(hf), tmp_path / "again.gguf", n_threads=1)
    assert_same_tensors(out, tmp_path / "again.gguf")
    # PT differs in every tensor but those that the converter makes
    assert result.n_copied == sum(name.startswith("rope") for name in read_gguf(out).tensors)
    assert result.sha256 == file_sha256(out)


def test_the_folder_of_a_build_is_a_checkpoint_for_transformers(
    checkpoint_of: PathMaker, adapter_of: PathMaker, baseline_of: PathMaker, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    folder = checkpoint_of("llama", shard="500KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    recipe = write_recipe(
        tmp_path, it=folder, baseline=baseline_of(folder), adapters=[str(adapter_of(folder))]
    )
    build(recipe, {"s": 1}, tmp_path / "out.gguf", hf=tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(merged[name].float(), Checkpoint(folder).rows(name))
    assert "base_model_relation: merge" in (tmp_path / "merged" / "README.md").read_text()
    assert (tmp_path / "merged" / "tokenizer.model").exists()
    with pytest.raises(BuildError, match="not an empty folder"):
        build(recipe, {"s": 1}, tmp_path / "two.gguf", hf=tmp_path / "merged")
    assert not (tmp_path / "two.gguf").exists()


@pytest.fixture(scope="module")
def plain(
    converter: Path, checkpoint_of: PathMaker, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The Llama checkpoint converted, not quantised."""
    out = tmp_path_factory.mktemp("plain") / "plain.gguf"
    convert(checkpoint_of("llama"), out, "bf16")
    return out


@pytest.fixture
def simple(checkpoint_of: PathMaker, adapter_of: PathMaker, plain: Path, tmp_path: Path) -> Recipe:
    """One adapter on the Llama checkpoint, Q6_K."""
    folder = checkpoint_of("llama")
    quantize_file(plain, tmp_path / "it.gguf", "Q6_K", n_threads=1)
    return write_recipe(
        tmp_path, it=folder, baseline=tmp_path / "it.gguf", adapters=[str(adapter_of(folder))]
    )


def test_nothing_merged_is_the_template(simple: Recipe, tmp_path: Path) -> None:
    result = build(simple, {"s": 0, "alpha": 0}, tmp_path / "out.gguf")
    assert result.n_changed == 0
    assert_same_tensors(tmp_path / "out.gguf", Path(simple.baseline.path))


def test_threads_change_nothing(simple: Recipe, tmp_path: Path) -> None:
    results = [
        build(simple, {"s": 0.7}, tmp_path / f"{n}.gguf", n_threads=n).sha256 for n in (1, 2, 5)
    ]
    assert len(set(results)) == 1
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "5.gguf").read_bytes()


def test_says_where_it_came_from(simple: Recipe, tmp_path: Path) -> None:
    result = build(simple, {"s": 0.7}, tmp_path / "out.gguf")
    reader = GGUFReader(tmp_path / "out.gguf")
    fields = {key: reader.fields[f"weighin.{key}"].contents() for key in ("numbers", "recipe")}
    assert json.loads(fields["numbers"])["s"] == 0.7
    assert json.loads(fields["recipe"])["it"] == "llama"
    assert str(tmp_path) not in fields["recipe"]
    assert reader.fields["weighin.build_hash"].contents() == result.build_hash
    assert json.loads(reader.fields["weighin.ingredients"].contents()) == result.ingredients
    assert result.ingredients["it"] == Checkpoint(Path(simple.it)).sha256


def test_build_hash_is_shared_by_equal_builds_alone(simple: Recipe) -> None:
    ready = prepare(simple)
    assert build_hash(ready, {"s": 0.5}) == build_hash(
        ready, {"s": 0.5, "alpha": 0, "density": 0.5}
    )
    assert build_hash(ready, {"s": 0}) == build_hash(ready, {"s": 0, "seed": 4})
    assert len({build_hash(ready, {"s": s}) for s in (0, 0.5, 0.5001, 1)}) == 4


@pytest.mark.parametrize(
    "kind",
    [
        "Q8_0",
        "Q5_K_M",
        "Q4_K_M",
        "Q4_0",
        "Q5_0",
        "Q3_K_M",
        "IQ4_NL",
        "IQ4_XS",
        "F16",
        "BF16",
        "F32",
    ],
)
def test_every_type_is_proved(
    checkpoint_of: PathMaker, adapter_of: PathMaker, plain: Path, tmp_path: Path, kind: str
) -> None:
    quantize_file(plain, tmp_path / "it.gguf", kind, n_threads=1)
    folder = checkpoint_of("llama")
    recipe = write_recipe(
        tmp_path, it=folder, baseline=tmp_path / "it.gguf", adapters=[str(adapter_of(folder))]
    )
    ready = prepare(recipe)
    kinds = {info.type_name for info in ready.template.file.tensors.values()}
    assert len(kinds) > 1 or kind == "F32"
    result = build(ready, {"s": 1}, tmp_path / "out.gguf")
    assert result.n_changed == 12


@pytest.fixture(scope="module")
def imatrix(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An importance matrix of random activations, in llama.cpp's format."""
    path = tmp_path_factory.mktemp("imatrix") / "imatrix.gguf"
    rng = np.random.default_rng(0)
    writer = GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    for name, info in read_gguf(plain).tensors.items():
        if len(info.shape) == 2 and name.startswith("blk."):
            sums = rng.random((1, info.dimensions[0]), dtype=np.float32) * 40
            writer.add_tensor(f"{name}.in_sum2", sums)
            writer.add_tensor(f"{name}.counts", np.full((1, 1), 7, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["Q4_K_M", "IQ2_XS", "IQ3_XXS"])
def test_importance_matrix(
    checkpoint_of: PathMaker,
    adapter_of: PathMaker,
    plain: Path,
    imatrix: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    quantize_file(plain, tmp_path / "it.gguf", kind, imatrix=imatrix, n_threads=1)
    folder = checkpoint_of("llama")
    baseline = {"path": str(tmp_path / "it.gguf"), "imatrix": str(imatrix)}
    adapters = [str(adapter_of(folder))]
    ready = prepare(write_recipe(tmp_path, it=folder, baseline=baseline, adapters=adapters))
    assert ready.proved
    build(ready, {"s": 1}, tmp_path / "out.gguf")
    # without it the same template is refused: it needs one, or its bytes cannot be had again
    bare = write_recipe(tmp_path, it=folder, baseline=baseline["path"], adapters=adapters)
    with pytest.raises(TemplateError, match="importance matrix"):
        prepare(bare)


@pytest.mark.parametrize("mode", ["project", "scale_mask"])
def test_the_whole_formula_in_float64(
    checkpoint_of: PathMaker,
    adapter_of: PathMaker,
    baseline_of: PathMaker,
    tmp_path: Path,
    mode: str,
) -> None:
    folder = checkpoint_of("llama", dtype="float32")
    it, pt = Checkpoint(folder), Checkpoint(checkpoint_of("llama", dtype="float32", seed=1))
    fisher = make_fisher(tmp_path / "fisher.safetensors", it)
    bases = make_subspace(tmp_path / "subspace.safetensors", it, pt, rank=8)
    fuel = [adapter_of(folder, rank=rank, seed=rank, targets=TARGETS) for rank in (3, 5)]
    heal = adapter_of(folder, rank=2, seed=9, targets=TARGETS)
    recipe = write_recipe(
        tmp_path,
        it=folder,
        pt=str(pt.folder),
        baseline=baseline_of(folder),
        adapters=[str(fuel[0]), {"path": str(fuel[1]), "weight": 0.8}],
        fisher=str(tmp_path / "fisher.safetensors"),
        subspace=str(tmp_path / "subspace.safetensors"),
        heal={"adapter": str(heal), "onto": "pt", "mask": {"mode": mode}},
    )
    numbers = {"s": 0.6, "alpha": 0.3, "rank": 4}
    build(recipe, numbers, tmp_path / "out.gguf", hf=tmp_path / "merged")

    def delta(adapter: Path, name: str) -> torch.Tensor:
        from search.merging.adapter import Adapter

        factors = Adapter(adapter, it).factors(name)
        return factors.left.double() @ factors.right.double()

    sums = dict.fromkeys(range(it.n_layers), 0.0)
    for name, values in fisher.items():
        sums[layer_of(name) or 0] += float(values.double().sum())
    low, high = min(sums.values()), max(sums.values())
    merged = Checkpoint(tmp_path / "merged")
    for name in it.names:
        a, b = it.rows(name).double(), pt.rows(name).double()
        if name in fisher:
            layer = (sums[layer_of(name) or 0] - low) / (high - low)
            f = fisher[name].double()
            f = (f - f.min()) / (f.max() - f.min())
            d = 0.5 * delta(fuel[0], name) + 0.8 * delta(fuel[1], name)
            a = a + 0.6 * (1 - f) * (1 - layer) * d
            c = 1.0 if mode == "project" else layer
            u, v = (side[:, :4].double() for side in bases[name])
            inside = torch.eye(u.shape[0]) - c * u @ u.T
            b = b + inside @ delta(heal, name) @ (torch.eye(v.shape[0]) - c * v @ v.T)
        x, y = coefficients(0.3, products(a, b))
        expected = x * a + y * b
        ours = merged.rows(name).double()
        assert (ours - expected).norm() <= 2e-6 * expected.norm(), name


def test_ties_and_dare_build(
    checkpoint_of: PathMaker, adapter_of: PathMaker, baseline_of: PathMaker, tmp_path: Path
) -> None:
    folder = checkpoint_of("llama")
    adapters = [str(adapter_of(folder, rank=rank, seed=rank)) for rank in (3, 5)]
    parts = {"it": folder, "baseline": baseline_of(folder), "adapters": adapters}
    found = {}
    for method in ("average", "ties", "dare_ties"):
        recipe = write_recipe(tmp_path, **parts, merge={"method": method, "density": 0.5})
        for seed in (0, 1):
            out = tmp_path / f"{method}{seed}.gguf"
            found[method, seed] = build(recipe, {"s": 1, "seed": seed}, out, n_threads=1 + seed)
    same = {key: result.sha256 for key, result in found.items()}
    tensors = {key: tensor_bytes(read_gguf(result.path)) for key, result in found.items()}
    assert tensors["average", 0] == tensors["average", 1]
    assert tensors["ties", 0] == tensors["ties", 1] != tensors["average", 0]
    assert tensors["dare_ties", 0] != tensors["dare_ties", 1]
    assert found["ties", 0].build_hash == found["ties", 1].build_hash
    assert same["dare_ties", 0] != same["dare_ties", 1]


def test_template_of_other_weights(
    simple: Recipe, checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    other = checkpoint_of("llama", seed=1)
    wrong = simple.model_copy(update={"it": str(other)})
    with pytest.raises(TemplateError, match="made from other weights") as caught:
        prepare(wrong)
    assert "weighin baseline" in str(caught.value)


def test_template_of_another_architecture(
    simple: Recipe, checkpoint_of: PathMaker, adapter_of: PathMaker, tmp_path: Path
) -> None:
    other = checkpoint_of("qwen3")
    recipe = write_recipe(
        tmp_path, it=other, baseline=simple.baseline.path, adapters=[str(adapter_of(other))]
    )
    with pytest.raises(TemplateError, match=r"is a llama model, .* is qwen3"):
        prepare(recipe)


def test_template_of_another_vocabulary(
    simple: Recipe, checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    smaller = tmp_path / "smaller"
    shutil.copytree(checkpoint_of("llama"), smaller)
    tensors = load_file(smaller / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:-8].clone()
    save_file(tensors, smaller / "model.safetensors")
    with pytest.raises(TemplateError, match="another vocabulary or size"):
        prepare(simple.model_copy(update={"it": str(smaller)}))


@pytest.mark.parametrize(
    ("drop", "add", "says"),
    [
        ("model.norm.weight", None, r"has output_norm\.weight, which .* has not"),
        (None, "model.layers.0.mlp.extra.weight", "has no place in a llama GGUF"),
        (None, "model.layers.1.self_attn.q_proj.bias", r"lacks blk\.1\.attn_q\.bias"),
    ],
)
def test_a_tensor_missing_or_too_many(
    simple: Recipe,
    checkpoint_of: PathMaker,
    tmp_path: Path,
    drop: str | None,
    add: str | None,
    says: str,
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(checkpoint_of("llama"), other)
    tensors = load_file(other / "model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if name != drop}
    if add is not None:
        tensors[add] = torch.ones(256)
    save_file(tensors, other / "model.safetensors")
    with pytest.raises((TemplateError, IngredientError), match=says):
        prepare(simple.model_copy(update={"it": str(other)}))


def test_rank_beyond_the_stored_one(
    simple: Recipe, checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    it, pt = Checkpoint(Path(simple.it)), Checkpoint(checkpoint_of("llama", seed=1))
    make_subspace(tmp_path / "subspace.safetensors", it, pt, rank=8)
    recipe = write_recipe(
        tmp_path,
        it=simple.it,
        baseline=simple.baseline.path,
        subspace=str(tmp_path / "subspace.safetensors"),
        adapters=[{"path": simple.adapters[0].path, "mask": {}}],
    )
    build(recipe, {"s": 1, "rank": 8}, tmp_path / "out.gguf")
    with pytest.raises(IngredientError, match="beyond the 8 directions"):
        build(recipe, {"s": 1, "rank": 9}, tmp_path / "two.gguf")
    assert not (tmp_path / "two.gguf").exists()


def test_nothing_half_written(simple: Recipe, tmp_path: Path) -> None:
    ready = prepare(simple)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        build(ready, {"s": 1}, tmp_path / "out.gguf", progress=stop)
    assert set(tmp_path.iterdir()) == before


def test_refuses_to_write_over_the_template(simple: Recipe) -> None:
    with pytest.raises(BuildError, match="the template itself"):
        build(simple, {"s": 1}, Path(simple.baseline.path))


def test_a_delta_that_leaves_the_type(
    checkpoint_of: PathMaker, adapter_of: PathMaker, baseline_of: PathMaker, tmp_path: Path
) -> None:
    folder = checkpoint_of("llama", dtype="float16")
    huge = adapter_of(folder, strength=1e4)
    recipe = write_recipe(tmp_path, it=folder, baseline=baseline_of(folder), adapters=[str(huge)])
    with pytest.raises(BuildError, match="leaves the range of F16"):
        build(recipe, {"s": 1}, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()
