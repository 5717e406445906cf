"""Slerp: from one tensor to another along the sphere.

Numbers and tensors in, tensors out; a whole tensor's angle can be summed over blocks first.
Source: Shoemake 1985, in mergekit's convention (merge_methods/slerp.py: whole tensors,
norms not interpolated, linear where |cos| > 0.9995), https://github.com/arcee-ai/mergekit.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LINEAR_ABOVE = 0.9995
"""|cos| from which the arc is taken as straight."""

NORM_EPS = 1e-8
"""Norms up to this are taken as no direction at all."""


@dataclass(frozen=True)
class Products:
    """Inner products of two tensors, or of blocks of them; blocks add up."""

    aa: float = 0.0
    bb: float = 0.0
    ab: float = 0.0

    def __add__(self, other: "Products") -> "Products":
        return Products(self.aa + other.aa, self.bb + other.bb, self.ab + other.ab)

    @property
    def cosine(self) -> float | None:
        """cos of the angle, clipped to [-1, 1]; None where a norm vanishes."""
        norms = math.sqrt(self.aa) * math.sqrt(self.bb)
        if min(math.sqrt(self.aa), math.sqrt(self.bb)) <= NORM_EPS:
            return None
        return max(-1.0, min(1.0, self.ab / norms))


def products(a: "torch.Tensor", b: "torch.Tensor") -> Products:
    """Inner products of two float32 tensors of one shape."""
    import torch

    x, y = a.reshape(-1), b.reshape(-1)
    return Products(float(torch.dot(x, x)), float(torch.dot(y, y)), float(torch.dot(x, y)))


def coefficients(t: float, over: Products) -> tuple[float, float]:
    """What a and b are multiplied with.

    Args:
        t: 0 is a, 1 is b.
        over: Inner products over the whole tensors.

    Returns:
        (sin((1 - t) w) / sin w, sin(t w) / sin w), or (1 - t, t) where the arc is straight, the
        tensors opposite, or one of them zero.
    """
    cosine = over.cosine
    if t in (0.0, 1.0) or cosine is None or abs(cosine) > LINEAR_ABOVE:
        return 1 - t, t
    angle = math.acos(cosine)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def slerp(a: "torch.Tensor", b: "torch.Tensor", t: float) -> "torch.Tensor":
    """The point at t between two whole tensors.

    Args:
        a: Any shape, float32.
        b: The same shape.
        t: In [0, 1]; 0 is a exactly, 1 is b exactly.

    Returns:
        The shape of a, float32.
    """
    by = coefficients(t, products(a, b))
    return blend(a.clone() if 0 < t < 1 else a, b, by)


def blend(a: "torch.Tensor", b: "torch.Tensor", by: tuple[float, float]) -> "torch.Tensor":
    """by[0] * a + by[1] * b, exact at (1, 0) and (0, 1); a is overwritten otherwise."""
    if by == (1.0, 0.0):
        return a
    if by == (0.0, 1.0):
        return b
    return a.mul_(by[0]).add_(b, alpha=by[1])
