"""Adapter: a PEFT LoRA folder, read into factors by canonical tensor name.

Honours what is a product of two factors (LoRA, rsLoRA, patterns of rank and alpha, embeddings),
and refuses by name what is not; knows nothing of how deltas are combined.
Source: PEFT's `LoraConfig` and `get_peft_model_state_dict`, https://github.com/huggingface/peft.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search import cache
from search.errors import IngredientError
from search.merging.blocks import blocks_of
from search.merging.factors import Factors
from search.tensors.checkpoint import Checkpoint, find_source, inside, read_json
from search.tensors.names import canonical
from search.tensors.tensorfile import TensorFile

REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "a trained LoRA bias",
    "fan_in_fan_out": "transposed (Conv1D) weights",
    "layer_replication": "replicated layers",
    "target_parameters": "adapted parameters outside linear layers",
    "trainable_token_indices": "trained single tokens",
    "modules_to_save": "whole saved modules",
    "alora_invocation_tokens": "activated LoRA, which is only on after certain tokens",
    "use_qalora": "QALoRA",
    "megatron_config": "Megatron layers",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "routed adapters",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "kasa_config": "KaSA",
}
"""Settings of LoraConfig that no product of two factors expresses, by what they mean."""

BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Initialisations under which training starts from changed base weights."""

BASE_COPY = ".base_layer.weight"
FACTOR = re.compile(
    r"(?P<module>.+)\.(?P<kind>lora_A|lora_B|lora_embedding_A|lora_embedding_B)"
    r"(?:\.(?P<adapter>[^.]+))??(?:\.weight)?"
)


@dataclass(frozen=True)
class _Pair:
    down: str
    up: str
    embedding: bool
    scale: float


class Adapter:
    """An open LoRA adapter, matched to a checkpoint's tensors."""

    def __init__(self, folder: Path, checkpoint: Checkpoint) -> None:
        """Open a folder and find the weight of every adapter tensor.

        Raises:
            IngredientError: not a LoRA folder, a kind that is refused, a tensor without its
                weight or partner, or a shape that does not fit.
        """
        self.folder = folder
        self.config = read_json(folder / "adapter_config.json")
        _check_kind(folder, self.config)
        if not (folder / "adapter_model.safetensors").exists():
            raise IngredientError(
                f"{folder} holds no adapter_model.safetensors; save the adapter as safetensors "
                "(pickled adapter_model.bin is not read)"
            )
        self.file = TensorFile(inside(folder, "adapter_model.safetensors"))
        self._pairs = self._match(checkpoint)

    @property
    def names(self) -> list[str]:
        """Canonical names of the tensors that it changes."""
        return list(self._pairs)

    def __contains__(self, name: str) -> bool:
        return name in self._pairs

    def factors(self, name: str) -> Factors:
        """The delta of one weight, scale included.

        Raises:
            IngredientError: a value that is not finite.
        """
        pair = self._pairs[name]
        down, up = self.file.rows(pair.down), self.file.rows(pair.up)
        if pair.embedding:
            down, up = up.T.contiguous(), down.T.contiguous()
        return Factors(up * pair.scale, down)

    @property
    def sha256(self) -> str:
        """Hash of the weights file and of the settings that matter to a merge."""
        matter = {
            key: self.config.get(key)
            for key in ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern")
        }
        line = json.dumps([matter, cache.file_sha256(self.file.path)], sort_keys=True)
        return hashlib.sha256(line.encode()).hexdigest()

    def _match(self, checkpoint: Checkpoint) -> dict[str, _Pair]:
        found: dict[str, dict[str, str]] = {}
        for name in self.file.tensors:
            match = FACTOR.fullmatch(name)
            if match is None and name.endswith(BASE_COPY):
                self._check_base_copy(name, checkpoint)
                continue
            if match is None:
                raise IngredientError(
                    f"{self.folder}: {name} is neither lora_A nor lora_B; only LoRA factors can "
                    "be merged in delta space (merge and save this adapter with PEFT instead)"
                )
            found.setdefault(match["module"], {})[match["kind"]] = name
        if not found:
            raise IngredientError(f"{self.folder}: adapter_model.safetensors is empty")
        pairs: dict[str, _Pair] = {}
        for module, kinds in found.items():
            weight = self._weight_name(module, checkpoint)
            if weight in pairs:
                raise IngredientError(f"{self.folder}: two adapter tensors lead to {weight}")
            pairs[weight] = self._pair(module, kinds, checkpoint.stored(weight).shape)
        return pairs

    def _check_base_copy(self, name: str, checkpoint: Checkpoint) -> None:
        """PEFT saves the embedding beside its factors; it must be the checkpoint's own."""
        weight = self._weight_name(name.removesuffix(BASE_COPY), checkpoint)
        same = self.file.tensors[name].shape == checkpoint.stored(weight).shape
        for block in blocks_of(checkpoint.stored(weight).shape):
            same = same and self.file.rows(name, *block).equal(checkpoint.rows(weight, *block))
        if not same:
            raise IngredientError(
                f"{self.folder}: {name} is not {checkpoint.folder}'s; was the vocabulary resized, "
                "or is the adapter for another model?"
            )

    def _weight_name(self, module: str, checkpoint: Checkpoint) -> str:
        bare = module.removeprefix("base_model.model.").removesuffix(".base_layer")
        # an adapter of the bare text model (no `model.` in front) is as common as one of the whole
        for candidate in (bare, f"model.{bare}", bare.removeprefix("model.")):
            name = canonical(candidate + ".weight")
            if name is not None and name in checkpoint:
                return name
        if checkpoint.tied and bare.endswith("lm_head"):
            return "model.embed_tokens.weight"
        raise IngredientError(
            f"{self.folder}: {module} has no weight in {checkpoint.folder}; "
            "is the adapter for another model?"
        )

    def _pair(self, module: str, kinds: dict[str, str], shape: tuple[int, ...]) -> _Pair:
        embedding = "lora_embedding_A" in kinds
        wanted = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
        missing = [kind for kind in wanted if kind not in kinds]
        if missing:
            raise IngredientError(f"{self.folder}: {module} has no {missing[0]}; save it anew")
        down, up = (self.file.tensors[kinds[kind]] for kind in wanted)
        if len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1]:
            raise IngredientError(
                f"{self.folder}: {module} has factors {list(down.shape)} and {list(up.shape)}, "
                "which are not the two matrices of one rank"
            )
        delta = (up.shape[0], down.shape[1])
        if (delta[::-1] if embedding else delta) != shape:
            raise IngredientError(
                f"{self.folder}: {module} is for a weight of {list(delta)}, the checkpoint has "
                f"{list(shape)}; is the adapter for another model?"
            )
        return _Pair(down.name, up.name, embedding, self._scale(module, down.shape[0]))

    def _scale(self, module: str, rank: int) -> float:
        """lora_alpha / r, or / sqrt(r) for rsLoRA; r is the stored rank."""
        bare = module.removeprefix("base_model.model.")
        said = _pattern(self.config.get("rank_pattern"), bare, self.config.get("r", rank))
        if said != rank:
            raise IngredientError(
                f"{self.folder}: {module} has rank {rank}, adapter_config.json says {said}; "
                "the two files do not belong together"
            )
        alpha = _pattern(self.config.get("alpha_pattern"), bare, self.config.get("lora_alpha", 8))
        root = math.sqrt(rank) if self.config.get("use_rslora") else rank
        return float(alpha) / root


def open_adapter(source: str, checkpoint: Checkpoint) -> Adapter:
    """Open a folder or hub id against the checkpoint it is merged onto."""
    return Adapter(find_source(source), checkpoint)


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise IngredientError(f"{folder}: peft_type is {kind}; only LORA can be merged")
    for key, meaning in REFUSED.items():
        if config.get(key):
            raise IngredientError(
                f"{folder}: {key} means {meaning}, which is no product of two factors; "
                "merge and save this adapter with PEFT instead"
            )
    if config.get("bias", "none") != "none":
        raise IngredientError(f"{folder}: bias={config['bias']!r} trains biases; expected 'none'")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(BASE_CHANGING):
        raise IngredientError(
            f"{folder}: init_lora_weights={start!r} changes the base weights; convert the adapter "
            "to plain LoRA with PEFT (path_initial_model_for_weight_conversion)"
        )


def _pattern(patterns: Any, module: str, default: Any) -> Any:
    """PEFT's rule: the first pattern that matches the whole name, or its end after a dot."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
