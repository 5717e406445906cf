"""Subspace file: the top singular directions of IT - PT per weight, any rank up to the stored one.

Reads bases for the mask; knows nothing of how they were found.
Source: the file's layout is in docs/files.md.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from search.errors import IngredientError
from search.fisher.file import read_header
from search.merging.mask import Basis
from search.tensors.tensorfile import TensorFile

METADATA_KEY = "weighin.subspace"


class SubspaceHeader(BaseModel):
    """What a subspace file says of itself, in its safetensors metadata."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1

    it_sha256: str
    """`Checkpoint.sha256` of IT."""

    pt_sha256: str | None
    """`Checkpoint.sha256` of PT; None for a subspace of the Fisher."""

    rank: int
    """Largest rank that was asked for; single weights may have less."""

    method: str
    """How the directions were found."""

    captured: dict[str, float | None]
    """Share of the squared norm in the stored directions, by weight; None for a zero delta."""

    errors: dict[str, float]
    """Relative error of the factorisation as checked, by weight."""


class SubspaceFile:
    """An open subspace file."""

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            IngredientError: missing, broken, or without this project's metadata.
        """
        self.path = path
        self.file = TensorFile(path)
        header = read_header(self.file, METADATA_KEY, SubspaceHeader)
        if header is None:
            raise IngredientError(f"{path} has no {METADATA_KEY} metadata; make it with weighin")
        self.header = header
        for name, stored in self.file.tensors.items():
            if len(stored.shape) not in (1, 2):
                raise IngredientError(f"{path}: {name} has shape {list(stored.shape)}")

    @property
    def names(self) -> list[str]:
        """Canonical names of the weights that have a basis."""
        return [name.removesuffix(".U") for name in self.file.tensors if name.endswith(".U")]

    def __contains__(self, name: str) -> bool:
        return f"{name}.U" in self.file.tensors

    def check_rank(self, rank: int | None) -> None:
        """Refuse a rank beyond the stored one.

        Raises:
            IngredientError: the file holds fewer directions.
        """
        if rank is not None and rank > self.header.rank:
            raise IngredientError(
                f"rank={rank} is beyond the {self.header.rank} directions in {self.path}; "
                f"make a larger subspace, or ask for at most {self.header.rank}"
            )

    def stored_rank(self, name: str) -> int:
        """Directions stored for a weight."""
        return self.file.tensors[f"{name}.U"].shape[0]

    def values(self, name: str) -> tuple[float, ...] | None:
        """Singular values of a weight, falling; None where the file leaves them out."""
        if f"{name}.S" not in self.file.tensors:
            return None
        return tuple(self.file.rows(f"{name}.S").tolist())

    def basis(self, name: str, rank: int | None) -> Basis:
        """The top directions of a weight.

        Args:
            name: Canonical name of the weight.
            rank: How many; None means all, more than stored for this weight means all.
        """
        stored = self.stored_rank(name)
        stop = stored if rank is None else min(rank, stored)
        left = self.file.rows(f"{name}.U", 0, stop)
        right = self.file.rows(f"{name}.V", 0, stop)
        return Basis(left.T, right.T)
