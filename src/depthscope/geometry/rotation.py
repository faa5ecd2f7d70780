"""Rotations by their vectors: so(3), its cross-product matrices and its exponential map."""

import torch
from jaxtyping import Float
from torch import Tensor


def skew(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """[v]x, so that [v]x u = v x u."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack([zero, -z, y], -1), torch.stack([z, zero, -x], -1), torch.stack([-y, x, zero], -1)]
    return torch.stack(rows, -2)


def rotation_from_vector(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation by a vector's length about its direction (Rodrigues), with gradients also at zero."""
    return torch.linalg.matrix_exp(skew(vectors))
