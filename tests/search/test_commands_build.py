"""The commands around one GGUF: what they print, and what bad input ends with."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from harness.console import run_app
from search.cache import file_sha256
from search.commands import build as commands_build

PathMaker = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the entry point does; returns exit code, standard output and error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    for command in (commands_build.baseline, commands_build.build, commands_build.inspect):
        app.command()(command)

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["weighin", *map(str, arguments)])
        capsys.readouterr()
        code = run_app(app)
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


@pytest.fixture
def recipe(
    checkpoint_of: PathMaker, adapter_of: PathMaker, baseline_of: PathMaker, tmp_path: Path
) -> Path:
    folder = checkpoint_of("llama")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"it: {folder}\nbaseline: {baseline_of(folder)}\nadapters: [{adapter_of(folder)}]\n"
    )
    return path


def test_build(run: Run, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    code, said, progress = run("build", recipe, "-p", "s=0.5", "-o", out, "--json")
    assert code == 0
    result = json.loads(said)
    assert result["sha256"] == file_sha256(out)
    assert result["numbers"]["s"] == 0.5
    assert "built 100%" in progress
    code, said, _ = run("inspect", out)
    assert code == 0
    assert '"s": 0.5' in said


def test_inspect(run: Run, recipe: Path, checkpoint_of: PathMaker) -> None:
    code, said, _ = run("inspect", recipe, "-p", "s=0.3", "--json")
    assert code == 0
    assert [row["layer"] for row in json.loads(said)["layers"]] == [0, 1]
    code, said, _ = run("inspect", checkpoint_of("llama"))
    assert code == 0
    assert "architecture: LlamaForCausalLM" in said


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        (("s=3",), "s=3.0"),
        (("s=high",), "s=high"),
        (("sigma=1",), "unknown number 'sigma'"),
        (("alpha=0.2",), "needs a heal adapter"),
        (("s",), "write NAME=VALUE"),
    ],
)
def test_bad_numbers_are_one_line(
    run: Run, recipe: Path, tmp_path: Path, numbers: tuple[str, ...], says: str
) -> None:
    options = [part for number in numbers for part in ("-p", number)]
    code, said, error = run("build", recipe, *options, "-o", tmp_path / "out.gguf")
    assert code == 2
    assert said == ""
    assert error.count("\n") == 1
    assert says in error
    assert not (tmp_path / "out.gguf").exists()


def test_baseline_of_a_folder_without_weights(run: Run, tmp_path: Path) -> None:
    code, _, error = run("baseline", tmp_path, "-o", tmp_path / "out.gguf")
    assert code == 2
    assert "config.json" in error.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("converter")
def test_baseline_of_an_unknown_type(run: Run, checkpoint_of: PathMaker, tmp_path: Path) -> None:
    code, _, error = run(
        "baseline", checkpoint_of("llama"), "--type", "Q7_K", "-o", tmp_path / "out.gguf"
    )
    assert code == 2
    assert "unknown type 'Q7_K'" in error
    assert list(tmp_path.iterdir()) == []
