"""A simulated patient through the whole pipeline, and its results against the truth."""

import dataclasses
from dataclasses import asdict
from pathlib import Path

import torch

from depthscope.case import Stage
from depthscope.evaluation import Distances, PathError, SurfaceError, faces_seen, surface_error
from depthscope.evaluation.ground_truth import path_of, true_from_sfm_by_points
from depthscope.geometry import Similarity, Surface
from depthscope.pipeline.cases import (
    PREDICTION,
    REGISTRATION,
    SEQUENCE,
    SURFACE,
    case_stages,
    clips_of,
    downscaled,
)
from depthscope.recipes import ADAPT, Recipe
from depthscope.sequence import Sequence
from depthscope.simulation.anatomy import SPLITS, Kind as AnatomyKind
from depthscope.simulation.patients.folder import simulate_patients
from depthscope.simulation.patients.options import SimulationOptions, require_numbers
from depthscope.training.devices import Device
from depthscope.workspace import read_result

PATIENT, DEPTH_ERROR, SURFACE_ERROR = "patient", "depth_error", "surface_error"
"""Folders of the stages that only a simulated patient has."""


SHOWN = 4
"""Frames in the picture."""


WORST_MM = 2.0
"""Distance that is painted in the brightest colour."""


def demo_recipe(steps: int) -> Recipe:
    """`ADAPT` with so many steps."""
    return downscaled(ADAPT, "demo", ADAPT.supervision.area_px, steps)


def demo_stages(
    case: Path, recipe: Recipe, frames: int, seed: int, anatomy: AnatomyKind, device: Device = "auto"
) -> list[Stage]:
    """The stages of the pipeline, with the patient before and the truth after them."""
    clip = case / PATIENT / "video"

    def simulated(folder: Path, resume: bool) -> None:
        require_numbers(1, 1, frames, 1, seed, "test")
        first = SPLITS["test"].start + seed
        simulate_patients(folder, SimulationOptions(anatomy, frames, first=first, split="test"))
        made = next(folder.glob("patient_*"))
        for name, place in (("video", made / "clip_00"), ("ct.nii.gz", made / "ct.nii.gz")):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(place.relative_to(folder))

    def depth_measured(folder: Path, resume: bool) -> None:
        from depthscope.pipeline.evaluation import evaluate_folder

        evaluate_folder(maps_of(case), clip / "depth", folder)

    def surface_measured(folder: Path, resume: bool) -> None:
        measure_surface(case, clip, folder)

    options = {"frames": frames, "seed": seed, "anatomy": anatomy}
    return [
        Stage(PATIENT, f"simulate a patient and an endoscopic video of {frames} frames", simulated, options),
        *case_stages(
            case,
            clip / "video.mp4",
            clip / "camera.yaml",
            recipe,
            clip.parent / "ct.nii.gz",
            after=(PATIENT,),
            device=device,
        ),
        Stage(DEPTH_ERROR, "compare with the true depth of every pixel", depth_measured, {}, (), (PREDICTION,)),
        Stage(SURFACE_ERROR, "compare with the true anatomy", surface_measured, {}, (), (REGISTRATION, DEPTH_ERROR)),
    ]


def maps_of(case: Path) -> Path:
    """The predictions of the demo's clip (of the first, should the video have been cut)."""
    return next(iter(clips_of(case / PREDICTION, case / SEQUENCE, case / PATIENT / "video" / "video.mp4").values()))


def measure_surface(case: Path, clip: Path, out: Path) -> None:
    """The surface, the camera path and the registration against the truth, and the pictures.

    Structure from motion leaves a similarity free: the one that brings its points nearest to the truth is used.
    """
    from depthscope.formats import ply, read_sequence
    from depthscope.video import write_image
    from depthscope.workspace import write_result, writing_folder

    folders = clips_of(case / SURFACE, case / SEQUENCE, clip / "video.mp4")
    sequence_folder, surface_folder = next(iter(folders.items()))
    found, truth = read_sequence(sequence_folder), read_sequence(clip)
    path, true_from_sfm = path_of(found, truth), true_from_sfm_by_points(found, truth, clip)
    free = ply.read(surface_folder / "surface.ply")
    free = dataclasses.replace(free, points=free.points.double(), normals=None)
    surface = dataclasses.replace(free.moved(true_from_sfm), unit="mm")
    anatomy = ply.read((clip.resolve().parent) / "anatomy.ply")
    anatomy = dataclasses.replace(anatomy, unit="mm")
    error = surface_error(surface, anatomy, faces_seen(anatomy, truth))
    with writing_folder(out) as folder:
        coloured, picture = painted_by_distance(surface, anatomy, truth)
        ply.write(coloured, folder / "surface_mm.ply")
        write_image(folder / "surface.png", picture)
        write_image(folder / "depth.png", depth_picture_of(clip, maps_of(case)))
        registration = registration_error(case, free, true_from_sfm)
        write_result(folder, {**figures(error, path, true_from_sfm), "registration": registration})


def registration_error(case: Path, surface: Surface, true_from_sfm: Similarity) -> dict:
    """How far the registration without a start puts the surface from where it belongs; what it says of itself."""
    folders = clips_of(case / REGISTRATION, case / SEQUENCE, case / PATIENT / "video" / "video.mp4")
    found = read_result(next(iter(folders.values())))
    matrix = torch.tensor(found["target_from_source"], dtype=torch.float64)
    points = surface.points.double()
    away = (points @ matrix[:3, :3].T + matrix[:3, 3] - true_from_sfm.apply(points)).norm(dim=-1)
    return {
        "residual_mm": found["residual_mm"],
        "target_error_mm": asdict(Distances.of(away)),
        "scale_error": found["scale"] / float(true_from_sfm.scale) - 1,
        "confidence": found["confidence"],
        "refused": found["ambiguous"],
    }


def painted_by_distance(surface: Surface, anatomy: Surface, truth: Sequence) -> tuple[Surface, torch.Tensor]:
    """The surface in colours of its distance to the anatomy, and pictures of both from cameras of the clip."""
    import cv2

    from depthscope.evaluation.surface import TOLERANCE
    from depthscope.geometry.nearest import NearestPoint
    from depthscope.pictures import contact_sheet, painted, surface_picture
    from depthscope.video import read_image

    distance = NearestPoint(anatomy, TOLERANCE)(surface.points).distance
    share = (distance / WORST_MM)[None].float()
    colours = painted(share, torch.ones_like(share, dtype=torch.bool), cv2.COLORMAP_VIRIDIS)[0]
    coloured = dataclasses.replace(surface, colours=colours)
    rows = []
    for frame in torch.linspace(0, len(truth) - 1, 3).round().int().tolist():
        camera, motion = truth.cameras[frame], truth.camera_from_world[frame]
        views = [
            surface_picture(surface, camera, motion, coloured=False),
            surface_picture(anatomy, camera, motion, coloured=False),
            surface_picture(coloured, camera, motion),
        ]
        rows.append([read_image(truth.images[frame]), *views])
    titles = ("frame", "surface", "true anatomy", f"distance, 0 to {WORST_MM:.0f} mm")
    return coloured, contact_sheet(rows, titles)


def depth_picture_of(clip: Path, maps_folder: Path) -> torch.Tensor:
    """Frames beside predicted and true depth and the error, each frame at its own scale."""
    from depthscope.evaluation import median
    from depthscope.evaluation.depth_folders import resized_to
    from depthscope.evaluation.frame_names import same_frames
    from depthscope.formats import depth_maps
    from depthscope.pictures import contact_sheet, depth_picture, depth_range, error_picture
    from depthscope.video import read_image

    maps, truths = depth_maps.listed(maps_folder), depth_maps.true_maps(clip, depth_maps.grid_of(maps_folder))
    pairs = list(same_frames(truths, maps).items())
    pairs = pairs[:: max(1, len(pairs) // SHOWN)][:SHOWN]
    limits = depth_range(torch.stack([truths[name] for name, _ in pairs]))
    rows = []
    for name, other in pairs:
        truth = truths[name]
        depth = resized_to(depth_maps.read(maps[other]), truth.shape)
        both = (depth > 0) & (truth > 0)
        depth = depth * float(median(truth[both]) / median(depth[both]))
        error = (depth - truth).abs() / truth.clamp_min(1e-6)
        image = read_image(next((clip / "images").glob(f"{name}.*")))
        maps_shown = [depth_picture(torch.where(both, d, 0.0), limits) for d in (depth, truth)]
        rows.append([image, *maps_shown, error_picture(error, both, 0.1)])
    near, far = limits
    titles = ("frame", f"predicted, {near:.0f} to {far:.0f} mm", "true depth", "error, 0 to 10 %")
    return contact_sheet(rows, titles)


def figures(error: SurfaceError, path: PathError, true_from_sfm: Similarity) -> dict:
    """What ``result.json`` says."""
    return {
        "surface": asdict(error),
        "path": asdict(path),
        "true_from_sfm": true_from_sfm.matrix.tolist(),
        "scale_source": "the true depth of the phantom at the points of SfM",
        "unit": "mm",
    }
