"""``depthscope demo``: a simulated patient through the whole river, with pictures and errors in mm at the end."""

import dataclasses
import time
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch

from depthscope.case import Case, Stage
from depthscope.commands.flags import Device
from depthscope.commands.run import (
    PREDICTION,
    REGISTRATION,
    REPORT,
    SEQUENCE,
    SURFACE,
    clips_of,
    quickened,
    reporting,
    river,
    tell_report,
)
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.evaluation import Distances, PathError, SurfaceError, faces_seen, path_error, surface_error
from depthscope.geometry import Similarity, Surface
from depthscope.recipes import ADAPT, Recipe
from depthscope.sequence import Sequence
from depthscope.workspace import read_result

PATIENT, DEPTH_ERROR, SURFACE_ERROR = "patient", "depth_error", "surface_error"
"""Folders of the stages that only a simulated patient has."""

SHOWN = 4
"""Frames in the picture."""

WORST_MM = 2.0
"""Distance that is painted in the brightest colour."""


def demo(
    out: Path = Path("depthscope-demo"),
    steps: int = 130,
    frames: int = 40,
    seed: int = 1,
    anatomy: Literal["nasal", "colon"] = "nasal",
    device: Device = "auto",
) -> int:
    """Simulates a patient and runs everything on the video: structure from motion, training, depth, surface, errors.

    The network sees the video and nothing else; the truth is used at the end, to measure. Stages that are done are not
    repeated, and an interrupted one goes on where it stopped.

    Args:
        out: Folder for everything.
        steps: Training steps.
        frames: Frames of the simulated clip.
        seed: Number of the simulated patient.
        anatomy: What is simulated.
        device: Where to compute; auto takes a GPU if there is one.
    """
    from rich.console import Console

    console, case = Console(highlight=False, soft_wrap=True), Case(out)
    start = time.perf_counter()
    stages = demo_stages(case.folder, demo_recipe(steps), frames, seed, anatomy, device)
    stages.append(reporting(case.folder, stages))
    try:
        walked = case.walk(stages, lambda line: console.print(line, style="bold", markup=False))
    except NoAnswerError:
        tell_report(case.folder, console)
        raise
    depth = read_result(case.folder / DEPTH_ERROR)["alignment"]
    found = read_result(case.folder / SURFACE_ERROR)
    surface = found["surface"]["accuracy"]
    console.print(
        f"surface: {surface['median']:.2f} mm from the true one in the median, 95 % within {surface['p95']:.2f} mm\n"
        f"depth:   {depth['per_frame_median']['abs_rel']:.1%} mean relative error, each frame at its own scale; "
        f"{depth['per_sequence']['abs_rel']:.1%} at one scale\n"
        f"path:    {found['path']['ate']:.2f} mm, {found['path']['ate_of_extent']:.1%} of its extent\n"
        f"in CT:   {told(found['registration'])}",
        markup=False,
    )
    console.print(f"done in {time.perf_counter() - start:.0f} s, {len(walked.kept)} stages were up to date")
    console.print(f"in the browser: depthscope view {case.folder}", markup=False)
    for what, place in shown(case.folder).items():
        console.print(f"{what}{place}", markup=False)
    return 0


def told(registration: dict) -> str:
    """What the registration says, and what is true."""
    residual, error = registration["residual_mm"]["mean"], registration["target_error_mm"]["median"]
    word = "refused" if registration["refused"] else f"confidence {registration['confidence']:.2f}"
    return f"residual {residual:.2f} mm, {word}; in truth {error:.2f} mm off in the median"


def demo_recipe(steps: int) -> Recipe:
    """`ADAPT` with so many steps."""
    return quickened(ADAPT, "demo", ADAPT.supervision.area_px, steps)


def demo_stages(
    case: Path, recipe: Recipe, frames: int, seed: int, anatomy: str, device: Device = "auto"
) -> list[Stage]:
    """The stages of the river, with the patient before and the truth after them."""
    clip = case / PATIENT / "video"

    def simulated(folder: Path, resume: bool) -> None:
        from depthscope.commands.simulate import simulate

        simulate(folder, anatomy, frames=frames, seed=seed, split="test")  # type: ignore[arg-type]
        made = next(folder.glob("patient_*"))
        for name, place in (("video", made / "clip_00"), ("ct.nii.gz", made / "ct.nii.gz")):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(place.relative_to(folder))

    def depth_measured(folder: Path, resume: bool) -> None:
        from depthscope.commands.evaluate import evaluate

        evaluate(maps_of(case), clip / "depth", folder)

    def surface_measured(folder: Path, resume: bool) -> None:
        measure_surface(case, clip, folder)

    options = {"frames": frames, "seed": seed, "anatomy": anatomy}
    return [
        Stage(PATIENT, f"simulate a patient and an endoscopic video of {frames} frames", simulated, options),
        *river(
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


def path_of(found: Sequence, truth: Sequence) -> PathError:
    """The error of the camera path, after the similarity between the paths.

    Raises:
        BadInputError: Too few frames were placed.
    """
    pairs = frames_of(found, truth)
    if len(pairs) < 3:
        raise BadInputError(f"{len(pairs)} frames were placed", "at least 3", "choose another --seed")
    rows, true_rows = torch.tensor(pairs).unbind(-1)
    return path_error(found.camera_from_world[rows], truth.camera_from_world[true_rows])


def frames_of(found: Sequence, truth: Sequence) -> list[tuple[int, int]]:
    """Positions of the same frames in both."""
    from depthscope.evaluation.frame_names import same_frames

    same = same_frames(truth.frame_names, found.frame_names)
    return [(found.frame_names.index(other), truth.frame_names.index(name)) for name, other in same.items()]


def true_from_sfm_by_points(found: Sequence, truth: Sequence, depth: Path) -> Similarity:
    """The similarity that brings the points of SfM nearest to the true surface that their frames saw there.

    It is better determined than the one between the camera paths, which are short. An error counts by its share of the
    depth: far points, of little parallax, come out too near, and would drag the scale with them. Outliers are left out.
    """
    from depthscope.formats import depth_maps
    from depthscope.prediction import sampled_at

    maps, sources, targets, depths = depth_maps.listed(depth), [], [], []
    for row, true_row in frames_of(found, truth):
        seen = found.observations.frame == row
        pixels, camera = found.projections[seen], truth.cameras[true_row]
        true_depth = sampled_at(depth_maps.read(maps[truth.frame_names[true_row]])[None], pixels[None].float())[0]
        known = true_depth > 0
        rays = camera.unproject(pixels[known])
        world_from_camera = truth.camera_from_world[true_row].inverse()
        targets.append(world_from_camera.apply(rays * true_depth[known, None].double()))
        sources.append(found.points[found.observations.point[seen][known]])
        depths.append(true_depth[known].double())
    source, target, far = torch.cat(sources), torch.cat(targets), torch.cat(depths)
    align = Similarity.estimate(source, target, far**-2)
    for _ in range(8):
        away = (align.apply(source) - target).norm(dim=-1) / far
        kept = away <= 3 * away.quantile(0.5)
        align = Similarity.estimate(source[kept], target[kept], far[kept] ** -2)
    return align


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


def shown(case: Path) -> dict[str, Path]:
    """What to look at."""
    return {
        "picture of the surface: ": case / SURFACE_ERROR / "surface.png",
        "picture of the depth:   ": case / SURFACE_ERROR / "depth.png",
        "surface in mm, coloured by its error: ": case / SURFACE_ERROR / "surface_mm.ply",
        "surface registered to the CT: ": case / REGISTRATION / "aligned.ply",
        "video of the depth: ": maps_of(case) / "video.mp4",
        "report: ": case / REPORT / "index.html",
    }
