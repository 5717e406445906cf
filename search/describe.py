"""Describe: what an ingredient or a GGUF holds, from its header alone.

Reads no tensor's values; a recipe's preview is its own module.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from search.errors import IngredientError
from search.export.gguf_file import read_gguf
from search.fisher.file import METADATA_KEY as FISHER_KEY
from search.fisher.file import PICKLED, FisherFile, FisherHeader, read_header
from search.subspace.file import METADATA_KEY as SUBSPACE_KEY
from search.subspace.file import SubspaceHeader
from search.tensors.checkpoint import Checkpoint, read_json
from search.tensors.tensorfile import TensorFile

WEIGHIN_KEYS = ("numbers", "ingredients", "build_hash")


def describe(path: Path) -> dict[str, Any]:
    """What a file or folder is, and its figures.

    Args:
        path: A checkpoint's or adapter's folder, a Fisher or subspace file, or a GGUF.

    Raises:
        WeighinError: none of these, or broken.
    """
    if path.is_dir():
        if (path / "adapter_config.json").exists():
            return _adapter(path)
        if (path / "config.json").exists():
            return _checkpoint(path)
        raise IngredientError(f"{path} holds neither config.json nor adapter_config.json")
    if path.suffix == ".gguf":
        return _gguf(path)
    if path.suffix == ".safetensors":
        return _tensors(path)
    if path.suffix in PICKLED:
        return {"kind": "fisher", "n_tensors": len(FisherFile(path).names)}
    raise IngredientError(
        f"cannot tell what {path} is; expected a recipe (.yaml), a GGUF, a safetensors file, or a "
        "folder of a checkpoint or adapter"
    )


def _checkpoint(path: Path) -> dict[str, Any]:
    checkpoint = Checkpoint(path)
    stored = [checkpoint.stored(name) for name in checkpoint.names]
    return {
        "kind": "checkpoint",
        "architecture": (checkpoint.config.get("architectures") or [None])[0],
        "n_layers": checkpoint.n_layers,
        "n_tensors": len(stored),
        "n_left_out": len(checkpoint.left_out),
        "n_parameters": sum(tensor.n_rows * tensor.row_size for tensor in stored),
        "types": dict(Counter(tensor.dtype for tensor in stored)),
    }


def _adapter(path: Path) -> dict[str, Any]:
    config = read_json(path / "adapter_config.json")
    weights = TensorFile(path / "adapter_model.safetensors")
    downs = [t for t in weights.tensors.values() if "lora_A" in t.name]
    return {
        "kind": "adapter",
        "base": config.get("base_model_name_or_path"),
        "ranks": sorted({tensor.shape[0] for tensor in downs}),
        "lora_alpha": config.get("lora_alpha"),
        "use_rslora": bool(config.get("use_rslora")),
        "n_weights": len(downs),
    }


def _gguf(path: Path) -> dict[str, Any]:
    header = read_gguf(path)
    return {
        "kind": "gguf",
        "architecture": header.value("general.architecture"),
        "name": header.value("general.name"),
        "n_tensors": len(header.tensors),
        "n_tokens": header.length("tokenizer.ggml.tokens"),
        "types": dict(Counter(info.type_name for info in header.tensors.values())),
        **{key: header.value(f"weighin.{key}") for key in WEIGHIN_KEYS},
    }


def _tensors(path: Path) -> dict[str, Any]:
    file = TensorFile(path)
    fisher = read_header(file, FISHER_KEY, FisherHeader)
    if fisher is not None:
        said = fisher.model_dump(exclude={"extremes", "sums", "prompt_ids", "prompt_texts_sha256"})
        return {
            "kind": "fisher",
            "n_tensors": len(file.tensors),
            "n_prompts": len(fisher.prompt_ids),
            **said,
        }
    subspace = read_header(file, SUBSPACE_KEY, SubspaceHeader)
    if subspace is not None:
        shares = [share for share in subspace.captured.values() if share is not None]
        said = subspace.model_dump(exclude={"captured", "errors"})
        return {
            "kind": "subspace",
            "n_weights": sum(name.endswith(".U") for name in file.tensors),
            "captured_min": min(shares, default=None),
            "captured_max": max(shares, default=None),
            "error_max": max(subspace.errors.values(), default=None),
            **said,
        }
    return {
        "kind": "safetensors",
        "n_tensors": len(file.tensors),
        "types": dict(Counter(tensor.dtype for tensor in file.tensors.values())),
    }
