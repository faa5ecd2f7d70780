"""From a surface or its depth maps, and a CT, to a folder with their registration."""

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.formats import ct as ct_files, ply, surfaces, transforms
from depthscope.formats.frame_masks import masked
from depthscope.fusion import DepthFrame
from depthscope.geometry import Surface
from depthscope.geometry.casting import RayCaster
from depthscope.geometry.surface import vertex_normals
from depthscope.pipeline.registration_pictures import distance_colours, picture
from depthscope.progress import Lines
from depthscope.registration import Alignment, Registration, ScalePrior, SurfaceView, Target, nearest, register_unscaled
from depthscope.registration.frames import CERTAIN, FEWEST, frame_views
from depthscope.registration.halves import register_with_split_half_check
from depthscope.registration.options import WORKING_MM
from depthscope.sequence import Sequence
from depthscope.video import write_image

MOST_VIEWS = 10
"""Cameras of a sequence that share out the surface."""


MOST_MAPS = 20
"""Depth maps that are registered together, and in two halves of ten."""


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
    if path.is_file() and path.suffix.lower() not in surfaces.ENDINGS:
        raise BadInputError(
            f"{path} is given as SURFACE, and is none",
            f"a mesh ({', '.join(surfaces.ENDINGS)}) or a folder of depthscope fuse first, and the CT after it",
            "swap the two, if this is the CT",
        )
    surface, _ = surfaces.read(path)
    if surface.normals is None:
        raise BadInputError(f"{path} has neither normals nor faces", "a mesh, or points with normals", "fuse first")
    if len(surface.points) < 100:
        raise BadInputError(f"{path} has {len(surface.points)} points", "at least 100", "check the surface")
    _check_relief(surface, path)
    return surface, path, f"its own, in {surface.unit}"


FLAT = 1e-3
"""Least extent across a surface over its largest, below which it lies in a plane, on a line or at a point."""


def _check_relief(surface: Surface, path: Path) -> None:
    """Refuses a surface in which nothing says where it lies.

    Raises:
        BadInputError: Its points lie in a plane, on a line or at a point.
    """
    centred = surface.points.double() - surface.points.double().mean(0)
    spread = torch.linalg.eigvalsh(centred.T @ centred / len(centred)).clamp_min(0).sqrt()
    if spread[0] > FLAT * spread[2]:
        return
    shape = "at one point" if spread[2] < 1e-9 else "on a line" if spread[1] <= FLAT * spread[2] else "in a plane"
    raise BadInputError(
        f"{path}: all {len(surface.points)} points lie {shape}",
        "a surface with relief, as tissue has",
        "nothing else tells where it belongs: fuse again, or export the whole surface",
    )


def views_of(surface: Surface, folder: Path) -> tuple[SurfaceView, ...]:
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
            found.append(SurfaceView(Surface(surface.points[seen], normals, unit=surface.unit), centre, std=std))
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
    from depthscope.formats import depth_maps, read_sequence
    from depthscope.fusion import clip_scales
    from depthscope.pipeline.fusion import matched, views

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
        _check_relief(surface, path)
        if surface.normals is None:
            surface = replace(surface, normals=vertex_normals(surface.points, surface.faces))
        return replace(surface, points=surface.points.double(), unit="mm"), f"surface {path.name}, {axes}", ()
    if unit is not None:
        raise BadInputError(
            f"--unit {unit} for the CT {path}", "it for a surface alone", "leave it away: a CT says its own"
        )
    volume = ct_files.read_ct(path)
    region = ct_files.Region(seed_mm=seed, smoothing_mm=smoothing_mm)
    try:
        surface = ct_files.extracted_surface(volume, air_below, region)
    except BadInputError as error:  # it knows the volume's name alone
        raise BadInputError(f"{path}: {error.found}", error.expected, error.remedy) from error
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


def register_folder(
    surface: Path,
    target: Path,
    out: Path,
    start: Path | None = None,
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
    """Registers a surface, or the depth maps it was fused from, to a CT or a surface, as a folder.

    The parameters are those of ``depthscope register``.
    """
    from rich.console import Console

    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if masks is not None and prediction is None:
        raise BadInputError("--masks alone", "the depth maps that they are of", "give --prediction too")
    began, console = time.perf_counter(), Console(highlight=False)
    mesh, place, axes = source_surface(surface)
    views: tuple[SurfaceView, ...] | None = None
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
        ready, lines = Target(goal), Lines(every_s=0.0)
        with console.status("search") if console.is_terminal else nullcontext() as status:

            def told(stage: str) -> None:
                lines.update(f"register: {stage}")
                if status is not None:
                    status.update(stage)

            if views is None:
                found = register_unscaled(mesh, ready, options, starts, told)
            else:
                found = register_with_split_half_check(views, ready, options, starts, told)
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
