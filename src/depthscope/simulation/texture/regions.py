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
    "trachea": (0.75, 1.10),
    "main_bronchus": (0.85, 1.10),
    "segmental_bronchus": (1.10, 0.90),
    "cartilage": (0.40, 0.80),
    "peritoneum": (0.55, 1.30),
    "mesentery": (0.40, 1.40),
    "bowel": (0.60, 1.20),
    "large_bowel": (0.45, 1.00),
    "liver": (1.45, 0.20),
    "gallbladder": (0.35, 0.70),
    "stomach": (0.65, 1.00),
    "omentum": (0.25, 1.20),
    "ligament": (0.30, 0.80),
}
"""Blood and vessels of the regions that differ from 1; their seams are smoothed away."""

REGION_TINTS: dict[str, tuple[float, float, float]] = {
    "cartilage": (1.05, 1.12, 1.15),
    "mesentery": (1.05, 1.10, 0.75),
    "bowel": (1.00, 0.95, 0.92),
    "large_bowel": (1.05, 1.05, 0.95),
    "liver": (0.42, 0.30, 0.26),
    "gallbladder": (0.55, 0.85, 0.65),
    "omentum": (1.12, 1.20, 0.62),
    "ligament": (1.08, 1.12, 0.90),
}
"""What the pale tissue's red, green and blue of these regions are multiplied by: fat is yellow, bile shines green."""


def tones(
    surface: Surface, regions: Int[Tensor, " points"], names: tuple[str, ...], rounds: int = 40
) -> Float[Tensor, "points n"]:
    """Blood and vessels of each vertex by its region, smooth across the regions' borders; the third column is 0.

    Three more columns hold the tint where any region has one.

    Args:
        surface: The mesh.
        regions: Number of each vertex's region.
        names: What the numbers mean.
        rounds: Of smoothing.
    """
    table = torch.tensor([(*REGION_TONES.get(name, (1.0, 1.0)), 0.0) for name in names])
    if any(name in REGION_TINTS for name in names):
        tints = torch.tensor([REGION_TINTS.get(name, (1.0, 1.0, 1.0)) for name in names])
        table = torch.cat([table, tints], 1)
    return smoothed_over(surface, table[regions], rounds)


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
