"""What the parts of an anatomy differ in, smooth over the mesh."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from depthscope.geometry import Surface

REGION_TONES: dict[str, tuple[float, float]] = {
    "septum": (0.65, 1.20),
    "inferior_turbinate": (1.25, 1.15),
    "middle_turbinate": (1.10, 1.15),
    "bulla": (0.85, 1.10),
    "uncinate": (0.85, 1.00),
    "nasopharynx": (1.05, 0.80),
    "sinus": (0.70, 0.60),
    "fold": (1.05, 1.00),
    "polyp": (1.45, 1.30),
}
"""Blood and vessels of the regions that differ from 1; their seams are smoothed away."""


def tones(surface: Surface, regions: Int[Tensor, " points"], names: tuple[str, ...]) -> Float[Tensor, "points 3"]:
    """Blood and vessels of each vertex by its region, smooth across the regions' borders; the third column is 0.

    Args:
        surface: The mesh.
        regions: Number of each vertex's region.
        names: What the numbers mean.
    """
    table = torch.tensor([(*REGION_TONES.get(name, (1.0, 1.0)), 0.0) for name in names])
    return smoothed_over(surface, table[regions], 40)


def smoothed_over(surface: Surface, values: Float[Tensor, "points n"], rounds: int) -> Float[Tensor, "points n"]:
    """Values of vertices averaged with those of their neighbours, so many times."""
    assert surface.faces is not None
    faces, count = surface.faces.numpy(), len(surface.points)
    a, b = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    ones = np.ones(len(a), np.float32)
    links = sparse.csr_array((ones, (a, b)), shape=(count, count)) + sparse.eye_array(count, format="csr").astype(
        np.float32
    )
    links = sparse.diags_array(1 / np.asarray(links.sum(1)).ravel()).astype(np.float32) @ links
    result = values.float().numpy()
    for _ in range(rounds):
        result = links @ result
    return torch.from_numpy(result)
