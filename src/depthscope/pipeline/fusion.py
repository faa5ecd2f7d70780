"""From a folder of depth maps to a folder with one surface."""

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import depth_maps
from depthscope.formats.frame_masks import masked
from depthscope.fusion import ClipScales, DepthFrame, Fused, Fusion, clip_scales, fuse as fuse_frames
from depthscope.geometry import converted
from depthscope.geometry.map_grid import RECORDED, MapGrid
from depthscope.progress import track
from depthscope.sequence import Sequence
from depthscope.supervision.view import View
from depthscope.unposed_clip import tissue_in
from depthscope.video import read_image, write_image

RIM_PX = 2
"""Pixels beside the content's border that are not fused: they were not trained on."""


SHOWN = 3
"""Frames of the picture."""


def matched(maps: dict[str, Path], clip: Sequence, prediction: Path) -> dict[int, Path]:
    """The depth map of each frame of the sequence that has one.

    Raises:
        BadInputError: None has.
    """
    found = {number: maps[name] for number, name in enumerate(clip.frame_names) if name in maps}
    if not found:
        raise BadInputError(
            f"no depth map of {prediction} ({next(iter(maps))}, ...) is of a frame of {clip.name} "
            f"({clip.frame_names[0]}, ...)",
            "the same frame names",
            "predict on the frames of this sequence",
        )
    return found


def views(maps: dict[int, Path], clip: Sequence, factors: Tensor, prediction: Path) -> Iterator[DepthFrame]:
    """The frames with these maps, each times its factor, read when asked for."""
    grid = depth_maps.grid_of(prediction)
    for (frame, path), factor in zip(maps.items(), factors.tolist(), strict=True):
        deviation = prediction / "std" / path.name
        std = depth_maps.read(deviation) * factor if deviation.is_file() else None
        yield frame_of(clip, frame, depth_maps.read(path) * factor, std, grid=grid)


def frame_of(
    clip: Sequence,
    frame: int,
    depth: Float[Tensor, "height width"],
    std: Float[Tensor, "height width"] | None,
    image: UInt8[Tensor, "height width 3"] | None = None,
    grid: MapGrid = RECORDED,
) -> DepthFrame:
    """A frame of a clip with its depth, as it is fused and registered.

    Args:
        clip: The sequence.
        frame: Its number there.
        depth: In the unit of the clip.
        std: Its standard deviation, or None.
        image: The frame on the pixels of the depth; read and resampled if None.
        grid: What the pixels of the depth are.
    """
    size, camera = (depth.shape[1], depth.shape[0]), clip.cameras[frame]
    whole = View.whole(grid.undistorted or camera, size)
    if image is None:
        image = torch.from_numpy(whole.image(read_image(clip.images[frame]).numpy(), camera))
    content = whole.mask(tissue_in(clip, frame), camera, RIM_PX)
    shown_by, given = grid.camera(camera, size), grid.kind_of(camera)
    kind = shown_by.depth_kind
    if kind != given:  # a wide lens is fused along its rays
        rays = shown_by.rays.to(depth)
        depth = converted(depth, rays, given, kind).nan_to_num()
        std = None if std is None else converted(std, rays, given, kind).nan_to_num()
    return DepthFrame(depth, shown_by, clip.camera_from_world[frame], image, content, std, kind)


def figures(fused: Fused, scales: ClipScales, clip: Sequence) -> dict:
    """What ``result.json`` says."""
    surface = fused.surface
    a, b, c = surface.points[surface.faces].unbind(1)
    return {
        "vertices": len(surface.points),
        "faces": 0 if surface.faces is None else len(surface.faces),
        "unit": surface.unit,
        "area": float(torch.linalg.cross(b - a, c - a).norm(dim=-1).sum() / 2),
        "voxel": fused.voxel,
        "frames": fused.frames,
        "frames_without_points": sum(count == 0 for count in scales.points),
        "scale_drift": scales.drift,
        "used_share": fused.used_share,
        "floaters": fused.floaters,
        "floater_share": fused.floater_share,
        "blocks": fused.blocks,
        "median_depth": clip.median_depth,
    }


def write_scales(path: Path, frames: list[int], clip: Sequence, scales: ClipScales) -> None:
    """Of every frame the factor that was used, the one that its points alone tell, and how many they were."""
    columns = (scales.factor.tolist(), scales.measured.tolist(), scales.log_std.tolist(), scales.points)
    rows = zip(frames, *columns, strict=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["frame", "factor", "measured", "log_std", "points"])
        for frame, factor, measured, deviation, points in rows:
            row = [f"{factor:.6g}", f"{measured:.6g}", f"{deviation:.4g}", points]
            writer.writerow([clip.frame_names[frame], *row])


def picture(fused: Fused, frames: list[int], clip: Sequence) -> torch.Tensor:
    """Frames beside the surface as their cameras see it: what does not agree is plain to the eye."""
    from depthscope.pictures import contact_sheet, surface_picture

    rows, width = [], 420
    for place in torch.linspace(0, len(frames) - 1, min(SHOWN, len(frames))).round().int().tolist():
        frame = frames[place]
        camera = clip.cameras[frame]
        size = width, max(1, round(width * camera.size_px[1] / camera.size_px[0]))
        whole = View.whole(camera, size)
        image = torch.from_numpy(whole.image(read_image(clip.images[frame]).numpy(), camera))
        motion = clip.camera_from_world[frame]
        shaded = surface_picture(fused.surface, whole.camera, motion, coloured=False)
        rows.append([image, shaded, surface_picture(fused.surface, whole.camera, motion)])
    return contact_sheet(rows, ("frame", "surface", "surface with colours"))


def fuse_folder(
    prediction: Path,
    sequence: Path,
    out: Path,
    voxel: float | None = None,
    hole_voxels: int = 2,
    least_share: float = 0.02,
    most_blocks: int = 60000,
    masks: Path | None = None,
) -> int:
    """One surface from the depth maps of a clip, as a folder.

    The parameters are those of ``depthscope fuse``.
    """
    from rich.console import Console

    from depthscope.formats import ply, read_sequence
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    start = time.perf_counter()
    clip = masked(read_sequence(sequence), masks)
    maps = matched(depth_maps.listed(prediction), clip, prediction)
    options = Fusion(voxel, hole_voxels=hole_voxels, least_share=least_share, most_blocks=most_blocks, unit=clip.unit)
    sources = tuple(path for path in (prediction, sequence, masks) if path is not None)
    with writing_folder(out, inputs=sources) as folder:
        read = track(((frame, depth_maps.read(path)) for frame, path in maps.items()), "scales", len(maps))
        scales = clip_scales(read, clip, maps=depth_maps.grid_of(prediction))
        fused = fuse_frames(track(views(maps, clip, scales.factor, prediction), "fuse", len(maps)), options)
        ply.write(fused.surface, folder / "surface.ply")
        write_scales(folder / "scales.csv", list(maps), clip, scales)
        write_image(folder / "surface.jpg", picture(fused, list(maps), clip))
        write_result(folder, figures(fused, scales, clip))
        write_provenance(
            folder,
            options={"fusion": vars(options)},
            inputs={str(path): content_hash(path) for path in sources},
            seconds=time.perf_counter() - start,
        )
    Console(highlight=False).print(
        f"{fused.frames} depth maps, {len(fused.surface.points)} vertices, voxels of {fused.voxel:.3g} {clip.unit}, "
        f"{fused.floaters} floating pieces dropped: {out / 'surface.ply'}",
        soft_wrap=True,
    )
    return 0
