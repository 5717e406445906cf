"""The command line: quick to help, one line for bad input."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "llama_cpp", "optuna", "pandas", "scipy", "numpy", "lm_eval")
COMMANDS = (
    "search",
    "eval",
    "compare",
    "check",
    "baseline",
    "build",
    "inspect",
    "score",
    "kld",
    "report",
    "card",
    "publish",
    "study",
    "dashboard",
    "best",
)

PROBE = """
import sys
sys.argv = ["weighin", *{arguments!r}]
from search.cli import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0, stop.code
print("HEAVY", [name for name in {heavy!r} if name in sys.modules])
"""


def weighin(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    arguments = [command, "--help"] if command else ["--help"]
    probe = PROBE.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "Usage: weighin" in done.stdout
    assert done.stdout.endswith("HEAVY []\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["eval", "missing.gguf"], "missing.gguf: no such file"),
        (["eval", "text.gguf"], "text.gguf: not a GGUF"),
        (["eval", "text.gguf", "--parallel", "0"], "parallel"),
        (["eval", "text.gguf", "--cache-type", "q9"], "--cache-type"),
        (["eval", "head.gguf", "--tasks", "minni"], "minni"),
        (["eval", "head.gguf", "--chat-template", "no.jinja"], "no.jinja: no chat template can be"),
        (["eval"], "Missing argument 'model'"),
        (["compare", "a", "b"], "a: no run here"),
        (["check", "head.gguf", "--baseline", "a"], "no gate given"),
        (["check", "head.gguf", "--baseline", "a", "--min", "x"], "expected METRIC=NUMBER"),
        (["search", "missing.yaml"], "missing.yaml"),
        (["search", "recipe.yaml"], "recipe.yaml:2: adaptors: unknown key"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.gguf").write_text("hello")
    # version 3, one tensor: enough to be taken for a GGUF until it is loaded
    (tmp_path / "head.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0))
    (tmp_path / "recipe.yaml").write_text("it: x\nadaptors: [a]\nbaseline: b.gguf\n")
    before = sorted(tmp_path.rglob("*"))
    done = weighin(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert told in done.stderr
    assert sorted(tmp_path.rglob("*")) == before, "nothing half-written is left"
