"""A recipe that has its heal adapter trained, and the command that trains it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from harness.console import run_app
from search.build import build, build_hash
from search.commands import build as commands_build
from search.commands import train as commands_train
from search.errors import RecipeError, TrainingError
from search.export.gguf_file import read_gguf
from search.ingredients import open_ingredients
from search.merging.blocks import blocks_of
from search.merging.merge import TensorMerge
from search.numbers import numbers_for
from search.prepare import prepare
from search.preview import preview
from search.recipe import Recipe
from search.recipe_file import load_recipe
from search.tensors.checkpoint import Checkpoint
from tests.search.masks import make_fisher, make_subspace
from tests.search.models import CHAT_TEMPLATE
from tests.search.test_train import leaks, write_chats

PathMaker = Callable[..., Path]
TRAIN = (
    "{data: chats.jsonl, r: 2, alpha: 4, targets: [v_proj, down_proj], learning_rate: 1.0e-2, "
    "gradient_accumulation: 2}"
)
NAME = "model.layers.1.self_attn.v_proj.weight"


@pytest.fixture
def write(
    checkpoint_of: PathMaker, adapter_of: PathMaker, baseline_of: PathMaker, tmp_path: Path
) -> Callable[..., Path]:
    """Write a recipe whose heal adapter is trained on PT under the mask."""
    it, pt = checkpoint_of("llama"), checkpoint_of("llama", seed=5)
    (pt / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    write_chats(tmp_path / "chats.jsonl", 6)
    make_subspace(tmp_path / "subspace.safetensors", Checkpoint(it), Checkpoint(pt), rank=8)
    make_fisher(tmp_path / "fisher.safetensors", Checkpoint(it))

    def go(heal: str = f"{{train: {TRAIN}, onto: pt, mask: {{apply: train}}}}") -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            f"it: {it}\npt: {pt}\nbaseline: {baseline_of(it)}\nadapters: [{adapter_of(it)}]\n"
            f"subspace: subspace.safetensors\nheal: {heal}\nmerge: {{s: 0.0, alpha: 1.0}}\n"
        )
        return path

    return go


def trained(folder: Path) -> set[Path]:
    return set(folder.glob("trained/heal-*/adapter_model.safetensors"))


def rows(recipe: Recipe, chosen: dict[str, Any]) -> torch.Tensor:
    """One merged tensor."""
    ingredients = open_ingredients(recipe)
    merge = TensorMerge(ingredients, numbers_for(recipe, chosen), NAME)
    blocks = blocks_of(ingredients.it.stored(NAME).shape)
    merge.prepare(blocks)
    return torch.cat([merge.rows(block) for block in blocks])


def test_one_adapter_for_each_rank(write: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(write())
    ready = prepare(recipe)
    hashes = {rank: build_hash(ready, {"rank": rank}) for rank in (4, 8)}
    assert hashes[4] != hashes[8]
    build(ready, {"rank": 4, "alpha": 0.0}, tmp_path / "none.gguf")
    assert trained(tmp_path) == set()  # naming a build, or one without heal, trains nothing

    result = build(ready, {"rank": 4}, tmp_path / "four.gguf")
    (four,) = trained(tmp_path)
    stamp = four.stat().st_mtime_ns
    assert result.build_hash == hashes[4]
    pt = Path(recipe.pt or "")
    assert max(leaks(four.parent, pt, tmp_path / "subspace.safetensors", 4)) < 1e-6
    assert min(leaks(four.parent, pt, tmp_path / "subspace.safetensors", 8)) > 1e-3
    kept = json.loads(read_gguf(tmp_path / "four.gguf").value("weighin.ingredients"))
    opened = ready.ingredients.heal_at(numbers_for(recipe, {"rank": 4}))
    assert opened is not None
    assert kept["heal"] == opened.sha256

    # another session finds it, trains another for another rank, and one alone for all stored
    again = prepare(load_recipe(write()))
    build(again, {"rank": 4, "alpha": 0.5}, tmp_path / "again.gguf")
    build(again, {"rank": 8}, tmp_path / "eight.gguf")
    build(again, {}, tmp_path / "all.gguf")
    assert len(trained(tmp_path)) == 2
    assert four.stat().st_mtime_ns == stamp

    # and merges it as it would one that is given
    given = load_recipe(write(f"{{adapter: {four.parent}, onto: pt, mask: {{apply: train}}}}"))
    assert torch.equal(rows(given, {}), rows(recipe, {"rank": 4}))
    assert not torch.equal(rows(given, {}), rows(recipe, {"rank": 8}))


def test_the_build_s_hash_follows_what_is_learnt(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write()
    before = build_hash(prepare(load_recipe(path)), {"rank": 4})
    write_chats(tmp_path / "chats.jsonl", 7)
    data = build_hash(prepare(load_recipe(path)), {"rank": 4})
    write(f"{{train: {TRAIN}, onto: pt, mask: {{apply: train, strength: 0.5}}}}")
    weaker = build_hash(prepare(load_recipe(path)), {"rank": 4})
    halved = build_hash(prepare(load_recipe(path)), {"rank": 4, "strength": 0.5})
    write(f"{{train: {TRAIN.replace('r: 2', 'r: 3')}, onto: pt, mask: {{apply: train}}}}")
    wider = build_hash(prepare(load_recipe(path)), {"rank": 4})
    assert len({before, data, weaker, halved, wider}) == 5
    assert trained(tmp_path) == set()


def test_an_unmasked_training_serves_every_rank(write: Callable[..., Path], tmp_path: Path) -> None:
    """With `apply: merge` one adapter is trained, free, and each build masks it."""
    recipe = load_recipe(write(f"{{train: {TRAIN}, onto: pt, mask: {{apply: merge}}}}"))
    ready = prepare(recipe)
    for rank in (0, 4, 8):
        build(ready, {"rank": rank}, tmp_path / "out.gguf")
    (only,) = trained(tmp_path)
    assert json.loads((only.parent / "training.json").read_text())["plan"]["mask"] is None


def test_a_preview_trains_nothing(write: Callable[..., Path], tmp_path: Path) -> None:
    recipe = load_recipe(write())
    with pytest.raises(
        TrainingError, match=r"is not trained yet; run `weighin train RECIPE --rank"
    ):
        preview(recipe, {"rank": 4})
    assert trained(tmp_path) == set()
    assert preview(recipe, {"alpha": 0.0}).layers == ()


@pytest.mark.parametrize(
    ("heal", "says"),
    [
        ("{onto: pt}", "give `adapter`, or `train`"),
        (f"{{adapter: x, train: {TRAIN}}}", "give `adapter`, or `train`"),
        ("{train: {data: []}}", "heal.train.data"),
        ("{train: {data: x, learning_rat: 1}}", "did you mean 'learning_rate'"),
        ("{train: {data: x, r: 0}}", "heal.train.r"),
        (
            "{train: {data: x}, mask: {mode: scale_mask, apply: train}}",
            "scales by the layers' importance; give `fisher`",
        ),
    ],
)
def test_what_cannot_be_meant(write: Callable[..., Path], heal: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(heal))
    assert says in str(caught.value)


def test_a_mask_at_training_needs_a_subspace(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "it: x\nbaseline: b\nadapters: [y]\nheal: {train: {data: d}, mask: {apply: train}}\n"
    )
    with pytest.raises(RecipeError, match="needs `subspace`"):
        load_recipe(path)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the entry point does; returns exit code, standard output and error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(commands_train.train)
    app.command()(commands_build.build)

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["weighin", *map(str, arguments)])
        capsys.readouterr()
        code = run_app(app)
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


def test_the_command_trains_what_a_build_then_finds(
    run: Run, write: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = write()
    code, said, progress = run("train", recipe, "--rank", 4, "--threads", 1, "--json")
    assert code == 0
    result = json.loads(said)
    assert result["plan"]["mask"]["rank"] == 4
    assert result["plan"]["settings"]["r"] == 2
    assert "step 3 of 3" in progress
    (adapter,) = trained(tmp_path)
    assert Path(result["adapter"]) == adapter.parent
    stamp = adapter.stat().st_mtime_ns
    code, _, progress = run("build", recipe, "-p", "rank=4", "-o", tmp_path / "out.gguf")
    assert code == 0
    assert "step" not in progress
    assert trained(tmp_path) == {adapter}
    assert adapter.stat().st_mtime_ns == stamp


def test_flags_alone_and_over_a_recipe(
    run: Run, write: Callable[..., Path], checkpoint_of: PathMaker, tmp_path: Path
) -> None:
    recipe, out = write(), tmp_path / "own"
    flags = ("--r", 3, "--layers", "1", "--strength", 0.5, "--importance", tmp_path / "none")
    code, said, _ = run("train", recipe, *flags, "--threads", 1, "-o", out)
    assert code == 0
    record = json.loads((out / "training.json").read_text())
    assert record["plan"]["settings"]["r"] == 3
    assert record["plan"]["settings"]["layers"] == [1]
    assert record["plan"]["mask"]["strength"] == 0.5
    assert record["n_factors"] == record["n_masked"] == 4
    assert "loss by step" in said
    assert "4 of 4 factors under the mask" in said
    alone = ("--onto", checkpoint_of("llama", seed=5), "--data", tmp_path / "chats.jsonl")
    code, said, _ = run("train", *alone, "--max-steps", 1, "--threads", 1, "-o", out, "--json")
    assert code == 0
    assert json.loads(said)["n_steps"] == 1
    assert json.loads(said)["plan"]["settings"]["r"] == 16


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name the model with --onto"),
        (("--onto", "x"), "what to learn with --data"),
        (("--onto", "x", "--data", "d"), "name a folder with --out"),
        (("--onto", "x", "--data", "d", "--mode", "project"), "--mode needs a subspace"),
        (("--onto", "x", "--data", "d", "--rank", "4"), "--rank needs a subspace"),
        (("--onto", "x", "--data", "d", "--layers", "1-x"), "'1-x' is no layer"),
        (("--onto", "x", "--data", "d", "--scheduler", "sudden"), "--scheduler sudden"),
        (("--onto", "x", "--data", "d", "--r", "0"), "--r 0"),
        (("--onto", "x", "--data", "d", "-o", "o"), "x: no such folder"),
    ],
)
def test_bad_flags_are_one_line(run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, said, error = run("train", *arguments)
    assert code == 2
    assert said == ""
    assert error.count("\n") == 1
    assert says in error


def test_a_study_is_bound_to_what_is_learnt_not_to_where_it_lies(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    from harness.settings import EngineSettings
    from search.study.fingerprint import parts_of

    path = write()
    before = parts_of(prepare(load_recipe(path)), (), EngineSettings())
    assert before["heal training"].startswith("sha256 ")
    assert before["recipe heal.train.r"] == "2"
    assert str(tmp_path) not in json.dumps(before)
    write_chats(tmp_path / "chats.jsonl", 7)
    after = parts_of(prepare(load_recipe(path)), (), EngineSettings())
    assert {name for name in before if before[name] != after[name]} == {"heal training"}


def test_a_study_does_not_start_with_a_training_that_cannot_be(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write()
    (tmp_path / "chats.jsonl").unlink()
    with pytest.raises(TrainingError, match="No such file"):
        prepare(load_recipe(tmp_path / "recipe.yaml"))
