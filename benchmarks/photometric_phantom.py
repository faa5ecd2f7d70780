"""Depth and path from video alone, where the assumption of view synthesis holds: Lambertian, lit by a fixed light.

    python benchmarks/photometric_phantom.py --out DIR [--steps 2000] [--seeds 0 1 2] [--device cuda]
    python benchmarks/photometric_phantom.py --out DIR --steps 20 --frames 12 --arms stereo        (a quick try)

A bent, folded tube carries a pattern and a shading that stay with the wall, so that a point has one colour in every
frame. Arms: monodepth2-m and sfmlearner learn depth and motion from the frames; stereo learns depth from two eyes with
a known baseline; with-poses takes the true motions and sparse points. Depth is judged on every frame against the exact
one: after one factor per frame, and for two eyes as it is, in mm. Constant depth stands beside it. The path is the
chain of the pose network's motions between neighbours. Writes ``photometric_phantom.json``.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from depthscope.evaluation import SnippetProtocol, path_error
from depthscope.geometry import RigidMotion
from depthscope.geometry.depth import pixel_grid
from depthscope.networks import DepthRange, DispNet, KnownMotion, SnippetPose
from depthscope.objectives import ViewSynthesis
from depthscope.objectives.photometric import SecondOrder
from depthscope.prediction import Recording, load_model, predict
from depthscope.recipes import ENDOSCOPY_PHOTOMETRIC, MONODEPTH2_M, MONODEPTH2_S, SFMLEARNER, Recipe
from depthscope.runs import train_recipe
from depthscope.sequence import Sequence
from depthscope.simulation import Tube
from depthscope.simulation.clip import tracked
from depthscope.simulation.tube import Wall, ray_depth
from depthscope.supervision import Holdout, SnippetRule, Supervision
from depthscope.training import LAST, Adam, Cosine, SnippetAugmentation, Training, load_checkpoint, snippet_network
from depthscope.unposed_clip import RightCamera, UnposedClip
from depthscope.video import read_image, write_image

BASELINE_MM = 2.0
LIGHT = (0.35, -0.5, -0.79)
"""Direction to the light in the world: it does not move."""


def main() -> None:
    """Reads the arguments, makes the phantom, trains the arms, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, nargs=2, default=(160, 128))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--large", action="store_true", help="the papers' networks (for a GPU)")
    parser.add_argument("--arms", nargs="*")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    options = Tube(
        frames=given.frames, size_px=tuple(given.size), bend=0.4, fold_depth=0.25, travel=1.4, sway=0.3, length=4.0
    )
    unposed, depths = phantom(options, given.out / "phantom")
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {given.device}"
    record = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "steps": given.steps, "rows": []}
    add(record, given.out, {"arm": "constant depth", "seed": 0, **scores([torch.ones_like(d) for d in depths], depths)})
    for seed in given.seeds:
        for name, recipe in arms(given, seed).items():
            if given.arms and name not in given.arms:
                continue
            start = time.perf_counter()
            out = given.out / f"{name}-{seed}"
            train_recipe(recipe, [unposed if recipe.objective.needs_sfm else without_sfm(unposed)], out, quiet=True)
            row = {"arm": name, "seed": seed, **measured(out, recipe, unposed, depths)}
            add(record, given.out, {**row, "seconds": time.perf_counter() - start})


def add(record: dict, out: Path, row: dict) -> None:
    """One more row, printed and on disk at once."""
    record["rows"].append(row)
    print(line(row), flush=True)
    (out / "photometric_phantom.json").write_text(json.dumps(record, indent=2))


def phantom(options: Tube, folder: Path) -> tuple[UnposedClip, list[Tensor]]:
    """Both eyes' frames on disk with the true structure from motion of the left one, and its depth maps in mm."""
    wall, motions = options.wall(), options.camera_from_world()
    shift = RigidMotion(torch.eye(3, dtype=torch.float64), torch.tensor([-BASELINE_MM, 0.0, 0.0], dtype=torch.float64))
    files: dict[str, list[Path]] = {"left": [], "right": []}
    depths, pictures = [], []
    for side, names in files.items():
        (folder / side).mkdir(parents=True, exist_ok=True)
        for number in range(options.frames):
            move = motions[number] if side == "left" else shift @ motions[number]
            image, depth = seen(wall, move)
            names.append(write_image(folder / side / f"{number:04d}.png", image))
            if side == "left":
                depths.append(depth.float())
                pictures.append(image)
    cameras = (options.camera,) * options.frames
    sequence = tracked(wall, motions, tuple(files["left"]), torch.stack(pictures))
    sequence = dataclasses.replace(sequence, name="phantom", mask=None)
    eye = RightCamera(tuple(files["right"]), cameras, shift, "mm")
    return UnposedClip("phantom", tuple(files["left"]), cameras, None, sequence, eye), depths


def without_sfm(unposed: UnposedClip) -> UnposedClip:
    """The frames alone."""
    return dataclasses.replace(unposed, sequence=None)


def seen(wall: Wall, camera_from_world: RigidMotion) -> tuple[Tensor, Tensor]:
    """A frame as bytes and its depth in mm: the colour of a point does not depend on the camera."""
    options = wall.options
    width, height = options.size_px
    rays = options.camera.unproject(pixel_grid(height, width, torch.empty(0, dtype=torch.float64)))
    depth = ray_depth(wall, camera_from_world, rays)
    points = camera_from_world.inverse().apply(depth[..., None] * rays)
    normals = wall.normals(points.reshape(-1, 3)).reshape(points.shape)
    shade = 0.6 + 0.4 * (normals @ points.new_tensor(LIGHT))
    colour = (pattern(points) * shade[..., None]).clamp(0, 1)
    return (255 * colour).round().to(torch.uint8), depth


def pattern(points: Tensor) -> Tensor:
    """Albedo in 0.2..1 at points in mm: waves of 2 to 12 mm in all directions, other ones for each colour."""
    generator = torch.Generator().manual_seed(5)
    count = 24
    direction = nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=points.dtype), dim=-1)
    length = 2.0 * 6.0 ** torch.rand(count, 1, generator=generator, dtype=points.dtype)
    phase = 2 * torch.pi * torch.rand(3, count, generator=generator, dtype=points.dtype)
    angle = points @ (2 * torch.pi * direction / length).T
    waves = torch.stack([torch.sin(angle + shift).mean(-1) for shift in phase], -1)
    return (0.6 + 1.2 * waves).clamp(0.2, 1.0)


def arms(given: argparse.Namespace, seed: int) -> dict[str, Recipe]:
    """The recipes, made equal in network, size, batch and steps."""
    training = Training(
        steps=given.steps,
        batch=given.batch,
        optimiser=Adam(1e-4 if given.large else 5e-4),
        schedule=Cosine(),
        clip_norm=1.0,
        precision="fp32",
        seed=seed,
        validate_every=given.steps,
        save_every=given.steps,
        accelerator="cuda" if given.device.startswith("cuda") else "cpu",
    )
    width, height = given.size
    supervision = Supervision(size_px=(width, height), erosion_px=0, holdout=Holdout())
    shared = {"supervision": supervision, "training": training, "augmentation": SnippetAugmentation(flip=True)}
    if not given.large:
        shared["network"] = DispNet(widths=(16, 32, 64, 128, 128), depth=DepthRange(0.1, 10.0))
    pose = SnippetPose(widths=(16, 32, 64, 64, 64), deep=64)
    neighbours = SnippetRule(offsets=(-1, 1))
    # Second differences from pixel to pixel grow with the square of the pixels' size; 416 wide is the paper's.
    smoother = SecondOrder(SecondOrder().weight * (width / 416) ** 2)

    def of(recipe: Recipe, **objective) -> Recipe:
        if not given.large and not isinstance(recipe.objective.motion, KnownMotion):
            objective["motion"] = pose
        return dataclasses.replace(recipe, objective=dataclasses.replace(recipe.objective, **objective), **shared)

    return {
        "monodepth2-m": of(MONODEPTH2_M, snippets=neighbours),
        "sfmlearner": of(SFMLEARNER, snippets=neighbours, smoothness=smoother),
        "stereo": of(MONODEPTH2_S),
        "with-poses": of(ENDOSCOPY_PHOTOMETRIC, snippets=SnippetRule(flow_px=4.0)),
    }


def measured(out: Path, recipe: Recipe, unposed: UnposedClip, depths: list[Tensor]) -> dict[str, float]:
    """Errors of the run's last weights on every frame."""
    model = load_model(out, last=True)
    images = [read_image(path) for path in unposed.images]
    recording = Recording(unposed.frame_names, images, unposed.size_px, unposed.cameras[0])
    found = [one.depth for one in predict(model, recording)]
    row = scores(found, depths)
    if recipe.objective.snippets.stereo:
        ratio = torch.stack([(d / f).median() for f, d in zip(found, depths, strict=True)])
        row |= {"metric_scale": float(ratio.median()), "metric_abs_rel": plain_abs_rel(found, depths)}
    if not isinstance(recipe.objective.motion, KnownMotion) and unposed.sequence is not None:
        row |= path_scores(out, recipe, images, unposed.sequence)
    return row


def scores(found: list[Tensor], depths: list[Tensor]) -> dict[str, float]:
    """AbsRel and d1 after one factor per frame, and how much these factors differ."""
    factors = [float((d / f).median()) for f, d in zip(found, depths, strict=True)]
    scaled = [factor * f for factor, f in zip(factors, found, strict=True)]
    ratio = [torch.maximum(f / d, d / f) for f, d in zip(scaled, depths, strict=True)]
    return {
        "abs_rel": plain_abs_rel(scaled, depths),
        "delta1": sum(float((r < 1.25).float().mean()) for r in ratio) / len(ratio),
        "scale_spread": statistics.pstdev(factors) / statistics.median(factors),
    }


def plain_abs_rel(found: list[Tensor], depths: list[Tensor]) -> float:
    """Mean over frames of the mean of |z - z*| / z*."""
    return sum(float(((f - d).abs() / d).mean()) for f, d in zip(found, depths, strict=True)) / len(depths)


@torch.inference_mode()
def path_scores(out: Path, recipe: Recipe, images: list[Tensor], truth: Sequence) -> dict[str, float]:
    """The chain of the pose network's motions from frame to frame, against the true path."""
    assert isinstance(recipe.objective, ViewSynthesis) and recipe.supervision.size_px is not None
    network = snippet_network(recipe.network, recipe.objective)
    network.load_state_dict(load_checkpoint(out / LAST)["network"])
    assert network.pose is not None
    network.eval()
    path = [RigidMotion.identity(dtype=torch.float64)]
    frames = torch.stack(images).permute(0, 3, 1, 2).float() / 255
    for number in range(1, len(frames) - 1):  # target `number` with its neighbours gives the way there and beyond
        snippet = frames[[number, number - 1, number + 1]][None]
        motions = network.pose(snippet).source_from_target[0].to(torch.float64)
        if number == 1:
            path.append(motions[0].inverse() @ path[0])
        path.append(motions[1] @ path[-1])
    found = RigidMotion(torch.stack([m.rotation for m in path]), torch.stack([m.translation for m in path]))
    whole = path_error(found, truth.camera_from_world)
    pieces = SnippetProtocol("snippet_ate", "five frames").figures(found, truth.camera_from_world)
    return {"ate_mm": whole.ate, "ate_of_length": whole.ate_of_length, "snippet_ate_mm": pieces["ate"]}


def line(row: dict) -> str:
    """A row of the table."""
    numbers = [f"{name} {value:.4f}" for name, value in row.items() if name not in ("arm", "seed")]
    return f"{row['arm']:16s} {row['seed']}  " + "  ".join(numbers)


if __name__ == "__main__":
    main()
