"""What of a surface the cameras of a clip saw: completeness over anything else punishes what nobody could see."""

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.geometry import Surface
from depthscope.geometry.casting import RayCaster
from depthscope.sequence import Sequence


def faces_seen(surface: Surface, sequence: Sequence, width: int = 160) -> Bool[Tensor, " faces"]:
    """Which faces of a surface any camera of the sequence sees."""
    caster = RayCaster(surface)
    seen = torch.zeros(len(caster.faces), dtype=torch.bool)
    for number, camera in enumerate(sequence.cameras):
        height = max(1, round(width * camera.size_px[1] / camera.size_px[0]))
        hits = caster.view(camera.resized((width, height)), sequence.camera_from_world[number])
        seen[hits.face[hits.found]] = True
    # What lies between the rays of a coarse view was seen too: faces that share a vertex with a seen one.
    touched = torch.zeros(len(surface.points), dtype=torch.bool)
    assert surface.faces is not None
    touched[surface.faces[seen].flatten()] = True
    return touched[surface.faces].any(1)
