"""Subspace source: the matrices that a subspace is made of, IT - PT or the Fisher, one at a time.

Opens nothing and factorises nothing; says which weights, checks that the two sides belong
together, and reads one matrix with what tells its rounding.
Source: DESIGN, Instruct subspace.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from search import cache
from search.errors import IngredientError
from search.fisher.file import FisherFile
from search.ingredients import check_same_shapes
from search.merging.blocks import blocks_of
from search.subspace.rounding import Rounding, RoundingFloor
from search.tensors.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

EMBEDDINGS = ("embed_tokens", "lm_head")
"""Parts of names of tables with a row per token, which are no linear maps of a layer."""


class Source(Protocol):
    """Where matrices come from."""

    @property
    def method(self) -> str:
        """What they are, for the file's record."""

    @property
    def pt_sha256(self) -> str | None:
        """PT's hash; None where there is no PT."""

    @property
    def names(self) -> list[str]:
        """Canonical names of the weights."""

    def same(self, name: str) -> bool:
        """Whether a matrix is known to be zero without reading it."""

    def read(self, name: str) -> "tuple[torch.Tensor, RoundingFloor]":
        """A matrix, [d_out, d_in] float32, and what tells its rounding."""


def matrix_names(it: Checkpoint, *, embeddings: bool = False) -> list[str]:
    """Weights that a subspace covers: all matrices, of embeddings only if asked."""
    return [
        name
        for name in it.names
        if len(it.stored(name).shape) == 2
        and (embeddings or not any(part in name for part in EMBEDDINGS))
    ]


@dataclass(frozen=True)
class DeltaSource:
    """IT - PT."""

    it: Checkpoint
    pt: Checkpoint
    names: list[str]
    pt_sha256: str | None
    method: str = "IT - PT"

    def same(self, name: str) -> bool:
        """Whether both sides store the same bytes in the same type."""
        if self.it.stored(name).dtype != self.pt.stored(name).dtype:
            return False
        return self.it.tensor_hashes[name] == self.pt.tensor_hashes[name]

    def read(self, name: str) -> "tuple[torch.Tensor, RoundingFloor]":
        """The difference, in float32."""
        import torch

        shape = self.it.stored(name).shape
        delta = torch.empty(shape, dtype=torch.float32)
        it, pt = Rounding(shape), Rounding(shape)
        for start, stop in blocks_of(shape):
            ours, theirs = self.it.rows(name, start, stop), self.pt.rows(name, start, stop)
            it.add(start, ours)
            pt.add(start, theirs)
            torch.sub(ours, theirs, out=delta[start:stop])
        return delta, RoundingFloor(it.unit, (it, pt))


@dataclass(frozen=True)
class FisherSource:
    """The Fisher of IT."""

    fisher: FisherFile
    names: list[str]
    method: str
    pt_sha256: str | None = None

    def same(self, name: str) -> bool:
        """Nothing is known before reading."""
        del name
        return False

    def read(self, name: str) -> "tuple[torch.Tensor, RoundingFloor]":
        """The diagonal Fisher in the weight's shape."""
        import torch

        shape = self.fisher.shape(name)
        values = torch.empty(shape, dtype=torch.float32)
        rounding = Rounding(shape)
        for start, stop in blocks_of(shape):
            block = self.fisher.rows(name, start, stop)
            rounding.add(start, block)
            values[start:stop] = block
        return values, RoundingFloor(rounding.unit)


def delta_source(it: Checkpoint, pt: Checkpoint, *, embeddings: bool) -> DeltaSource:
    """IT - PT, checked.

    Raises:
        IngredientError: other tensors or shapes on one side, or the same model twice.
    """
    check_same_shapes(it, pt)
    names = matrix_names(it, embeddings=embeddings)
    source = DeltaSource(it, pt, names, pt.sha256)
    if all(source.same(name) for name in names):
        raise IngredientError(
            f"{it.folder} and {pt.folder} hold the same weights, so every matrix would have rank "
            "0; name the model that IT was trained from"
        )
    return source


def fisher_source(it: Checkpoint, fisher: FisherFile, *, embeddings: bool) -> FisherSource:
    """The Fisher's matrices, checked against IT.

    Raises:
        IngredientError: a Fisher of other weights, shapes or names.
    """
    header = fisher.header
    if header is not None and header.weights_sha256 != it.sha256:
        raise IngredientError(
            f"{fisher.path} was made for other weights ({header.weights_sha256[:12]}) than "
            f"{it.folder} ({it.sha256[:12]}); make it for these"
        )
    names = [name for name in matrix_names(it, embeddings=embeddings) if name in fisher]
    if not names:
        raise IngredientError(f"{fisher.path} covers none of the matrices of {it.folder}")
    for name in names:
        if fisher.shape(name) != it.stored(name).shape:
            raise IngredientError(
                f"{fisher.path}: {name} is {list(fisher.shape(name))}, the weight is "
                f"{list(it.stored(name).shape)}; make it for this model"
            )
    digest = cache.file_sha256(fisher.path)
    return FisherSource(fisher, names, f"Fisher {digest[:12]}")
