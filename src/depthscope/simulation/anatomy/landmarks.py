"""Points of the anatomy that a surgeon can name, on the surface; swelling moves them along its normals."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.simulation.anatomy.abdomen import Abdomen
from depthscope.simulation.anatomy.bronchus import BronchialTree
from depthscope.simulation.anatomy.colon import Colon
from depthscope.simulation.anatomy.extraction import first_touch
from depthscope.simulation.anatomy.field import projected
from depthscope.simulation.anatomy.nasal import NasalCavity

Landmarks = dict[str, Float[Tensor, "3"]]


def nasal_landmarks(shape: NasalCavity, lumen: Float[Tensor, "points 3"]) -> Landmarks:
    """Heads of the turbinates, axilla, spine of the septum, rims of ostium and choana, in LPS mm."""
    inferior, middle = shape.inferior, shape.middle
    (choana_u, choana_z), _ = shape.opening
    ostium, ostium_radius = shape.ostium
    ostium_u, ostium_y, ostium_z = ostium
    spine_y, spine_z = shape.spur_at if shape.spur else shape.deviation_at
    septum_u = float(shape.septum(*torch.tensor([[spine_y], [spine_z]], dtype=torch.float64)))

    way = shape.own(lumen)
    before_inferior, before_middle = (way[(way[:, 1] - t.front + 6).abs().argmin()] for t in (inferior, middle))
    choana = (choana_u, shape.choana + 2.0, choana_z)
    sights = {
        "inferior_turbinate_head": (before_inferior, (inferior.axis[0], inferior.front + 5, inferior.axis[1])),
        "middle_turbinate_head": (before_middle, (middle.axis[0] - 1, middle.front + 3, middle.axis[1] + 2)),
        "axilla": (before_middle, (middle.head[0] + 2, middle.front + 2, middle.head[1] + 1)),
        "septum_spine": ((septum_u + 2, spine_y, spine_z), (septum_u, spine_y, spine_z)),
        "ostium_rim_anterior": (ostium, (ostium_u, ostium_y - ostium_radius, ostium_z)),
        "ostium_rim_posterior": (ostium, (ostium_u, ostium_y + ostium_radius, ostium_z)),
        "choana_rim_lateral": (choana, (choana_u + 6, shape.choana + 2.0, choana_z)),
        "choana_rim_medial": (choana, (choana_u - 6, shape.choana + 2.0, choana_z)),
        "choana_rim_superior": (choana, (choana_u, shape.choana + 2.0, choana_z + 9)),
        "choana_rim_inferior": (choana, (choana_u, shape.choana + 2.0, choana_z - 9)),
    }
    starts = torch.stack([torch.as_tensor(start, dtype=torch.float64) for start, _ in sights.values()])
    ends = torch.tensor([list(end) for _, end in sights.values()], dtype=torch.float64)
    starts, ends = shape.in_patient(starts), shape.in_patient(ends)
    return _touched(shape, tuple(sights), starts, ends - starts)


def colon_landmarks(shape: Colon) -> Landmarks:
    """Crests of the folds, tops of the polyps, inner sides of the bends, in LPS mm."""
    rings, folds = shape.fold_s.shape
    sights = {f"fold_{i}_{j}_crest": shape.crest(i, j) for i in range(rings) for j in range(folds)}
    sights |= {f"polyp_{i}": shape.summit(i) for i in range(len(shape.polyp_at))}
    sights |= {f"bend_{i}": sight for i, sight in enumerate(shape.bends())}
    starts, directions = (torch.stack(list(column)) for column in zip(*sights.values(), strict=True))
    return _touched(shape, tuple(sights), starts, directions)


def bronchial_landmarks(shape: BronchialTree) -> Landmarks:
    """The carina, the ridges where the airways divide again, and the front of the trachea, in LPS mm."""
    dividing = sorted(set(shape.parent.tolist()) - {-1})
    names = ["carina" if i == 0 else f"ridge_{i}" for i in dividing]
    sights = {name: shape.carina(i) for name, i in zip(names, dividing, strict=True)}
    sights |= {f"trachea_front_{k}": shape.front(share) for k, share in enumerate((0.3, 0.5, 0.7, 0.9))}
    starts, directions = (torch.stack(list(column)) for column in zip(*sights.values(), strict=True))
    return _touched(shape, tuple(sights), starts, directions)


def abdominal_landmarks(shape: Abdomen) -> Landmarks:
    """Gallbladder, liver, ligament, stomach, omentum and loops of bowel, in LPS mm."""
    sights = shape.sights()
    starts, directions = (torch.stack(list(column)) for column in zip(*sights.values(), strict=True))
    return _touched(shape, tuple(sights), starts, directions, reach=220.0)


def _touched(
    shape: NasalCavity | Colon | BronchialTree | Abdomen,
    names: tuple[str, ...],
    starts: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    reach: float = 40.0,
) -> Landmarks:
    """Where each ray first touches the tissue of the CT, moved onto the swollen tissue."""
    points = first_touch(replace(shape, swelling_mm=0.0), starts, directions, reach)
    return dict(zip(names, projected(shape, points), strict=True))
