"""Template: the baseline's GGUF as the mould of every build.

Matches a checkpoint's tensors to the GGUF's and says what fits; merges nothing.
Source: DESIGN, Export.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import TemplateError
from search.export.gguf_file import GgufFile, TensorInfo, read_gguf, read_tensor_bytes
from search.export.imatrix import read_imatrix
from search.export.quantize import needs_imatrix
from search.tensors.checkpoint import Checkpoint
from search.tensors.names import Layout, architecture_of, layouts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GENERATED = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that the converter makes from the configuration; no merge touches them."""


@dataclass(frozen=True)
class Place:
    """Where one checkpoint tensor goes."""

    source: str
    """Canonical name in the checkpoint."""
    layout: Layout
    info: TensorInfo
    importance: "NDArray[np.float32] | None"


class Template:
    """A template, matched to a checkpoint."""

    def __init__(self, path: Path, checkpoint: Checkpoint, imatrix: Path | None = None) -> None:
        """Match every tensor.

        Raises:
            TemplateError: another architecture, vocabulary or size, a tensor too many or too
                few, or a type that needs an importance matrix that is not given.
        """
        self.file: GgufFile = read_gguf(path)
        self._descriptor = os.open(path, os.O_RDONLY)
        where = str(checkpoint.folder)
        found = self.file.value("general.architecture")
        expected = architecture_of(checkpoint.config, where).gguf
        if found != expected:
            raise TemplateError(f"{path} is a {found} model, {where} is {expected}; name its own")
        importances = read_imatrix(imatrix) if imatrix is not None else {}
        self.places: dict[str, Place] = {}
        """By name in the GGUF."""
        for name, layout in layouts(checkpoint.config, checkpoint.names, where).items():
            info = self.file.tensors.get(layout.gguf_name)
            if info is None:
                if checkpoint.tied and name == "lm_head.weight":
                    continue
                raise TemplateError(f"{path} lacks {layout.gguf_name} ({name}); make it anew")
            self._check_shape(name, layout, info, checkpoint)
            importance = importances.get(info.name)
            if importance is not None and importance.size != info.dimensions[0]:
                raise TemplateError(
                    f"{imatrix}: {info.name} has {importance.size} columns, the model "
                    f"{info.dimensions[0]}; make the importance matrix for this model"
                )
            if importance is None and needs_imatrix(info.kind):
                raise TemplateError(
                    f"{path}: {info.name} is {info.type_name}, which needs an importance matrix; "
                    "name it in the recipe: baseline: {path: ..., imatrix: FILE}"
                )
            self.places[info.name] = Place(name, layout, info, importance)
        extra = set(self.file.tensors) - set(self.places) - set(GENERATED)
        if extra:
            raise TemplateError(f"{path} has {min(extra)}, which {where} has not; make it anew")

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def tensor_bytes(self, info: TensorInfo, start: int, size: int) -> bytes:
        """Bytes of a tensor, from `start` within it."""
        return read_tensor_bytes(self._descriptor, self.file.data_start + info.offset + start, size)

    def _check_shape(
        self, name: str, layout: Layout, info: TensorInfo, checkpoint: Checkpoint
    ) -> None:
        shape = checkpoint.stored(name).shape or (1,)
        if info.shape == shape:
            return
        fewer = layout.may_be_trimmed and info.shape[1:] == shape[1:] and info.shape[0] < shape[0]
        tokens = self.file.length("tokenizer.ggml.tokens")
        if fewer and info.shape[0] == tokens:
            return
        raise TemplateError(
            f"{self.file.path}: {info.name} is {list(info.shape)}, {name} is {list(shape)}; "
            "the template is for another vocabulary or size, make it anew"
        )
