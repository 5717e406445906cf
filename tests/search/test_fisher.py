"""The Fisher estimate: its file, groups, going on after a kill, and what it refuses."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from safetensors import safe_open
from safetensors.torch import load_file

from harness.console import run_app
from search.commands import build as commands_build
from search.commands import fisher as commands_fisher
from search.errors import FisherError
from search.fisher import fisher
from search.fisher import groups as fisher_groups
from search.fisher.draft import FisherDraft
from search.fisher.file import FisherFile, read_layer_importance
from search.fisher.fisher import FisherOptions, make_fisher
from search.fisher.prompts import Examples, make_examples, read_asked, template_of
from search.tensors.checkpoint import Checkpoint
from search.tensors.text_model import load_tokenizer

PathMaker = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
ROWS = [
    {"id": "fox", "prompt": "the quick brown fox jumps over the lazy dog"},
    {"id": "box", "prompt": "pack my box with five dozen liquor jugs " * 4},
    {"id": "zebra", "prompt": "how vexingly quick daft zebras jump"},
    {"id": "short", "prompt": "fox"},
]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture(scope="module")
def checkpoint(checkpoint_of: PathMaker) -> Checkpoint:
    return Checkpoint(checkpoint_of("gemma4"))


@pytest.fixture(scope="module")
def examples(checkpoint: Checkpoint, prompts: Path) -> Examples:
    tokenizer = load_tokenizer(checkpoint)
    return make_examples(
        read_asked(str(prompts), "prompt"),
        "prompt",
        tokenizer=tokenizer,
        template=template_of(tokenizer, None),
        max_tokens=64,
        too_long="cut",
    )


OPTIONS = FisherOptions(
    loss="prompt", max_tokens=64, chat_template_sha256="0" * 64, threads=1, layers_at_a_time=3
)


@pytest.fixture(scope="module")
def whole(
    checkpoint: Checkpoint, examples: Examples, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The file as one undisturbed session writes it."""
    out = tmp_path_factory.mktemp("whole") / "fisher.safetensors"
    make_fisher(checkpoint, examples, out, OPTIONS)
    return out.read_bytes()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the entry point does; returns exit code, standard output and error."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(commands_fisher.fisher)
    app.command()(commands_build.inspect)

    def go(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["weighin", *map(str, arguments)])
        capsys.readouterr()
        code = run_app(app)
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


def test_file(checkpoint: Checkpoint, examples: Examples, tmp_path: Path) -> None:
    out = tmp_path / "fisher.safetensors"
    result = make_fisher(checkpoint, examples, out, replace(OPTIONS, save_dtype="float32"))
    assert result.n_cut == 1
    assert result.n_tokens == sum(len(example.tokens) - 1 for example in examples.examples)
    values = load_file(out)
    assert {tensor.dtype for tensor in values.values()} == {torch.float32}
    file = FisherFile(out)
    assert file.header is not None
    assert file.header.weights_sha256 == checkpoint.sha256
    assert file.header.prompt_ids == ("fox", "box", "zebra", "short")
    assert file.header.prompts_sha256 == examples.prompts.sha256
    assert set(file.header.sums) == set(values) == set(file.header.extremes)
    for name, tensor in values.items():
        assert file.header.sums[name] == pytest.approx(float(tensor.double().sum()))
        assert file.header.extremes[name] == (float(tensor.min()), float(tensor.max()))
        assert 0 <= tensor.min() < tensor.max()
    # what lies beside it says the same of the layers
    beside = read_layer_importance(result.layer_importance, checkpoint.n_layers)
    assert beside == pytest.approx(file.layer_importance())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fisher.safetensors",
        "layer_importance.json",
    ]


def test_values_are_means_over_the_prompts(
    checkpoint: Checkpoint, examples: Examples, tmp_path: Path
) -> None:
    parts = []
    for place, example in enumerate(examples.examples):
        prompts = examples.prompts.with_prompts([examples.prompts.prompts[place]])
        one = Examples(prompts, (example,), 0, 0)
        out = tmp_path / f"{place}.safetensors"
        make_fisher(checkpoint, one, out, replace(OPTIONS, save_dtype="float32"))
        parts.append(load_file(out))
    out = tmp_path / "all.safetensors"
    make_fisher(checkpoint, examples, out, replace(OPTIONS, save_dtype="float32"))
    for name, tensor in load_file(out).items():
        mean = torch.stack([part[name] for part in parts]).mean(0)
        torch.testing.assert_close(tensor, mean, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("layers", [1, 2])
def test_grouping_changes_no_byte(
    layers: int, checkpoint: Checkpoint, examples: Examples, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "fisher.safetensors"
    result = make_fisher(checkpoint, examples, out, replace(OPTIONS, layers_at_a_time=layers))
    assert result.layers_at_a_time == layers
    assert out.read_bytes() == whole


def test_batching_changes_only_roundings(
    checkpoint: Checkpoint, examples: Examples, tmp_path: Path
) -> None:
    found = []
    for batch in (1, 3):
        out = tmp_path / f"{batch}.safetensors"
        make_fisher(checkpoint, examples, out, replace(OPTIONS, batch=batch, save_dtype="float32"))
        found.append(load_file(out))
    for name, tensor in found[0].items():
        assert float((found[1][name] - tensor).norm() / tensor.norm()) < 1e-4, name


@pytest.mark.parametrize("save_interval_s", [0.0, 1000.0])
@pytest.mark.parametrize("stop_at", range(1, 12, 3))
def test_going_on_changes_no_byte(
    stop_at: int,
    save_interval_s: float,
    checkpoint: Checkpoint,
    examples: Examples,
    whole: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fisher, "SAVE_INTERVAL_S", save_interval_s)
    monkeypatch.setattr(fisher, "SAVE_SHARE", 1e9)
    out = tmp_path / "fisher.safetensors"
    told: list[int] = []

    def stop(group: str, n_done: int, n_all: int) -> None:
        told.append(n_done)
        if len(told) == stop_at:
            raise KeyboardInterrupt

    options = replace(OPTIONS, layers_at_a_time=1)
    with pytest.raises(KeyboardInterrupt):
        make_fisher(checkpoint, examples, out, options, stop)
    assert not out.exists()
    again: list[int] = []
    make_fisher(
        checkpoint, examples, out, options, lambda _group, n_done, _n_all: again.append(n_done)
    )
    assert out.read_bytes() == whole
    assert not out.with_name("fisher.safetensors.partial").exists()
    n_all = len(ROWS) * 3
    # with the sums kept after every prompt, only the one in work is lost
    lost = 1 if save_interval_s == 0 else (stop_at - 1) % len(ROWS) + 1
    assert len(told) + len(again) == n_all + lost


def test_going_on_with_fewer_layers(
    checkpoint: Checkpoint, examples: Examples, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "fisher.safetensors"
    calls = 0

    def stop(group: str, n_done: int, n_all: int) -> None:
        nonlocal calls
        calls += 1
        if calls == len(ROWS) + 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(FisherError, match=r"out of memory at layer.*lower --layers-at-a-time"):
        make_fisher(checkpoint, examples, out, replace(OPTIONS, layers_at_a_time=2), stop)
    labels: list[str] = []
    make_fisher(
        checkpoint,
        examples,
        out,
        replace(OPTIONS, layers_at_a_time=1),
        lambda group, _n_done, _n_all: labels.append(group),
    )
    assert set(labels) == {"layer 2"}  # the first two are kept
    assert out.read_bytes() == whole


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import search.fisher.fisher as fisher
from search.tensors.checkpoint import Checkpoint
from search.fisher.prompts import make_examples, read_asked, template_of
from search.tensors.text_model import load_tokenizer
from tests.search.test_fisher import OPTIONS

fisher.SAVE_INTERVAL_S, fisher.SAVE_SHARE = 0.0, 1e9
checkpoint = Checkpoint(Path(sys.argv[1]))
tokenizer = load_tokenizer(checkpoint)
examples = make_examples(
    read_asked(sys.argv[2], "prompt"), "prompt", tokenizer=tokenizer,
    template=template_of(tokenizer, None), max_tokens=64, too_long="cut",
)
def kill(group, n_done, n_all):
    if n_done == 6:
        os.kill(os.getpid(), signal.SIGKILL)
fisher.make_fisher(
    checkpoint, examples, Path(sys.argv[3]), replace(OPTIONS, layers_at_a_time=1), kill
)
"""


@pytest.mark.slow
def test_killed(
    checkpoint: Checkpoint, examples: Examples, prompts: Path, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "fisher.safetensors"
    arguments = [sys.executable, "-c", KILLED, checkpoint.folder, prompts, out]
    ended = subprocess.run(arguments, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -signal.SIGKILL
    again: list[int] = []
    options = replace(OPTIONS, layers_at_a_time=1)
    make_fisher(checkpoint, examples, out, options, lambda _group, n, _n_all: again.append(n))
    assert len(again) == 3 * len(ROWS) - 5  # the kill came before the sixth was kept
    assert out.read_bytes() == whole


def test_a_draft_of_another_estimate_is_refused(
    checkpoint: Checkpoint, examples: Examples, tmp_path: Path
) -> None:
    out = tmp_path / "fisher.safetensors"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_fisher(checkpoint, examples, out, OPTIONS, stop)
    for options, said in (
        (replace(OPTIONS, loss="sampled"), "loss was prompt and is sampled"),
        (replace(OPTIONS, save_dtype="float32"), "save_dtype was bf16 and is float32"),
        (replace(OPTIONS, targets=("q_proj",)), "it has other targets"),
        (replace(OPTIONS, precision="bf16"), "precision was float32 and is bf16"),
    ):
        with pytest.raises(FisherError, match=f"is of another estimate: {said}; delete"):
            make_fisher(checkpoint, examples, out, options)


def test_two_at_once(tmp_path: Path) -> None:
    out = tmp_path / "fisher.safetensors"
    with FisherDraft(out), pytest.raises(FisherError, match="another process is at work"):
        FisherDraft(out)
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_no_memory_for_a_layer(
    checkpoint: Checkpoint, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fisher, "free_memory", lambda _device: 1_000_000)
    monkeypatch.setattr(fisher_groups, "free_memory", lambda _device: 1 << 40)
    options = replace(OPTIONS, layers_at_a_time=None)
    with pytest.raises(FisherError, match=r"not enough memory.*lower --batch or --max-tokens"):
        make_fisher(checkpoint, examples, tmp_path / "f.safetensors", options)
    monkeypatch.setattr(fisher_groups, "free_memory", lambda _device: 1_000_000)
    with pytest.raises(FisherError, match=r"not enough memory: 0\.0 GB of bf16 weights"):
        make_fisher(checkpoint, examples, tmp_path / "f.safetensors", options)
    assert not list(tmp_path.iterdir())


def test_a_model_that_yields_no_numbers(
    checkpoint_of: PathMaker, checkpoint: Checkpoint, examples: Examples, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import save_file

    broken = tmp_path / "broken"
    shutil.copytree(checkpoint.folder, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"].fill_(3e38)
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FisherError, match=r"the loss on prompt 'box' is not finite"):
        make_fisher(Checkpoint(broken), examples, tmp_path / "f.safetensors", OPTIONS)


def test_bf16_and_drawn_tokens(run: Run, checkpoint: Checkpoint, prompts: Path) -> None:
    out = prompts.parent / "sampled.safetensors"
    arguments = ["fisher", checkpoint.folder, "--prompts", prompts, "-o", out, "--json"]
    arguments += ["--loss", "sampled", "--precision", "bf16", "--threads", "1", "--device", "cpu"]
    code, said, progress = run(*arguments, "--limit", "2", "--targets", "q_proj,down_proj")
    assert code == 0, progress
    result = json.loads(said)
    assert result["n_tensors"] == 6
    assert result["n_prompts"] == 2
    assert result["precision"] == "bf16"
    assert "gradients" in progress
    file = FisherFile(out)
    assert file.header is not None
    assert (file.header.loss, file.header.seed) == ("sampled", 0)
    with safe_open(out, "pt") as stored:
        assert stored.get_tensor("model.layers.0.self_attn.q_proj.weight").dtype == torch.bfloat16


def test_inspect(run: Run, checkpoint: Checkpoint, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "fisher.safetensors"
    common = ["--threads", "1", "--device", "cpu", "-o", out]
    code, said, problem = run("fisher", checkpoint.folder, "--prompts", prompts, *common)
    assert code == 0, problem
    assert "26 weights, 4 prompts (0 cut to 256 tokens, 0 left out)" in said
    code, shown, _ = run("inspect", out)
    assert code == 0
    assert "loss: prompt" in shown
    assert "n_prompts: 4" in shown
    assert "per_layer_model_projection" in shown
    assert "F_layer" in shown
    code, shown, _ = run("inspect", out, "--json")
    weights = json.loads(shown)["weights"]
    values = load_file(out)
    assert [weight["name"] for weight in weights] == list(FisherFile(out).names)
    first = values[weights[0]["name"]].double()
    gate = (first - first.min()) / (first.max() - first.min())
    assert weights[0]["mean_gate"] == pytest.approx(float(gate.mean()), rel=1e-6)
    # a public file says the same
    torch.save({name: tensor.float() for name, tensor in values.items()}, tmp_path / "fisher.pt")
    code, shown, _ = run("inspect", tmp_path / "fisher.pt", "--json")
    public = {weight["name"]: weight for weight in json.loads(shown)["weights"]}
    for weight in weights:
        assert public[weight["name"]] == pytest.approx(weight)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--loss", "response"], "the prompt set mini has no responses"),
        (["--max-tokens", "2", "--too-long", "drop"], "none of 48 prompts has a token"),
        (["--targets", "nothing"], "called 'nothing'; known: down_proj"),
        (["--device", "cuda"], "torch finds no GPU here; take --device cpu"),
        (["--prompts", "missing.jsonl"], "no prompt set 'missing.jsonl'"),
    ],
)
def test_bad_input(
    arguments: list[str], said: str, run: Run, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    out = tmp_path / "f.safetensors"
    code, _, problem = run(
        "fisher", checkpoint.folder, "--prompts", "mini", "--device", "cpu", "-o", out, *arguments
    )
    assert code == 2
    assert said in problem
    assert problem.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_no_chat_template(run: Run, checkpoint_of: PathMaker, tmp_path: Path) -> None:
    out = tmp_path / "f.safetensors"
    code, _, problem = run("fisher", checkpoint_of("gemma3"), "--prompts", "mini", "-o", out)
    assert code == 2
    assert "name a file that holds one with --chat-template" in problem
    template = tmp_path / "own.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    common = ["--prompts", "mini", "--limit", "1", "--chat-template", template, "--threads", "1"]
    code, _, problem = run("fisher", checkpoint_of("gemma3"), *common, "-o", out)
    assert code == 0, problem
