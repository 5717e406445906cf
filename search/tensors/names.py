"""Names: what a tensor is called in checkpoints, in adapters and in a GGUF, and its layout there.

Strings and row orders only; reads no file.
Source: llama.cpp's converter (conversion/llama.py, qwen.py, gemma.py) for layouts, and the
`gguf` package's tensor-name map, https://github.com/ggml-org/llama.cpp.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.errors import IngredientError

if TYPE_CHECKING:
    import torch

LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")

OTHER_TOWERS = (
    "vision_tower.",
    "audio_tower.",
    "multi_modal_projector.",
    "embed_vision.",
    "embed_audio.",
    "vision_model.",
    "visual.",
)
"""Prefixes of the parts that a text-only GGUF leaves out."""


@dataclass(frozen=True)
class Architecture:
    """How one family's tensors lie in a GGUF."""

    gguf: str
    """llama.cpp's name, `general.architecture`."""
    permutes_rotary: bool = False
    """Rows of q and k are put from half-and-half to pairs (Llama's rotary layout)."""
    shifts_norms: bool = False
    """Norm weights are stored with 1 added (Gemma up to 3)."""
    trims_vocabulary: bool = False
    """Embedding rows beyond the tokenizer's last token are dropped (Gemma 3)."""


ARCHITECTURES = {
    "LlamaForCausalLM": Architecture("llama", permutes_rotary=True),
    "MistralForCausalLM": Architecture("llama", permutes_rotary=True),
    "Qwen2ForCausalLM": Architecture("qwen2"),
    "Qwen3ForCausalLM": Architecture("qwen3"),
    "GemmaForCausalLM": Architecture("gemma", shifts_norms=True),
    "Gemma2ForCausalLM": Architecture("gemma2", shifts_norms=True),
    "Gemma3ForCausalLM": Architecture("gemma3", shifts_norms=True, trims_vocabulary=True),
    "Gemma3ForConditionalGeneration": Architecture(
        "gemma3", shifts_norms=True, trims_vocabulary=True
    ),
    # Gemma 4 keeps its converter's inherited trimming, and has no shift
    "Gemma4ForCausalLM": Architecture("gemma4", trims_vocabulary=True),
    "Gemma4ForConditionalGeneration": Architecture("gemma4", trims_vocabulary=True),
}
"""By the first entry of `architectures` in config.json."""


@dataclass(frozen=True)
class Layout:
    """How one tensor's rows become those of the GGUF."""

    gguf_name: str
    head_rows: int = 1
    """Rows that must be handled together; more than 1 only where q or k is permuted."""
    shift: float = 0.0
    """Added to every value."""
    may_be_trimmed: bool = False
    """Whether the GGUF may hold fewer rows."""

    def apply(self, block: "torch.Tensor") -> "torch.Tensor":
        """Rows in the GGUF's order.

        Args:
            block: [n, ...] float32, whole heads where heads are permuted.

        Returns:
            [n, ...] float32.
        """
        if self.head_rows > 1:
            half = self.head_rows // 2
            heads = block.reshape(-1, 2, half, *block.shape[1:])
            block = heads.swapaxes(1, 2).reshape(block.shape)
        return block + self.shift if self.shift else block


def canonical(name: str) -> str | None:
    """A tensor's name as the text-only model has it; None for other towers and stored tables.

    `model.language_model.layers.0.x` and `language_model.model.layers.0.x` are the same tensor as
    `model.layers.0.x`.
    """
    bare = name.removeprefix("model.")
    if bare.startswith(OTHER_TOWERS) or name.endswith("rotary_emb.inv_freq"):
        return None
    for prefix in ("model.language_model.", "language_model.model."):
        if name.startswith(prefix):
            return "model." + name.removeprefix(prefix)
    return name.removeprefix("language_model.")


def layer_of(name: str) -> int | None:
    """Number of the layer that a tensor belongs to; None for embeddings and the last norm."""
    found = LAYER.search(name)
    return int(found.group(1)) if found else None


def architecture_of(config: Mapping[str, Any], where: str) -> Architecture:
    """The architecture that a config.json names.

    Raises:
        IngredientError: none, or one that is not mapped here.
    """
    named = config.get("architectures") or [None]
    if named[0] not in ARCHITECTURES:
        raise IngredientError(
            f"{where}: architecture {named[0]!r} is not supported; known: "
            + ", ".join(ARCHITECTURES)
        )
    return ARCHITECTURES[named[0]]


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of config.json that describes the text model."""
    inner = config.get("text_config")
    return inner if isinstance(inner, Mapping) else config


def layouts(config: Mapping[str, Any], names: list[str], where: str) -> dict[str, Layout]:
    """Each tensor's place in the GGUF.

    Args:
        config: config.json.
        names: Canonical names in the checkpoint.
        where: Checkpoint, for messages.

    Raises:
        IngredientError: an unknown architecture, or a tensor that its map does not have.
    """
    import gguf

    architecture = architecture_of(config, where)
    text = text_config(config)
    keys = {label: key for key, label in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(keys[architecture.gguf], int(text["num_hidden_layers"]))
    placed: dict[str, Layout] = {}
    for name in names:
        # scalars of Gemma 4's layers carry no suffix in the checkpoint, but do in the GGUF
        known = name + ".weight" if name.endswith("layer_scalar") else name
        gguf_name = table.get_name(known, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:
            raise IngredientError(f"{where}: {name} has no place in a {architecture.gguf} GGUF")
        placed[name] = Layout(
            gguf_name,
            head_rows=_head_rows(architecture, text, name),
            shift=1.0 if architecture.shifts_norms and name.endswith("norm.weight") else 0.0,
            may_be_trimmed=architecture.trims_vocabulary and "embed_tokens.weight" in name,
        )
    return placed


def _head_rows(architecture: Architecture, text: Mapping[str, Any], name: str) -> int:
    projection = name.rsplit(".", 2)[-2] if name.count(".") >= 2 else ""
    if not architecture.permutes_rotary or projection not in ("q_proj", "k_proj"):
        return 1
    heads = int(text["num_attention_heads"])
    return int(text.get("head_dim") or int(text["hidden_size"]) // heads)
