"""What a clip has to show: frames that are drawn when they are asked for, the surface, and the CT about it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Surface
from depthscope.report.clip_view import ClipView, clip_view, sequence_of
from depthscope.report.folder import CaseFolder, ClipResults
from depthscope.report.mesh import decimated, path, shell
from depthscope.report.sections import PANELS
from depthscope.report.space import Space, in_target, mesh_in, space_of
from depthscope.viewer.slices import Slices, slices_of

HEIGHT_PX = 480
"""Of the pictures of frames."""

FACES = 100_000
"""Of the surface; fewer where its vertices would not be numbered by 16 bits."""

AROUND_FACES = 60_000
"""Of the CT."""

OTHER_FACES, MOST_OTHERS = 12_000, 12
"""Of the surface of every other clip, and how many of them are shown."""

MARGIN = 0.25
"""How far beyond the surface the CT is shown, as a share of the surface's extent."""


@dataclass(frozen=True, eq=False)
class ViewerScene:
    """One clip of a case, ready to be shown.

    Attributes:
        clip: Its results.
        view: Its frames, or None where there are none.
        space: Surface, path and distances.
        around: The part of the CT (or of a phantom's anatomy) about the surface, in the same frame, or None.
        focal: Of the camera, in half heights of its picture, or None.
        slices: Of the CT about the surface, or None.
        others: Name, surface and path of every other clip that lies in the same CT.
    """

    clip: ClipResults
    view: ClipView | None
    space: Space
    around: Surface | None
    focal: float | None
    slices: Slices | None = None
    others: tuple[tuple[str, Space], ...] = ()

    @property
    def around_title(self) -> str:
        """What `around` is, in a word or two."""
        registered = self.space.target is not None and self.space.target.parent == self.clip.registration.place
        return "CT" if registered else "True anatomy"

    @property
    def other_surfaces(self) -> tuple[dict, ...]:
        """The other clips as the page's script reads them."""
        made = []
        for name, space in self.others:
            assert space.surface is not None
            cameras = {"centres": [], "turns": [], "jumps": []} if space.cameras is None else path(space.cameras)
            made.append(
                {"name": name, "mesh": shell(space.surface), "centres": cameras["centres"], "jumps": cameras["jumps"]}
            )
        return tuple(made)

    @property
    def panels(self) -> tuple[str, ...]:
        """The pictures that there are of the middle frame."""
        if self.view is None:
            return ()
        middle = self.view.names[len(self.view.names) // 2]
        return tuple(panel for panel in PANELS if self.view.picture(middle, panel) is not None)

    @property
    def frames(self) -> tuple[int, ...]:
        """For each picture the number of its camera in the path, -1 without one."""
        if self.view is None:
            return ()
        known = {name: number for number, name in enumerate(self.space.names)}
        return tuple(known.get(name, -1) for name in self.view.names)


def open_scene(case: CaseFolder, number: int) -> ViewerScene:
    """Reads what there is of a clip.

    Args:
        case: The case.
        number: Of the clip in it.

    Raises:
        BadInputError: There is neither a frame nor a surface.
    """
    clip = case.clips[number]
    sequence = sequence_of(clip)
    view, space = clip_view(clip, sequence, HEIGHT_PX), space_of(case, clip, sequence, FACES)
    if view is None and space.surface is None:
        raise BadInputError(
            f"{case.place / clip.name} has neither frames nor a surface yet",
            "a case with depth maps, a sequence or a surface",
            "let depthscope run go on, or see depthscope report for what there is",
        )
    target = None if space.target is None or space.surface is None else mesh_in(space.target)
    around = None if target is None or space.surface is None else about(target, space.surface)
    focal = None
    if sequence is not None:
        camera = sequence.cameras[0]
        focal = 2 * camera.focal_px[1] / camera.size_px[1]
    return ViewerScene(clip, view, space, around, focal, slices_of(case, clip, space), others_of(case, clip, space))


def others_of(case: CaseFolder, clip: ClipResults, space: Space) -> tuple[tuple[str, Space], ...]:
    """The other clips that were registered to the same CT; without a registration every clip has a frame of its own."""
    if not in_target(clip, space):
        return ()
    found = []
    for other in case.clips:
        if other is clip or len(found) == MOST_OTHERS or not other.registration:
            continue
        placed = space_of(case, other, sequence_of(other), OTHER_FACES)
        if in_target(other, placed) and other.registration.said("target") == clip.registration.said("target"):
            found.append((other.name, placed))
    return tuple(found)


def about(target: Surface, surface: Surface) -> Surface | None:
    """The part of a mesh that lies about another one, with few enough faces to be drawn; None where there is none."""
    assert target.faces is not None
    low, high = surface.points.amin(0).float(), surface.points.amax(0).float()
    reach = MARGIN * (high - low).norm()
    points = target.points.float()
    inside: Bool[Tensor, " points"] = ((points >= low - reach) & (points <= high + reach)).all(1)
    kept = target.faces[inside[target.faces].any(1)]
    if not len(kept):
        return None
    used = torch.unique(kept)
    number = torch.full((len(points),), -1).scatter(0, used, torch.arange(len(used)))
    part = Surface(points[used], None, None, number[kept], target.unit)
    return replace(decimated(part, AROUND_FACES), colours=None)
