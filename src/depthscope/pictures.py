"""Pictures for people: depth in colours, errors, contact sheets. Raw numbers are in the TIFFs, never here."""

from collections.abc import Sequence as Rows

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.depth import pixel_grid
from depthscope.geometry.motion import rotate

Picture = UInt8[Tensor, "_ _ 3"]  # of any size: a function may return another one than it was given

BACKGROUND = 24
"""Grey of everything that is not tissue."""

CLAY = torch.tensor([232.0, 205.0, 190.0])
"""Colour of a surface without colours of its own, facing the camera."""


def depth_range(depth: Float[Tensor, "*frames height width"]) -> tuple[float, float]:
    """Nearest and farthest depth to show: all but the outermost percent of what is known."""
    known = depth[depth > 0].double()
    if not len(known):
        return 1.0, 2.0
    near, far = known[:: max(1, len(known) // 100_000)].quantile(known.new_tensor([0.01, 0.99])).tolist()
    return near, far


def depth_picture(depth: Float[Tensor, "height width"], limits: tuple[float, float]) -> Picture:
    """Depth in colours that also read in black and white: near is bright, unknown is grey.

    Colour follows inverse depth, in which a step means the same parallax everywhere.
    """
    near, far = limits
    known = depth > 0
    inverse = 1 / torch.where(known, depth, 1.0)
    share = (inverse - 1 / far) / max(1 / near - 1 / far, 1e-12)
    return painted(share, known, cv2.COLORMAP_INFERNO)


def error_picture(relative: Float[Tensor, "height width"], known: Bool[Tensor, "height width"], most: float) -> Picture:
    """Relative error from 0 (dark) to `most` (bright)."""
    return painted(relative / most, known, cv2.COLORMAP_VIRIDIS)


def painted(share: Float[Tensor, "height width"], known: Bool[Tensor, "height width"], colours: int) -> Picture:
    """Shares of 0..1 through a colour map."""
    levels = (share.clamp(0, 1) * 255).to(torch.uint8).numpy()
    picture = cv2.cvtColor(cv2.applyColorMap(levels, colours), cv2.COLOR_BGR2RGB)
    picture[~known.numpy()] = BACKGROUND
    return torch.from_numpy(picture)


def side_by_side(pictures: Rows[Picture], gap: int = 4) -> Picture:
    """Pictures of one height in a row."""
    bar = torch.full((pictures[0].shape[0], gap, 3), 255, dtype=torch.uint8)
    parts = [part for picture in pictures for part in (bar, picture)][1:]
    return torch.cat(parts, 1)


def contact_sheet(
    rows: Rows[Rows[Picture]], titles: Rows[str], row_titles: Rows[str] = (), height: int = 220
) -> Picture:
    """A table of pictures, each scaled to one height, with a title over every column."""
    scaled = [[resized(picture, height) for picture in row] for row in rows]
    widths = [max(row[column].shape[1] for row in scaled) for column in range(len(titles))]
    gap, head = 6, 30
    left = 70 if row_titles else gap
    sheet = np.full((head + len(rows) * (height + gap), left + sum(widths) + gap * len(widths), 3), 255, dtype=np.uint8)
    for number, row in enumerate(scaled):
        top, x = head + number * (height + gap), left
        if row_titles:
            _write(sheet, row_titles[number], 6, top + height // 2)
        for picture, width in zip(row, widths, strict=True):
            sheet[top : top + height, x : x + picture.shape[1]] = picture.numpy()
            x += width + gap
    x = left
    for title, width in zip(titles, widths, strict=True):
        _write(sheet, title, x + 4, 20)
        x += width + gap
    return torch.from_numpy(sheet)


def resized(picture: Picture, height: int) -> Picture:
    """The picture at another height, in its own shape."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    shrinks = height < picture.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(picture.numpy(), (width, height), interpolation=method))


def _write(sheet: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)


def surface_picture(
    surface: Surface, camera: Camera, camera_from_world: RigidMotion, *, coloured: bool = True
) -> Picture:
    """A surface as a camera sees it, lit from the camera; in its own colours, or as plain clay.

    Args:
        surface: A mesh.
        camera: The camera; distortion is drawn too.
        camera_from_world: Its motion, in the unit of the surface.
        coloured: Whether to use the surface's colours where it has them; they hold the light of the video already.
    """
    caster = RayCaster(surface)
    hits = caster.view(camera, camera_from_world)
    width, height = camera.size_px
    if coloured and surface.colours is not None:
        values = caster.interpolated(hits, surface.colours.float())
    else:
        pixels = pixel_grid(height, width, torch.empty(0, dtype=torch.float64)).reshape(-1, 2)
        towards = -torch.nn.functional.normalize(camera.unproject(pixels), dim=-1)
        faces = surface.face_normals[hits.face.clamp_min(0)]
        normals = faces if surface.normals is None else caster.interpolated(hits, surface.normals)
        normals = torch.nn.functional.normalize(rotate(camera_from_world.rotation.to(normals), normals), dim=-1)
        cosine = (normals * towards.to(normals)).sum(-1).abs()
        values = CLAY * (0.25 + 0.75 * cosine[:, None])
    picture = values.round().clamp(0, 255).to(torch.uint8)
    picture[~hits.found] = BACKGROUND
    return picture.reshape(height, width, 3)


def captioned(picture: Picture, text: str) -> Picture:
    """The picture with a line of text below it, in letters that fit its width."""
    height, width = picture.shape[:2]
    (across, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    scale = min(0.5 * max(1.0, width / 640), (width - 8) / max(across, 1))
    line = max(12, round(40 * scale))
    bar = np.full((line + (height + line) % 2, width, 3), BACKGROUND, dtype=np.uint8)
    thickness = max(1, round(scale))
    cv2.putText(
        bar, text, (4, round(0.7 * line)), cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), thickness, cv2.LINE_AA
    )
    return torch.cat([picture, torch.from_numpy(bar)])
