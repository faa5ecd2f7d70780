"""``depthscope register SURFACE TARGET --out DIR [--initial FILE]``."""

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.formats import ct as ct_files, ply, surfaces, transforms
from depthscope.formats.frame_masks import masked
from depthscope.fusion import DepthFrame
from depthscope.geometry import Surface
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.surface import vertex_normals
from depthscope.pictures import painted
from depthscope.registration import Alignment, Registration, ScalePrior, Target, View, nearest, register_unscaled
from depthscope.registration.frames import CERTAIN, FEWEST, frame_views
from depthscope.registration.halves import register_by_halves
from depthscope.registration.options import WORKING_MM
from depthscope.registration.view import thinned
from depthscope.sequence import Sequence
from depthscope.video import write_image

MOST_VIEWS = 10
"""Cameras of a sequence that share out the surface."""

MOST_MAPS = 20
"""Depth maps that are registered together, and in two halves of ten."""

SHOWN_MM = 2.0
"""Distance that is drawn in the brightest colour."""


def register(
    surface: Annotated[Positional[Path], arg(metavar="SURFACE")],
    target: Annotated[Positional[Path], arg(metavar="TARGET")],
    /,
    out: Path,
    start: Annotated[Path | None, arg(name="initial", aliases=("--start",))] = None,
    sequence: Path | None = None,
    prediction: Path | None = None,
    scale: float | None = None,
    scale_std: float = 0.1,
    working_mm: tuple[float, float] = WORKING_MM,
    air_below: float = ct_files.AIR_BELOW,
    air_seed: tuple[float, float, float] | None = None,
    smoothing_mm: float = 0.0,
    flip: bool = False,
    masks: Path | None = None,
    unit: surfaces.Unit | None = None,
) -> int:
    """Registers a reconstructed surface to a CT: rotation, shift and scale, with no start by hand.

    Ends with exit code 3, results written, where the answer is ambiguous.

    Args:
        surface: Mesh (PLY, STL, OBJ, VTP, VTK) with normals into the air, or a folder of depthscope fuse.
        target: CT (DICOM folder, NIfTI, NRRD, MetaImage) or a surface in LPS with normals into the air.
        out: Folder for the results.
        start: File with a rough 4x4 from the surface to LPS mm; it is tried besides what is found without it.
        sequence: Sequence that the surface was made from: its cameras tell what must be air, and what the first and the
            second half of them saw must come to lie in the same place.
        prediction: Depth maps (of depthscope predict) that the surface was fused from: twenty of them are registered
            jointly in place of the surface. Needs --sequence.
        scale: Millimetres to a unit of the surface, where that is known roughly.
        scale_std: Standard deviation of the logarithm of --scale.
        working_mm: Least and greatest median distance from which the scope was used; without --scale they bound it.
        air_below: Hounsfield units below which the CT is air.
        air_seed: A point (LPS mm) in the air space of the CT that is meant; the largest one in the body otherwise.
        smoothing_mm: Blur of the CT before its surface is taken.
        flip: Turn the target's normals round: a model of the airway has them pointing into the tissue.
        masks: Folder of masks called as the frames, with classes.yaml: of --prediction only what is tissue counts.
        unit: Unit of a TARGET that is a surface: mm, cm or m. Without it the file decides, or mm.
    """
    from rich.console import Console

    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if masks is not None and prediction is None:
        raise BadInputError("--masks alone", "the depth maps that they are of", "give --prediction too")
    began, console = time.perf_counter(), Console(highlight=False)
    mesh, place, axes = source_surface(surface)
    views: tuple[View, ...] | None = None
    if prediction is not None:
        views = frame_views(some_maps(prediction, sequence, masks))
    elif sequence is not None:
        views = views_of(mesh, sequence)
    goal, target_source, notes = target_surface(target, air_below, air_seed, smoothing_mm, unit)
    for note in notes:
        console.print(f"note: {target.name}: {note}", soft_wrap=True)
    if flip and goal.normals is not None and goal.faces is not None:
        goal, target_source = (
            replace(goal, normals=-goal.normals, faces=goal.faces.flip(1)),
            f"{target_source}, flipped",
        )
    starts = () if start is None else (transforms.read(start),)
    prior = None if scale is None else ScalePrior(scale, scale_std, "given by --scale")
    options = Registration(scale_prior=prior, working_mm=working_mm)
    inputs = tuple(path for path in (surface, target, sequence, prediction, start, masks) if path is not None)
    with writing_folder(out, inputs=inputs) as folder:
        ready = Target(goal)
        with console.status("search") if console.is_terminal else nullcontext() as status:

            def told(stage: str) -> None:
                if status is not None:
                    status.update(stage)

            if views is None:
                found = register_unscaled(mesh, ready, options, starts, told)
            else:
                found = register_by_halves(views, ready, options, starts, told)
        moved = replace(mesh.moved(found.target_from_source), unit="mm")
        distance = nearest(ready, moved.points.double(), moved.normals)
        comments = ("frame LPS", "SPACE=LPS", "scale by registration to the CT; colours are distances to it")
        ply.write(replace(moved, colours=distance_colours(distance)), folder / "aligned.ply", comments=comments)
        ply.write(goal, folder / "target.ply", comments=("frame LPS", "SPACE=LPS", target_source))
        transforms.write_text(found.target_from_source, folder / "transform.txt")
        transforms.write_itk(found.target_from_source, folder / "transform.tfm")
        write_image(folder / "residuals.png", picture(moved, distance, goal))
        write_result(
            folder,
            {
                **figures(found, options, distance),
                "target": target_source,
                "target_notes": list(notes),
                "source_axes": axes,
            },
        )
        write_provenance(
            folder,
            options={
                "scale": scale,
                "scale_std": scale_std,
                "working_mm": working_mm,
                "air_below": air_below,
                "air_seed": air_seed,
                "flip": flip,
                "unit": unit,
            },
            inputs={str(path): content_hash(path) for path in inputs},
            seconds=time.perf_counter() - began,
        )
    residual = found.residuals.figures
    console.print(
        f"{place.name}: residual {residual['mean']:.2f} mm ({100 * residual['inlier_share']:.0f} % inliers), scale "
        f"{found.scale:.4g} mm, confidence {found.confidence:.2f}: {out / 'aligned.ply'}",
        soft_wrap=True,
    )
    if found.ambiguous:
        console.print(f"refused: {'; '.join(found.reasons)}", soft_wrap=True)
        console.print(f"next: {what_may_help(prediction is not None, scale is not None)}", soft_wrap=True)
        return 3
    return 0


def what_may_help(by_maps: bool, scaled: bool) -> str:
    """What to try after a refusal."""
    ways = []
    if not by_maps:
        ways.append("give the depth maps it was fused from (--sequence, --prediction), which are placed more surely")
    if not scaled:
        ways.append("give its size, where that is roughly known (--scale)")
    ways.append("check that the CT is this patient's")
    return "; ".join(ways)


def source_surface(path: Path) -> tuple[Surface, Path, str]:
    """The surface of a file or of a folder that fuse wrote, its file, and the axes it came in, in words."""
    path = Path(path)
    if path.is_dir():
        if not (path / "surface.ply").is_file():
            raise BadInputError(f"{path} has no surface.ply", "a surface, or a folder of depthscope fuse", "fuse first")
        path = path / "surface.ply"
    surface, _ = surfaces.read(path)
    if surface.normals is None:
        raise BadInputError(f"{path} has neither normals nor faces", "a mesh, or points with normals", "fuse first")
    if len(surface.points) < 100:
        raise BadInputError(f"{path} has {len(surface.points)} points", "at least 100", "check the surface")
    return surface, path, f"its own, in {surface.unit}"


def views_of(surface: Surface, folder: Path) -> tuple[View, ...]:
    """What each of some cameras of a sequence sees of the surface, where its depth is as certain as that of `CERTAIN`.

    Raises:
        BadInputError: The surface has no faces, or no camera sees enough of it.
    """
    from depthscope.formats import read_sequence

    clip: Sequence = read_sequence(folder)
    if surface.faces is None:
        raise BadInputError("a point cloud with --sequence", "a mesh", "fuse first, or leave out --sequence")
    caster, centres = RayCaster(surface), clip.camera_from_world.origin.double()
    chosen = torch.linspace(0, len(clip) - 1, min(MOST_VIEWS, len(clip))).round().int().tolist()
    points, found = surface.points.double(), []
    for frame in chosen:
        camera, motion, centre = clip.cameras[frame], clip.camera_from_world[frame], centres[frame]
        pixels = camera.project(motion.to(torch.float64).apply(points)).nan_to_num(nan=-1.0)
        size = pixels.new_tensor(camera.size_px)
        inside = ((pixels > 0) & (pixels < size)).all(-1).nonzero()[:, 0]
        if not len(inside):
            continue
        towards = centre + 0.98 * (points[inside] - centre)
        seen = inside[~caster.blocked(centre.expand_as(towards), towards)]
        if surface.std is not None:
            distance = (points[seen] - centre).norm(dim=-1)
            seen = seen[surface.std[seen] <= CERTAIN.most_relative_std * distance]
        if len(seen) >= FEWEST:
            normals = None if surface.normals is None else surface.normals[seen]
            std = None if surface.std is None else surface.std[seen]
            found.append(View(Surface(surface.points[seen], normals, unit=surface.unit), centre, std=std))
    if not found:
        raise BadInputError(
            f"no camera of {folder} sees a part of the surface that is certain",
            "the sequence that it was made from",
            "check --sequence",
        )
    return tuple(found)


def some_maps(prediction: Path, folder: Path | None, masks: Path | None = None) -> list[DepthFrame]:
    """Some depth maps of a clip, spread over it, with their motions, each at the scale that its clip gives it.

    Raises:
        BadInputError: There is no sequence, or it is of other frames.
    """
    from depthscope.commands.fuse import matched, views
    from depthscope.formats import depth_maps, read_sequence
    from depthscope.fusion import clip_scales

    if folder is None:
        raise BadInputError("--prediction alone", "the motions of its frames", "give --sequence too")
    clip = masked(read_sequence(folder), masks)
    maps = matched(depth_maps.listed(prediction), clip, prediction)
    read = ((frame, depth_maps.read(path)) for frame, path in maps.items())
    scales = clip_scales(read, clip, maps=depth_maps.grid_of(prediction))
    rows = torch.linspace(0, len(maps) - 1, min(MOST_MAPS, len(maps))).round().long().unique()
    chosen = dict(list(maps.items())[row] for row in rows.tolist())
    return list(views(chosen, clip, scales.factor[rows], prediction))


def target_surface(
    path: Path,
    air_below: float,
    seed: tuple[float, float, float] | None,
    smoothing_mm: float,
    unit: surfaces.Unit | None = None,
) -> tuple[Surface, str, tuple[str, ...]]:
    """The surface to register to, in LPS mm; where it is from, in words; and what was amiss in its files and mended.

    Raises:
        BadInputError: It cannot be read, is no mesh, or its size is that of no body and nobody says its unit.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in surfaces.ENDINGS:
        surface, axes = surfaces.read(path, unit)
        if surface.faces is None or not len(surface.faces):
            raise BadInputError(f"{path} has no faces", "a mesh", "export the surface as a mesh")
        surfaces.check_size(surface, path, unit)
        if surface.normals is None:
            surface = replace(surface, normals=vertex_normals(surface.points, surface.faces))
        return replace(surface, points=surface.points.double(), unit="mm"), f"surface {path.name}, {axes}", ()
    if unit is not None:
        raise BadInputError(
            f"--unit {unit} for the CT {path}", "it for a surface alone", "leave it away: a CT says its own"
        )
    volume = ct_files.read_ct(path)
    region = ct_files.Region(seed_mm=seed, smoothing_mm=smoothing_mm)
    surface = ct_files.extracted_surface(volume, air_below, region)
    coarse = max(volume.voxel_mm)
    told = f"CT {volume.name}, air below {air_below:g} HU, voxels of {'x'.join(f'{v:.2g}' for v in volume.voxel_mm)} mm"
    if coarse > ct_files.COARSE_VOXEL_MM:
        print(f"warning: {told}: thin sheets are lost above {ct_files.COARSE_VOXEL_MM:g} mm")
        told += ", too coarse for thin sheets"
    return surface, told, volume.notes


def figures(found: Alignment, options: Registration, distance_mm: Float[Tensor, " points"]) -> dict:
    """What ``result.json`` says."""
    prior = options.scale_prior
    evidence = found.evidence
    return {
        "target_from_source": found.target_from_source.matrix.tolist(),
        "frame": "LPS",
        "unit": "mm",
        "scale": found.scale,
        "scale_sd": float(found.covariance[6, 6].sqrt()) * found.scale,
        "scale_source": "registration to the CT" + ("" if prior is None else f", with a prior {prior.source}"),
        "scale_prior_z": None if prior is None else math.log(found.scale / prior.scale) / prior.log_std,
        "residual_mm": found.residuals.figures,
        "residual_all_vertices_mm": float(distance_mm.mean()),
        "confidence": found.confidence,
        "confidence_means": f"probability that the mean error is below {options.calibration.limit_mm:g} mm, "
        f"calibrated on {options.calibration.fitted_on}",
        "ambiguous": found.ambiguous,
        "reasons": list(found.reasons),
        "converged": found.converged,
        "predicted_tre_mm": evidence.predicted_tre_mm,
        "coverage": evidence.coverage,
        "air_violation": evidence.air_violation,
        "sight_violation": evidence.sight_violation,
        "log_odds": evidence.log_odds,
        "halves_apart_mm": evidence.halves_apart_mm,
        "start_spread_mm": found.start_spread_mm,
        "independent_observations": found.independent,
        "covariance_w_t_lns": found.covariance.tolist(),
        "covariance_about": found.centroid.tolist(),
        "modes": [vars(mode) for mode in found.modes[:8]],
        "seconds": found.seconds,
    }


def distance_colours(distance_mm: Float[Tensor, " points"]) -> Tensor:
    """Distances from 0 (dark) to `SHOWN_MM` (bright), uint8 RGB."""
    known = torch.ones(1, len(distance_mm), dtype=torch.bool)
    return painted((distance_mm / SHOWN_MM)[None], known, cv2.COLORMAP_VIRIDIS)[0]


def picture(moved: Surface, distance_mm: Float[Tensor, " points"], target: Surface) -> Tensor:
    """Slices of the CT surface (grey) with the registered surface (coloured by distance), and the distances' histogram.

    The slices are axial, coronal and sagittal through the middle of the registered surface.
    """
    rows, _ = thinned(moved.points.double(), 40_000)
    points, colours = moved.points.double()[rows].numpy(), distance_colours(distance_mm)[rows].numpy()
    wall = target.points.numpy()
    middle = np.median(points, 0)
    panels = []
    for axis, name in ((2, "axial"), (1, "coronal"), (0, "sagittal")):
        across = [i for i in range(3) if i != axis]
        size, half = 460, max(20.0, 1.15 * np.abs(points - middle)[:, across].max())
        canvas = np.full((size, size, 3), 255, np.uint8)
        for cloud, paint, radius in ((wall, None, 1), (points, colours, 1)):
            near = np.abs(cloud[:, axis] - middle[axis]) < 0.6
            flat = (cloud[near][:, across] - middle[across]) / half
            flat[:, 1] *= 1 if axis == 2 else -1  # the back is below in an axial slice, the feet in the others
            at = ((flat + 1) / 2 * size).astype(int)
            shades = np.full((len(at), 3), 150, np.uint8) if paint is None else paint[near]
            for (x, y), shade in zip(at, shades, strict=True):
                if 0 <= x < size and 0 <= y < size:
                    cv2.circle(canvas, (int(x), int(y)), radius, tuple(int(c) for c in shade), -1)
        _write(canvas, f"{name}, {2 * half:.0f} mm wide", 8, 18)
        panels.append(canvas)
    return torch.from_numpy(np.concatenate([*panels, histogram(distance_mm, 460)], 1))


def histogram(distance_mm: Float[Tensor, " points"], size: int) -> np.ndarray:
    """The histogram of the distances, in their colours."""
    canvas, bins = np.full((size, size, 3), 255, np.uint8), 40
    count = torch.histc(distance_mm.float().clamp(0, 2 * SHOWN_MM - 1e-4), bins, 0, 2 * SHOWN_MM).numpy()
    centres = (torch.arange(bins) + 0.5) * 2 * SHOWN_MM / bins
    shades = distance_colours(centres.double()).numpy()
    width, base = (size - 40) / bins, size - 40
    for i, (n, shade) in enumerate(zip(count, shades, strict=True)):
        top = int(base - (base - 40) * n / max(count.max(), 1))
        left = int(20 + i * width)
        cv2.rectangle(canvas, (left, top), (int(left + width) - 1, base), tuple(int(c) for c in shade), -1)
    for mm in range(int(2 * SHOWN_MM) + 1):
        _write(canvas, str(mm), int(16 + mm / (2 * SHOWN_MM) * (size - 40)), base + 20)
    _write(canvas, f"distance in mm, mean {float(distance_mm.mean()):.2f}", 8, 18)
    return canvas


def _write(canvas: np.ndarray, text: str, x: int, y: int) -> None:
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
