"""Small random checkpoints and adapters in every family's own shape, made where they are used.

Sizes are the least at which every K-quant has whole blocks (rows of 256).
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WIDTH = 256
LAYERS = 2
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs and send it to the harbour",
    "how vexingly quick daft zebras jump when nobody is looking at them",
]
COMMON: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 512,
}
CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def make_sentencepiece(folder: Path) -> int:
    """Train tokenizer.model on three sentences; returns its size."""
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    return int(model.vocab_size())


def make_byte_fallback_bpe(folder: Path) -> int:
    """A tokenizer.json of Gemma 4's kind (BPE with byte fallback); returns its size."""
    from tokenizers import Tokenizer, decoders, models, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=tokens, show_progress=False)
    tokenizer.train_from_iterator([text.replace(" ", "▁") for text in CORPUS], trainer)
    # bytes are plain tokens of the vocabulary, not special ones
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [
        token for token in state["added_tokens"] if token["content"] in special
    ]
    fast = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return len(fast)


def family_config(family: str, vocab_size: int) -> Any:
    """The smallest configuration of a family."""
    import transformers as t

    common = {**COMMON, "vocab_size": vocab_size, "bos_token_id": 1, "eos_token_id": 2}
    if family == "llama":
        return t.LlamaConfig(**common, tie_word_embeddings=False)
    if family == "mistral":
        return t.MistralConfig(**common, tie_word_embeddings=True)
    if family == "qwen2":
        return t.Qwen2Config(
            **{key: value for key, value in common.items() if key != "head_dim"},
            tie_word_embeddings=True,
        )
    if family == "qwen3":
        return t.Qwen3Config(**common, tie_word_embeddings=True)
    if family == "gemma2":
        return t.Gemma2Config(**common, sliding_window=64)
    if family == "gemma3":
        return t.Gemma3TextConfig(
            **common, sliding_window=64, layer_types=["sliding_attention", "full_attention"]
        )
    assert family == "gemma4"
    # three layers: sliding, full, and one that shares the second's keys and values
    return t.Gemma4TextConfig(
        **{**common, "num_hidden_layers": 3},
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        per_layer_config={"1": {"head_dim": 128}, "2": {"head_dim": 128}},
        hidden_size_per_layer_input=WIDTH,
        vocab_size_per_layer_input=vocab_size,
        num_kv_shared_layers=1,
        sliding_window=64,
    )


def make_checkpoint(
    folder: Path, family: str, *, seed: int = 0, dtype: str = "bfloat16", shard: str = "5GB"
) -> Path:
    """A random checkpoint with its tokenizer.

    `gemma4-multimodal` is a gemma4 under the names of Gemma4ForConditionalGeneration, with a
    vision tower's tensor beside it.
    """
    import torch
    import transformers as t

    folder.mkdir(parents=True)
    bare = family.removesuffix("-multimodal")
    size = make_byte_fallback_bpe(folder) if bare == "gemma4" else make_sentencepiece(folder)
    config = family_config(bare, size)
    torch.manual_seed(seed)
    model = t.AutoModelForCausalLM.from_config(config)
    for name, tensor in model.state_dict().items():
        # transformers starts norms and scalars at exactly 1 or 0, where a wrong layout, or
        # mistaking one model for another, would not show
        if tensor.ndim <= 1 or name.endswith("layer_scalar"):
            tensor.add_(torch.randn_like(tensor) * 0.05)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size=shard)
    if family.endswith("-multimodal"):
        _to_multimodal(folder)
    return folder


def _to_multimodal(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    tensors["model.vision_tower.encoder.weight"] = torch.ones(4, 4, dtype=torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.loads((folder / "config.json").read_text())
    whole = {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "text_config": text,
        "tie_word_embeddings": text.get("tie_word_embeddings", True),
    }
    (folder / "config.json").write_text(json.dumps(whole))


def make_adapter(
    folder: Path,
    checkpoint: Path,
    *,
    rank: int = 4,
    seed: int = 1,
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    strength: float = 0.05,
    **settings: Any,
) -> Path:
    """A random LoRA adapter as PEFT saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(targets), task_type="CAUSAL_LM", **settings
    )
    with peft_quiet():
        tuned = get_peft_model(model, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(0, strength)
        tuned.save_pretrained(folder)
    return folder


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Let PEFT say what it says of transformers' renames and of embeddings saved beside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
