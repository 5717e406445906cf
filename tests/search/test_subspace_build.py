"""The subspace of whole checkpoints: the file, going on after a kill, and the commands."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file

from harness.console import run_app
from search.commands import build as commands_build
from search.commands import subspace as commands_subspace
from search.errors import BuildError, IngredientError
from search.fisher.file import FisherFile
from search.ingredients import open_ingredients
from search.merging.factors import Factors
from search.merging.mask import mask, share_inside
from search.recipe_file import load_recipe
from search.subspace import build as subspace_build
from search.subspace.build import MatrixResult, build_subspace
from search.subspace.file import SubspaceFile
from search.subspace.source import matrix_names
from search.tensors.checkpoint import Checkpoint
from tests.search.masks import make_fisher, make_subspace

PathMaker = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

PROJECTION = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def pair(checkpoint_of: PathMaker) -> tuple[Path, Path]:
    """Two unlike models of one shape."""
    return checkpoint_of("llama"), checkpoint_of("llama", seed=1)


@pytest.fixture
def tuned(checkpoint_of: PathMaker, tmp_path: Path) -> Path:
    """A copy of a bfloat16 model in which one matrix has moved along two directions."""
    folder = Path(shutil.copytree(checkpoint_of("llama"), tmp_path / "tuned"))
    rng = torch.Generator().manual_seed(5)

    def move(tensor: torch.Tensor) -> torch.Tensor:
        rows, columns = (torch.randn(n, 2, generator=rng) for n in tensor.shape)
        return (tensor.float() + 1e-3 * rows @ columns.T).bfloat16()

    change(folder, PROJECTION, move)
    return folder


def change(folder: Path, name: str, how: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Replace a tensor of a checkpoint, or take it out."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    changed = how(tensors.pop(name))
    if changed is not None:
        tensors[name] = changed
    save_file(tensors, path, metadata={"format": "pt"})


def build(it: Path, out: Path, pt: Path, rank: int = 8, **options: bool) -> SubspaceFile:
    build_subspace(Checkpoint(it), out, rank=rank, pt=Checkpoint(pt), **options)
    return SubspaceFile(out)


def test_equals_the_svd_of_the_difference(pair: tuple[Path, Path], tmp_path: Path) -> None:
    it, pt = Checkpoint(pair[0]), Checkpoint(pair[1])
    file = build(pair[0], tmp_path / "subspace.safetensors", pair[1])
    assert file.header.it_sha256 == it.sha256
    assert file.header.pt_sha256 == pt.sha256
    assert file.header.rank == 8
    assert file.header.method.startswith("IT - PT; ")
    assert file.names == matrix_names(it)
    exact = make_subspace(tmp_path / "exact.safetensors", it, pt, rank=8)
    for name in file.names:
        delta = it.rows(name) - pt.rows(name)
        basis, (left, right) = file.basis(name, None), exact[name]
        assert torch.linalg.matrix_norm(basis.left - left @ (left.T @ basis.left), 2) < 1e-3
        assert torch.linalg.matrix_norm(basis.right - right @ (right.T @ basis.right), 2) < 1e-3
        values = torch.linalg.svdvals(delta)
        assert torch.allclose(torch.tensor(file.values(name)), values[:8], rtol=1e-5)
        share = float(values[:8].square().sum() / values.square().sum())
        assert file.header.captured[name] == pytest.approx(share, rel=1e-4)
        assert file.header.errors[name] < 1e-6


def test_a_mask_takes_the_directions_out(pair: tuple[Path, Path], tmp_path: Path) -> None:
    file = build(pair[0], tmp_path / "subspace.safetensors", pair[1])
    basis = file.basis(PROJECTION, 5)
    rng = torch.Generator().manual_seed(1)
    delta = Factors(torch.randn(256, 4, generator=rng), torch.randn(4, 256, generator=rng))
    masked = mask(delta, basis, 1.0)
    dense = masked.left @ masked.right
    assert float((basis.left.T @ dense).norm() / dense.norm()) < 1e-6
    assert float((dense @ basis.right).norm() / dense.norm()) < 1e-6
    inside = share_inside(delta, basis)
    assert inside is not None and inside > 0


@pytest.mark.parametrize("family", ["gemma4", "gemma4-multimodal"])
def test_gemma_4_without_its_tables(checkpoint_of: PathMaker, family: str, tmp_path: Path) -> None:
    # IT under the names of the multimodal model, PT under those of the text model
    it, pt = checkpoint_of(family), checkpoint_of("gemma4", seed=1)
    file = build(it, tmp_path / "subspace.safetensors", pt, rank=4)
    kinds = {name.split(".")[-2] for name in file.names}
    assert kinds == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        *("per_layer_input_gate", "per_layer_projection", "per_layer_model_projection"),
    }
    assert all(name.startswith("model.") and "language_model" not in name for name in file.names)
    assert all(file.stored_rank(name) == 4 for name in file.names)


def test_tables_if_asked(checkpoint_of: PathMaker, tmp_path: Path) -> None:
    it, pt = checkpoint_of("gemma4"), checkpoint_of("gemma4", seed=1)
    out = tmp_path / "subspace.safetensors"
    file = build(it, out, pt, rank=2, embeddings=True)
    assert "model.embed_tokens.weight" in file
    assert "model.embed_tokens_per_layer.weight" in file


def test_what_does_not_differ_has_rank_0_and_rounding_adds_none(
    tuned: Path, checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    out = tmp_path / "subspace.safetensors"
    file = build(tuned, out, checkpoint_of("llama"), rank=64)
    assert file.stored_rank(PROJECTION) == 2
    assert 0.3 < (file.header.captured[PROJECTION] or 0) < 1  # the rest is rounding
    rest = [name for name in file.names if name != PROJECTION]
    assert rest
    for name in rest:
        assert file.stored_rank(name) == 0
        assert file.header.captured[name] is None
        assert file.basis(name, None).rank == 0
    # any reader of safetensors takes it
    assert load_file(out)[f"{rest[0]}.U"].shape[0] == 0


def test_the_same_command_gives_the_same_bytes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for out in (first, second):
        build(pair[0], out, pair[1])
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [first.name, second.name]


def test_goes_on_where_it_was_killed(pair: tuple[Path, Path], tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.safetensors", tmp_path / "out.safetensors"
    build(pair[0], whole, pair[1])

    def stop_after_five(done: int, total: int, last: MatrixResult) -> None:
        if done == 5:
            raise KeyboardInterrupt

    def start(rank: int, progress: Callable[..., None] | None = None) -> int:
        it, pt = Checkpoint(pair[0]), Checkpoint(pair[1])
        return build_subspace(it, out, rank=rank, pt=pt, progress=progress).n_resumed

    with pytest.raises(KeyboardInterrupt):
        start(8, stop_after_five)
    assert not out.exists()
    assert start(8) == 5
    assert out.read_bytes() == whole.read_bytes()
    # parts of another rank are of no use, and are not left about
    out.unlink()
    with pytest.raises(KeyboardInterrupt):
        start(8, stop_after_five)
    assert start(4) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, whole.name]


def test_of_the_fisher(checkpoint_of: PathMaker, tmp_path: Path) -> None:
    it = Checkpoint(checkpoint_of("llama"))
    path = tmp_path / "fisher.safetensors"
    values = make_fisher(path, it)
    out = tmp_path / "subspace.safetensors"
    build_subspace(it, out, rank=3, fisher=FisherFile(path))
    file = SubspaceFile(out)
    assert file.header.pt_sha256 is None
    assert file.header.method.startswith("Fisher ")
    assert set(file.names) == set(values)
    left, _, right = torch.linalg.svd(values[PROJECTION], full_matrices=False)
    basis = file.basis(PROJECTION, 1)
    assert float((basis.left.T @ left[:, :1]).abs()) == pytest.approx(1, abs=1e-6)
    assert float((basis.right.T @ right[:1].T).abs()) == pytest.approx(1, abs=1e-6)
    # a public file of name -> tensor
    torch.save(values, tmp_path / "fisher.pt")
    again = tmp_path / "again.safetensors"
    build_subspace(it, again, rank=3, fisher=FisherFile(tmp_path / "fisher.pt"))
    assert torch.equal(
        SubspaceFile(again).basis(PROJECTION, 3).left, file.basis(PROJECTION, 3).left
    )


def test_a_recipe_takes_it(pair: tuple[Path, Path], adapter_of: PathMaker, tmp_path: Path) -> None:
    out = tmp_path / "subspace.safetensors"
    build(pair[0], out, pair[1])
    recipe = tmp_path / "recipe.yaml"
    adapter = {"path": str(adapter_of(pair[0])), "mask": {}}
    parts = {"it": str(pair[0]), "baseline": "it.gguf", "subspace": str(out)}
    recipe.write_text(json.dumps({**parts, "adapters": [adapter]}))
    opened = open_ingredients(load_recipe(recipe)).subspace
    assert opened is not None and PROJECTION in opened


def test_not_enough_memory(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "subspace.safetensors"
    monkeypatch.setattr(subspace_build, "free_memory", lambda *_: 1000)
    with pytest.raises(IngredientError, match=r"not enough memory: .* x .*; lower --rank"):
        build(pair[0], out, pair[1])
    monkeypatch.undo()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")

    monkeypatch.setattr(subspace_build, "factorise", fail)
    names = ["model.embed_tokens.weight"]
    monkeypatch.setattr("search.subspace.source.matrix_names", lambda *_, **__: names)
    with pytest.raises(IngredientError, match=r"not enough memory: .*; leave out --embeddings"):
        build(pair[0], out, pair[1], embeddings=True)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_is_no_number(tuned: Path, checkpoint_of: PathMaker, tmp_path: Path) -> None:
    change(tuned, "model.layers.1.mlp.up_proj.weight", lambda tensor: tensor * float("nan"))
    with pytest.raises(IngredientError, match=r"up_proj\.weight holds NaN"):
        build(tuned, tmp_path / "subspace.safetensors", checkpoint_of("llama"))
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the entry point does; returns exit code, standard output and error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(commands_build.inspect)
    app.command()(commands_subspace.subspace)

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["weighin", *map(str, arguments)])
        capsys.readouterr()
        code = run_app(app)
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


def test_the_command_and_its_view(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "subspace.safetensors"
    arguments = ("--it", pair[0], "--pt", pair[1], "--rank", 6, "-o", out)
    code, said, progress = run("subspace", *arguments, "--json")
    assert code == 0
    result = json.loads(said)
    assert result["size_bytes"] == out.stat().st_size
    assert result["n_weights"] == 14
    assert result["n_zero"] == 0
    assert "14/14 model." in progress
    code, said, _ = run("inspect", out, "--json")
    assert code == 0
    shown = json.loads(said)
    assert shown["rank"] == 6
    first = next(weight for weight in shown["weights"] if weight["name"] == PROJECTION)
    file = SubspaceFile(out)
    assert first["values"] == list(file.values(PROJECTION) or ())
    assert first["captured"] == file.header.captured[PROJECTION]
    assert (first["kind"], first["layer"], first["rank"]) == ("q_proj", 0, 6)
    code, said, _ = run("inspect", out)
    assert code == 0
    assert "q_proj: singular values of 2 weights" in said
    assert f"6 {first['captured']:.0%}" in said
    assert "┌" in said and "▀" in said


def test_the_view_of_ranks_that_differ(
    run: Run, tuned: Path, checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    out = tmp_path / "subspace.safetensors"
    code, said, _ = run(
        "subspace", "--it", tuned, "--pt", checkpoint_of("llama"), "--rank", "8", "-o", out
    )
    assert code == 0
    assert "14 weights, 13 of them not different beyond rounding" in said
    code, said, _ = run("inspect", out)
    assert code == 0
    assert "0 to 2" in said
    assert "up_proj: singular values" not in said


@pytest.mark.parametrize(
    ("change_pt", "told"),
    [
        (lambda _: None, rf"{PROJECTION} is in one only"),
        (lambda tensor: tensor[:128], rf"{PROJECTION} is [128, 256]"),
    ],
)
def test_a_pt_of_another_shape(
    run: Run,
    pair: tuple[Path, Path],
    tmp_path: Path,
    change_pt: Callable[[torch.Tensor], torch.Tensor | None],
    told: str,
) -> None:
    other = Path(shutil.copytree(pair[1], tmp_path / "other"))
    change(other, PROJECTION, change_pt)
    out = tmp_path / "subspace.safetensors"
    refused(run, ("--it", pair[0], "--pt", other, "-o", out), told)
    assert not out.exists()


def refused(run: Run, arguments: tuple[object, ...], told: str) -> None:
    code, said, error = run("subspace", *arguments)
    assert code == 2
    assert said == ""
    last = error.strip().splitlines()[-1]
    assert last.startswith("weighin: error: ")
    assert told in last
    assert "Traceback" not in error


def test_bad_input(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    it, pt = pair
    out = tmp_path / "subspace.safetensors"
    both = ("--it", it, "--pt", pt, "-o", out)
    refused(run, ("--it", it, "--pt", it, "-o", out), "hold the same weights")
    for rank in (0, -1):
        refused(run, (*both, "--rank", rank), "--rank")
    refused(run, ("--it", it, "-o", out), "name one of the two")
    refused(run, ("--it", it, "--pt", pt, "-o", tmp_path / "no" / "x"), "is not a folder")
    refused(run, ("--it", it, "--pt", tmp_path / "none", "-o", out), "does not exist")
    fisher = tmp_path / "fisher.safetensors"
    make_fisher(fisher, Checkpoint(pt))
    refused(run, ("--it", it, "--fisher", fisher, "-o", out), "was made for other weights")
    refused(run, (*both, "--fisher", fisher), "name one of the two")
    save_file({PROJECTION: torch.ones(4, 4)}, fisher)
    refused(run, ("--it", it, "--fisher", fisher, "-o", out), f"{PROJECTION} is [4, 4]")
    save_file({"something.else": torch.ones(4, 4)}, fisher)
    refused(run, ("--it", it, "--fisher", fisher, "-o", out), "covers none of the matrices")
    fisher.unlink()
    assert list(tmp_path.iterdir()) == []
    out.write_bytes(b"kept")
    refused(run, both, "exists; name another")
    assert out.read_bytes() == b"kept"


def test_a_pt_that_differs_by_rounding_only(checkpoint_of: PathMaker, tmp_path: Path) -> None:
    fine = checkpoint_of("llama", dtype="float32")
    coarse = Path(shutil.copytree(fine, tmp_path / "coarse"))
    path = coarse / "model.safetensors"
    save_file({n: t.bfloat16() for n, t in load_file(path).items()}, path)
    with pytest.raises(IngredientError, match="none of 14 matrices has a direction above rounding"):
        build(fine, tmp_path / "subspace.safetensors", coarse)
    with pytest.raises(BuildError, match="exists"):
        build(fine, path, coarse)
    assert [path.name for path in tmp_path.iterdir()] == ["coarse"]
