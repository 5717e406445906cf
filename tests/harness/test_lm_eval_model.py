"""lm-eval's own `hf` model against ours, on local tasks and one checkpoint in float32."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.benchmarks import Benchmarks, figures, is_benchmark
from metrics.errors import WeighinError

if TYPE_CHECKING:
    from harness.lm_eval_model import WeighinLM

ROOT = Path(__file__).resolve().parents[2]

MAX_LENGTH = 24
"""Short, so that a text is read in several windows and a prompt is cut from the left."""

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{text}"
doc_to_target: "{target}"
{more}
metric_list: [{{metric: {metric}, aggregation: {aggregation}, higher_is_better: true}}]
"""
CHOICES = {
    "name": "colours",
    "kind": "multiple_choice",
    "text": "{{question}}",
    "target": "{{answer}}",
    "more": 'doc_to_choice: "{{choices}}"',
    "metric": "acc",
    "aggregation": "mean",
}
WRITING = {
    "name": "writing",
    "kind": "generate_until",
    "text": "{{question}}",
    "target": "{{choices[0]}}",
    "more": 'generation_kwargs: {until: ["\\n\\n", "."], max_gen_toks: 12, do_sample: false}',
    "metric": "exact_match",
    "aggregation": "mean",
}
READING = {
    "name": "reading",
    "kind": "loglikelihood_rolling",
    "text": "",
    "target": "{{passage}}",
    "more": "",
    "metric": "word_perplexity",
    "aggregation": "weighted_perplexity",
}
PASSAGE = (
    "Long before the sun was up the fishermen had gone down to the shore, and when the first "
    "light came over the hill their boats were small dark marks upon the water, far from land."
)
ROWS = [
    {"question": "The sky on a clear day is", "choices": [" blue", " green", " blue and wide"]},
    {"question": "Grass in the spring is", "choices": [" green", " the colour of the sea"]},
    {"question": "Two and two make", "choices": [" four", " five", " fish"]},
    {"question": f"{PASSAGE} The water was", "choices": [" cold", " dry"]},
]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "rows.jsonl"
    rows = [row | {"answer": 0, "passage": f"{PASSAGE} {row['question']}"} for row in ROWS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    names = []
    for task in (CHOICES, WRITING, READING):
        path = folder / f"{task['name']}.yaml"
        path.write_text(TASK.format(data=data, **task), encoding="utf-8")
        names.append(str(path))
    return names


@pytest.fixture(scope="module")
def checkpoint(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as the demo prepares it; made where the demo has not been run."""
    usual = ROOT / "examples" / "smollm2" / "pt"
    if (usual / "model.safetensors").is_file():
        return usual
    folder = tmp_path_factory.mktemp("smollm2")
    script = ROOT / "examples" / "smollm2" / "prepare.py"
    subprocess.run(
        [sys.executable, str(script), "--output", str(folder)], check=True, capture_output=True
    )
    return folder / "pt"


@pytest.fixture(scope="module")
def ours(checkpoint: Path, baseline_of: Callable[..., Path]) -> "Iterator[WeighinLM]":
    from harness.lm_eval_model import WeighinLM

    gguf = baseline_of(checkpoint, "F32")
    lm = WeighinLM(
        str(gguf),
        max_length=MAX_LENGTH,
        threads=1,
        parallel=2,
        flash_attention="off",
        cache_type="f32",
        batch_size=1,  # lm-eval's command gives it
    )
    yield lm
    lm.close()


@pytest.fixture(scope="module")
def theirs(checkpoint: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(checkpoint), dtype="float32", device="cpu", max_length=MAX_LENGTH)


def responses(lm: Any, tasks: list[str], *, chat: bool = False) -> dict[str, list[Any]]:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False)
    found: dict[str, Any] = simple_evaluate(
        model=lm, tasks=tasks, task_manager=manager, bootstrap_iters=0, apply_chat_template=chat
    )
    return {
        task: [row["resps"] for row in sorted(rows, key=lambda row: row["doc_id"])]
        for task, rows in found["samples"].items()
    }


def n_tokens(lm: "WeighinLM", text: str) -> int:
    return len(lm.tok_encode(text))


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # lm-eval's and transformers' own
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_answers_are_those_of_lm_evals_own_model(
    ours: "WeighinLM", theirs: Any, tasks: list[str], chat: bool
) -> None:
    asked = tasks[:2] if chat else tasks
    mine, expected = responses(ours, asked, chat=chat), responses(theirs, asked, chat=chat)
    assert mine["writing"] == expected["writing"]
    assert any(text for ((text,),) in mine["writing"])
    for row, found, right in zip(ROWS, mine["colours"], expected["colours"], strict=True):
        for choice, ((value, greedy),), ((wanted, also_greedy),) in zip(
            row["choices"], found, right, strict=True
        ):
            assert value == pytest.approx(wanted, abs=1e-3 * n_tokens(ours, choice))
            assert greedy == also_greedy
    if not chat:
        for row, ((value,),), ((wanted,),) in zip(
            ROWS, mine["reading"], expected["reading"], strict=True
        ):
            text = f"{PASSAGE} {row['question']}"
            assert n_tokens(ours, text) > MAX_LENGTH
            assert value == pytest.approx(wanted, abs=1e-3 * n_tokens(ours, text))


@pytest.mark.model
@pytest.mark.slow
def test_conversations_are_rendered_as_by_lm_evals_own_model(
    ours: "WeighinLM", theirs: Any
) -> None:
    history = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the sea?"},
    ]
    assert ours.apply_chat_template(history) == theirs.apply_chat_template(history)
    begun = [*history, {"role": "assistant", "content": "The sea is"}]
    assert ours.apply_chat_template(begun, add_generation_prompt=False) == (
        theirs.apply_chat_template(begun, add_generation_prompt=False)
    )
    assert ours.chat_template(True) == theirs.chat_template(True)
    assert ours.chat_template(False) is None


@pytest.mark.model
@pytest.mark.slow
def test_a_setting_that_the_engine_has_not_is_named(ours: "WeighinLM") -> None:
    from lm_eval.api.instance import Instance

    asked = ("Once", {"until": ["."], "repetition_penalty": 1.3})
    request = Instance("generate_until", {}, asked, 0)
    with pytest.raises(WeighinError, match="generates with repetition_penalty"):
        ours.generate_until([request])
    request = Instance("generate_until", {}, ("Once", {"max_gen_toks": MAX_LENGTH}), 0)
    with pytest.raises(WeighinError, match="no room for a prompt"):
        ours.generate_until([request])


@pytest.mark.model
def test_eval_takes_lm_evals_tasks_beside_its_own(
    smollm2_gguf: Path, tasks: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "search.cli", "eval", str(smollm2_gguf), "--threads", "1"]
    command += ["--tasks", f"mini,{tasks[0]}", "--limit", "2", "--max-tokens", "4", "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["colours.acc"]["n"] == 2
    assert metrics["mini.prompt_level_strict_acc"]["n"] == 2
    kept = (tmp_path / "run" / "lm_eval" / "samples_colours.jsonl").read_text("utf-8")
    assert [json.loads(line)["doc"]["question"] for line in kept.splitlines()] == [
        row["question"] for row in ROWS[:2]
    ]
    assert json.loads((tmp_path / "run" / "lm_eval" / "results.json").read_text("utf-8"))


@pytest.mark.model
@pytest.mark.slow
def test_lm_evals_own_command_runs_a_gguf(
    smollm2_gguf: Path, tasks: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "harness.lm_eval_model", "run", "--model", "weighin"]
    command += ["--model_args", f"gguf={smollm2_gguf},parallel=2,threads=1,max_length=128"]
    command += ["--tasks", tasks[0], "--output_path", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("results_*.json")
    told = json.loads(path.read_text("utf-8"))
    assert told["results"]["colours"]["acc,none"] >= 0.5
    assert told["config"]["model"] == "weighin"
    assert len(told["config"]["model_sha256"]) == 64


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ifeval", False),
        ("prose", False),
        ("absent.jsonl", False),
        ("hellaswag", True),
        ("absent.yaml", True),
    ],
)
def test_which_tasks_are_for_lm_eval(name: str, expected: bool) -> None:
    assert is_benchmark(name) is expected


def test_figures_of_lm_evals_results() -> None:
    row = {
        "alias": "sums",
        "exact_match,strict": 0.5,
        "exact_match_stderr,strict": 0.1,
        "acc,none": 0.25,
        "acc_stderr,none": "N/A",
        "sample_len": 8,
    }
    found = figures({"results": {"sums": row}, "n-samples": {}})
    assert set(found) == {"sums.exact_match.strict", "sums.acc"}
    strict = found["sums.exact_match.strict"]
    # 0.5 and 1.96 standard errors to each side
    assert (strict.low, strict.high, strict.n) == (
        pytest.approx(0.304, abs=1e-4),
        pytest.approx(0.696, abs=1e-4),
        8,
    )
    assert (found["sums.acc"].value, found["sums.acc"].low) == (0.25, None)


@pytest.mark.slow
def test_the_entry_point_is_the_model() -> None:
    from harness.lm_eval_model import MODEL_NAME, WeighinLM

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = project["entry-points"]["lm_eval.models"]
    assert set(declared) == {MODEL_NAME}
    assert EntryPoint(MODEL_NAME, declared[MODEL_NAME], "lm_eval.models").load() is WeighinLM


@pytest.mark.slow
def test_an_unknown_task_is_named() -> None:
    with pytest.raises(WeighinError, match=r"no task 'hellaswagg': expected some of ifeval, mini"):
        Benchmarks(["hellaswagg"])
