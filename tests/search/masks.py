"""Fisher and subspace files for small checkpoints, with the values that went in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from search.fisher.file import METADATA_KEY as FISHER_KEY
from search.fisher.file import FisherHeader
from search.subspace.file import METADATA_KEY as SUBSPACE_KEY
from search.subspace.file import SubspaceHeader
from search.tensors.checkpoint import Checkpoint


def linear_names(checkpoint: Checkpoint) -> list[str]:
    """Weights of the linear layers."""
    return [name for name in checkpoint.names if name.endswith("_proj.weight")]


def make_fisher(
    path: Path, checkpoint: Checkpoint, *, seed: int = 3, **header: Any
) -> dict[str, torch.Tensor]:
    """A Fisher of squared random values; returns what it holds."""
    rng = torch.Generator().manual_seed(seed)
    values = {
        name: torch.randn(checkpoint.stored(name).shape, generator=rng).square()
        for name in linear_names(checkpoint)
    }
    said = {
        "weights_sha256": checkpoint.sha256,
        "loss": "prompt",
        "prompt_ids": ("a", "b"),
        "prompts_sha256": "0" * 64,
        "max_tokens": 256,
        "n_tokens": 100,
        "extremes": {name: (float(v.min()), float(v.max())) for name, v in values.items()},
        "sums": {name: float(v.sum()) for name, v in values.items()},
    }
    record = FisherHeader.model_validate({**said, **header})
    save_file(values, path, metadata={FISHER_KEY: record.model_dump_json()})
    return values


def make_subspace(
    path: Path,
    it: Checkpoint,
    pt: Checkpoint,
    *,
    rank: int = 8,
    names: Sequence[str] | None = None,
    **header: Any,
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The exact top directions of IT - PT; returns U and V by weight, as columns."""
    tensors: dict[str, torch.Tensor] = {}
    bases: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name in names if names is not None else linear_names(it):
        left, values, right = torch.linalg.svd(it.rows(name) - pt.rows(name), full_matrices=False)
        tensors[f"{name}.U"] = left[:, :rank].T.contiguous()
        tensors[f"{name}.V"] = right[:rank].contiguous()
        tensors[f"{name}.S"] = values[:rank].contiguous()
        bases[name] = (left[:, :rank], right[:rank].T)
    said = {
        "it_sha256": it.sha256,
        "pt_sha256": pt.sha256,
        "rank": rank,
        "method": "svd",
        "captured": {},
        "errors": {},
    }
    record = SubspaceHeader.model_validate({**said, **header})
    save_file(tensors, path, metadata={SUBSPACE_KEY: record.model_dump_json()})
    return bases


def read_back(path: Path, key: str) -> Any:
    """A header as any reader of safetensors sees it."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()[key])
