"""Make mergekit.safetensors: what mergekit 0.1.5 makes of three small random checkpoints.

Run in an environment of its own with mergekit==0.1.5 installed:

    python make_mergekit.py

Writes beside itself the inputs (`base.`, `one.`, `two.`; float32) and each method's output
(`slerp.`, `linear.`, `task_arithmetic.`, `ties.`; bfloat16).
"""

import json
import tempfile
from pathlib import Path

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import load_file, save_file
from values import DENSITY, WEIGHTS, T

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 16,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
SHAPES = {
    "model.embed_tokens.weight": (16, 32),
    "model.layers.0.input_layernorm.weight": (32,),
    "model.layers.0.self_attn.q_proj.weight": (32, 32),
    "model.layers.0.self_attn.k_proj.weight": (16, 32),
    "model.layers.0.self_attn.v_proj.weight": (16, 32),
    "model.layers.0.self_attn.o_proj.weight": (32, 32),
    "model.layers.0.mlp.gate_proj.weight": (32, 32),
    "model.layers.0.mlp.up_proj.weight": (32, 32),
    "model.layers.0.mlp.down_proj.weight": (32, 32),
    "model.layers.0.post_attention_layernorm.weight": (32,),
    "model.norm.weight": (32,),
    "lm_head.weight": (16, 32),
}


def checkpoint(
    folder: Path, seed: int, base: dict[str, torch.Tensor] | None
) -> dict[str, torch.Tensor]:
    """A random checkpoint, near the base where one is given."""
    rng = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in SHAPES.items():
        noise = torch.randn(shape, generator=rng)
        # norms stay near 1, so that both arcs and straight lines occur in the slerp
        start = (
            base[name] if base is not None else (noise.new_ones(shape) if len(shape) == 1 else 0)
        )
        # float32, so that no two magnitudes tie at TIES's threshold, where any order is right
        tensors[name] = start + noise * (0.02 if len(shape) == 1 else 0.5)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return tensors


def main() -> None:
    """Merge four ways and keep inputs and outputs."""
    kept = {}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        base = checkpoint(root / "base", 0, None)
        one = checkpoint(root / "one", 1, base)
        two = checkpoint(root / "two", 2, base)
        for label, tensors in (("base", base), ("one", one), ("two", two)):
            kept |= {f"{label}.{name}": tensor for name, tensor in tensors.items()}
        weighted = [
            {"model": str(root / label), "parameters": {"weight": weight, "density": DENSITY}}
            for label, weight in zip(("one", "two"), WEIGHTS, strict=True)
        ]
        plain = [
            {"model": entry["model"], "parameters": {"weight": entry["parameters"]["weight"]}}
            for entry in weighted
        ]
        recipes = {
            "slerp": {
                "merge_method": "slerp",
                "base_model": str(root / "one"),
                "models": [{"model": str(root / "one")}, {"model": str(root / "two")}],
                "parameters": {"t": T},
            },
            "linear": {"merge_method": "linear", "models": plain},
            "task_arithmetic": {
                "merge_method": "task_arithmetic",
                "base_model": str(root / "base"),
                "models": plain,
            },
            "ties": {
                "merge_method": "ties",
                "base_model": str(root / "base"),
                "models": weighted,
            },
        }
        for label, recipe in recipes.items():
            settings = {**recipe, "dtype": "float32", "out_dtype": "bfloat16"}
            configuration = MergeConfiguration.model_validate(settings)
            out = root / f"out-{label}"
            run_merge(configuration, str(out), MergeOptions(copy_tokenizer=False))
            for part in out.glob("*.safetensors"):
                kept |= {f"{label}.{name}": tensor for name, tensor in load_file(part).items()}
    save_file(kept, Path(__file__).with_name("mergekit.safetensors"))


if __name__ == "__main__":
    main()
