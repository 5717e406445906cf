"""Benchmark: one whole build against what ggml's quantiser alone takes on the changed tensors.

Makes a random Gemma 4 text checkpoint of E4B's shape (or a smaller one), adapters, Fisher,
subspace and template without ever holding them in memory, builds, and prints seconds and memory.

    python benchmarks/build.py --size small
    python benchmarks/build.py --size e4b --folder /big/disk/e4b
"""

import argparse
import json
import math
import resource
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.settings import available_cores
from search.build import build
from search.export.gguf_file import TensorInfo, header_bytes, padding, string_value
from search.export.quantize import TYPES, quantize, row_bytes
from search.ingredients import open_ingredients
from search.merging.blocks import blocks_of
from search.merging.merge import TensorMerge
from search.numbers import numbers_for
from search.prepare import prepare
from search.recipe_file import load_recipe
from search.tensors.checkpoint import Checkpoint, open_checkpoint
from search.tensors.names import layer_of, layouts

ADAPTER_RANKS = (16, 64, 256, 64)
HEAL_RANK = 16
SUBSPACE_RANK = 256
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NUMBERS = {"s": 0.3, "alpha": 0.3, "rank": SUBSPACE_RANK}


@dataclass(frozen=True)
class Size:
    """What of E4B's shape is kept."""

    n_layers: int
    n_shared: int
    vocabulary: int
    width: int = 2560
    feed_forward: int = 10240


SIZES = {
    "tiny": Size(6, 0, 512, 512, 1024),
    "small": Size(12, 6, 4096),
    "e4b": Size(42, 18, 262144),
}


def model_config(size: Size) -> dict[str, Any]:
    """Configuration of the random model."""
    from transformers import Gemma4TextConfig

    full = [layer % 6 == 5 for layer in range(size.n_layers)]
    config = Gemma4TextConfig(
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.n_layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=256,
        layer_types=["full_attention" if whole else "sliding_attention" for whole in full],
        per_layer_config={
            str(layer): {"head_dim": 512} for layer, whole in enumerate(full) if whole
        },
        hidden_size_per_layer_input=256,
        vocab_size=size.vocabulary,
        vocab_size_per_layer_input=size.vocabulary,
        num_kv_shared_layers=size.n_shared,
        sliding_window=512,
    )
    return {**config.to_dict(), "architectures": ["Gemma4ForCausalLM"]}


def model_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, from transformers' own model without weights."""
    from transformers import AutoModelForCausalLM, Gemma4TextConfig

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(Gemma4TextConfig.from_dict(config))
    state = model.state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if name != "lm_head.weight"}


def write_random(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    scale: float,
    seed: int,
    *,
    dtype: str = "BF16",
    positive: bool = False,
    metadata: dict[str, str] | None = None,
) -> None:
    """A safetensors file of seeded random values, written block by block."""
    kinds = {"BF16": (torch.bfloat16, 2), "F32": (torch.float32, 4)}
    kind, item = kinds[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + item * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    rng = torch.Generator().manual_seed(seed)
    pool = torch.randn(1 << 22, generator=rng) * scale
    pool = (pool.square() if positive else pool).to(kind)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(raw)) + raw)
        for shape in shapes.values():
            left = math.prod(shape)
            while left:
                start = int(torch.randint(0, 4096, (1,), generator=rng))
                block = pool[start : start + min(left, len(pool) - start)]
                out.write(block.view(torch.uint8).numpy().data)
                left -= len(block)


def orthonormal(n_rows: int, n_columns: int, seed: int) -> torch.Tensor:
    """Random orthonormal rows, [n_rows, n_columns] bfloat16."""
    rng = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(n_columns, n_rows, generator=rng))
    return basis.T.contiguous().to(torch.bfloat16)


def write_ingredients(folder: Path, size: Size) -> None:
    """Checkpoints, adapters, Fisher, subspace, template and recipe."""
    config = model_config(size)
    shapes = model_shapes(config)
    for name in ("it", "pt"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config))
    inner = {name: shape for name, shape in shapes.items() if layer_of(name) is not None}
    outer = {name: shape for name, shape in shapes.items() if layer_of(name) is None}
    # IT and PT differ in their layers and share their embeddings, one copy on disk
    for name, seed in (("it", 1), ("pt", 2)):
        write_random(folder / name / "model-00001-of-00002.safetensors", inner, 0.02, seed)
    write_random(folder / "it" / "model-00002-of-00002.safetensors", outer, 0.02, 3)
    (folder / "pt" / "model-00002-of-00002.safetensors").hardlink_to(
        folder / "it" / "model-00002-of-00002.safetensors"
    )
    for name in ("it", "pt"):
        index = dict.fromkeys(inner, "model-00001-of-00002.safetensors")
        index |= dict.fromkeys(outer, "model-00002-of-00002.safetensors")
        (folder / name / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": index})
        )
    targets = {name: shape for name, shape in inner.items() if name.split(".")[-2] in TARGETS}
    for place, rank in enumerate((*ADAPTER_RANKS, HEAL_RANK)):
        write_adapter(folder / f"adapter{place}", targets, rank, place)
    it = open_checkpoint(str(folder / "it"))
    header = {
        "weights_sha256": it.sha256,
        "loss": "prompt",
        "prompt_ids": [],
        "prompts_sha256": "",
        "max_tokens": 256,
        "n_tokens": 0,
        # as written: squares of normal values, so from 0 to about 30 times their mean
        "extremes": {name: [0.0, 0.012] for name in targets},
        "sums": {name: (1 + (layer_of(name) or 0)) * 1.0 for name in targets},
    }
    write_random(
        folder / "fisher.safetensors",
        targets,
        0.02,
        50,
        positive=True,
        metadata={"weighin.fisher": json.dumps(header)},
    )
    write_subspace(folder / "subspace.safetensors", targets, it.sha256)
    write_template(folder / "it.gguf", it)
    entries = ", ".join(f"adapter{place}" for place in range(len(ADAPTER_RANKS)))
    (folder / "recipe.yaml").write_text(
        f"it: it\npt: pt\nbaseline: it.gguf\nadapters: [{entries}]\n"
        "fisher: fisher.safetensors\nsubspace: subspace.safetensors\n"
        f"heal: {{adapter: adapter{len(ADAPTER_RANKS)}, onto: pt, mask: {{mode: scale_mask}}}}\n"
    )


def write_adapter(folder: Path, targets: dict[str, tuple[int, ...]], rank: int, seed: int) -> None:
    """A random adapter over every linear layer."""
    folder.mkdir()
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (d_out, d_in) in targets.items():
        module = "base_model.model." + name.removesuffix(".weight")
        shapes[f"{module}.lora_A.weight"] = (rank, d_in)
        shapes[f"{module}.lora_B.weight"] = (d_out, rank)
    write_random(folder / "adapter_model.safetensors", shapes, 0.01, 100 + seed)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def write_subspace(path: Path, targets: dict[str, tuple[int, ...]], it_sha256: str) -> None:
    """Random orthonormal bases; one per width, since only the cost matters here."""
    from safetensors.torch import save_file

    widths = {width for shape in targets.values() for width in shape}
    bases = {width: orthonormal(min(SUBSPACE_RANK, width), width, width) for width in widths}
    tensors = {}
    for name, (d_out, d_in) in targets.items():
        rank = min(SUBSPACE_RANK, d_out, d_in)
        tensors[f"{name}.U"] = bases[d_out][:rank].clone()
        tensors[f"{name}.V"] = bases[d_in][:rank].clone()
    header = {
        "it_sha256": it_sha256,
        "pt_sha256": None,
        "rank": SUBSPACE_RANK,
        "method": "random",
        "captured": {},
        "errors": {},
    }
    save_file(tensors, path, metadata={"weighin.subspace": json.dumps(header)})


def write_template(path: Path, it: Checkpoint) -> None:
    """IT's Q6_K GGUF, quantised by ggml; the converter would need 22 GB for the large one."""
    placed = layouts(it.config, it.names, str(it.folder))
    infos = []
    for name, layout in placed.items():
        shape = it.stored(name).shape
        kind = TYPES["Q6_K" if len(shape) > 1 and layout.gguf_name.endswith(".weight") else "F32"]
        size = math.prod(shape[:-1]) * row_bytes(kind, shape[-1])
        infos.append(TensorInfo(layout.gguf_name, shape[::-1], kind, 0, size))
    frequencies = torch.ones(256)
    frequencies[64:] = 1e30
    infos.append(TensorInfo("rope_freqs.weight", (256,), 0, 0, 1024))
    header, _ = header_bytes(template_keys(it), infos, 32)
    sources = dict(zip(placed, infos, strict=False))
    with path.open("wb") as out, ThreadPoolExecutor(available_cores()) as pool:
        out.write(header)
        for name, info in sources.items():

            def render(block: tuple[int, int], name: str = name, info: TensorInfo = info) -> Any:
                rows = it.rows(name, *block)
                width = info.dimensions[0] if len(info.shape) > 1 else rows.numel()
                return quantize(rows.reshape(-1, width).numpy(), info.kind)

            for start in range(0, len(blocks := blocks_of(it.stored(name).shape)), 32):
                for chunk in pool.map(render, blocks[start : start + 32]):
                    out.write(chunk.data)
            out.write(padding(info.size_bytes, 32))
        out.write(frequencies.numpy().tobytes())


def template_keys(it: Checkpoint) -> dict[str, bytes]:
    """The keys that llama.cpp asks of a Gemma 4 text model."""
    c = it.config
    full = [kind == "full_attention" for kind in c["layer_types"]]
    n = len(full)
    u32 = lambda value: struct.pack("<II", 4, value)  # noqa: E731
    f32 = lambda value: struct.pack("<If", 6, value)  # noqa: E731

    def array(kind: int, form: str, values: list[Any]) -> bytes:
        return struct.pack(f"<IIQ{len(values)}{form}", 9, kind, len(values), *values)

    tokens = [f"t{place}" for place in range(c["vocab_size"])]
    tokens[:4] = ["<pad>", "<eos>", "<bos>", "<unk>"]
    for byte in range(256):
        tokens[4 + byte] = f"<0x{byte:02X}>"
    kinds = [3, 3, 3, 2, *[6] * 256, *[1] * (len(tokens) - 260)]
    text = b"".join(struct.pack("<Q", len(token)) + token.encode() for token in tokens)
    return {
        "general.architecture": string_value("gemma4"),
        "general.file_type": u32(18),
        "gemma4.block_count": u32(n),
        "gemma4.context_length": u32(2048),
        "gemma4.embedding_length": u32(c["hidden_size"]),
        "gemma4.feed_forward_length": u32(c["intermediate_size"]),
        "gemma4.attention.head_count": u32(c["num_attention_heads"]),
        "gemma4.attention.head_count_kv": u32(c["num_key_value_heads"]),
        "gemma4.attention.layer_norm_rms_epsilon": f32(1e-6),
        "gemma4.attention.key_length": u32(512),
        "gemma4.attention.value_length": u32(512),
        "gemma4.attention.key_length_swa": u32(256),
        "gemma4.attention.value_length_swa": u32(256),
        "gemma4.attention.sliding_window": u32(512),
        "gemma4.attention.sliding_window_pattern": array(7, "?", [not whole for whole in full]),
        "gemma4.attention.shared_kv_layers": u32(c["num_kv_shared_layers"]),
        "gemma4.embedding_length_per_layer_input": u32(256),
        "gemma4.rope.dimension_count": u32(512),
        "gemma4.rope.dimension_count_swa": u32(256),
        "gemma4.rope.freq_base": f32(1e6),
        "gemma4.rope.freq_base_swa": f32(1e4),
        "tokenizer.ggml.model": string_value("llama"),
        "tokenizer.ggml.tokens": struct.pack("<IIQ", 9, 8, len(tokens)) + text,
        "tokenizer.ggml.scores": array(6, "f", [0.0] * len(tokens)),
        "tokenizer.ggml.token_type": array(5, "i", kinds),
        "tokenizer.ggml.bos_token_id": u32(2),
        "tokenizer.ggml.eos_token_id": u32(1),
        "tokenizer.ggml.unknown_token_id": u32(3),
    }


def quantise_only(folder: Path) -> tuple[float, int]:
    """Seconds that ggml alone takes, all cores, on tensors as large as those that change.

    Returns:
        Seconds, and the elements quantised.
    """
    recipe = load_recipe(folder / "recipe.yaml")
    ingredients = open_ingredients(recipe)
    numbers = numbers_for(recipe, NUMBERS)
    work = []
    for name in ingredients.it.names:
        shape = ingredients.it.stored(name).shape
        if len(shape) > 1 and TensorMerge(ingredients, numbers, name).touched:
            work += [(stop - start, shape[1]) for start, stop in blocks_of(shape)]
    values = np.random.default_rng(0).standard_normal(1 << 21, dtype=np.float32) * 0.02

    def one(block: tuple[int, int]) -> int:
        size = block[0] * block[1]
        quantize(values[:size].reshape(block), TYPES["Q6_K"])
        return size

    began = time.perf_counter()
    with ThreadPoolExecutor(available_cores()) as pool:
        total = sum(pool.map(one, work))
    return time.perf_counter() - began, total


def main() -> None:
    """Make what is missing, build, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--folder", type=Path, help="kept between runs; default: a fresh one")
    parser.add_argument("--make", action="store_true", help="make the files and stop")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "recipe.yaml").exists():
            if arguments.make:
                print(f"making {arguments.size} in {folder}", file=sys.stderr)
                write_ingredients(folder, SIZES[arguments.size])
                return
            # in a process of its own, so that its memory is not counted as the build's
            command = [sys.executable, __file__, "--size", arguments.size, "--make"]
            subprocess.run([*command, "--folder", str(folder)], check=True)
        began = time.perf_counter()
        ready = prepare(load_recipe(folder / "recipe.yaml"))
        prepared_s = time.perf_counter() - began
        alone_s, n_elements = quantise_only(folder)
        result = build(ready, NUMBERS, folder / "out.gguf")
        (folder / "out.gguf").unlink()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(
            json.dumps(
                {
                    "size": arguments.size,
                    "cores": available_cores(),
                    "elements_changed": n_elements,
                    "n_changed": result.n_changed,
                    "prepare_s": round(prepared_s, 2),
                    "quantise_only_s": round(alone_s, 2),
                    "build_s": round(result.elapsed_s, 2),
                    "ratio": round(result.elapsed_s / alone_s, 3),
                    "thread_seconds": result.seconds,
                    "peak_rss_bytes": peak,
                    "sha256": result.sha256,
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
