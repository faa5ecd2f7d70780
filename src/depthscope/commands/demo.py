"""``depthscope demo``: a simulated clip through the whole method, with a picture and a table at the end."""

import dataclasses
import time
from pathlib import Path

import torch

from depthscope.recipes import FAST, Recipe, with_steps

SHOWN = 4
"""Frames in the picture."""


def demo(out: Path = Path("depthscope-demo"), steps: int = 400, frames: int = 24, seed: int = 0) -> int:
    """Simulates a clip of a tube with folds, trains on its sparse points, predicts, and measures against the truth.

    Stages that are done are not repeated, and an interrupted training goes on where it stopped.

    Args:
        out: Folder for everything.
        steps: Training steps.
        frames: Frames of the simulated clip.
        seed: Of the simulated tube.
    """
    from rich.console import Console

    from depthscope.commands.evaluate import evaluate
    from depthscope.commands.predict import predict
    from depthscope.commands.train import train
    from depthscope.training import LAST

    console, recipe = Console(highlight=False), demo_recipe(steps)
    start = time.perf_counter()
    clip, run, prediction, evaluation = (out / name for name in ("clip", "run", "prediction", "evaluation"))
    if not done(clip):
        console.print(f"[bold]1/4 simulate[/] {frames} frames of a tube with exact truth")
        simulate_clip(clip, frames, seed)
    if not done(run):
        console.print(f"[bold]2/4 train[/] {steps} steps on its sparse points (no true depth is shown to the network)")
        train((clip,), run, recipe, resume=(run / LAST).is_file())
    if not done(prediction):
        console.print("[bold]3/4 predict[/] depth of every frame")
        predict(run, clip, prediction, clouds=8)
    console.print("[bold]4/4 evaluate[/] against the true depth of every pixel")
    evaluate(prediction, clip / "depth", evaluation)
    picture = draw(out, clip, prediction)
    console.print(f"picture: {picture}\nvideo:   {prediction / 'video.mp4'}\nclouds:  {prediction / 'cloud'}")
    console.print(f"done in {time.perf_counter() - start:.0f} s")
    return 0


def done(stage: Path) -> bool:
    """Whether a stage has left its result."""
    return (stage / "result.json").is_file()


def demo_recipe(steps: int) -> Recipe:
    """`FAST` on smaller images."""
    supervision = dataclasses.replace(FAST.supervision, area_px=40_000)
    return with_steps(dataclasses.replace(FAST, name="demo", supervision=supervision), steps)


def simulate_clip(out: Path, frames: int, seed: int) -> None:
    """A simulated clip in COLMAP's layout, with the true depth beside it."""
    from depthscope.formats import colmap
    from depthscope.simulation import Tube, simulate
    from depthscope.workspace import write_result, writing_folder

    with writing_folder(out) as folder:
        sequence = simulate(Tube(frames=frames, seed=seed), folder)
        colmap.write(sequence, folder)
        write_result(
            folder,
            {
                "frames": len(sequence),
                "points": len(sequence.points),
                "median_depth_mm": sequence.median_depth,
                "seed": seed,
            },
        )


def draw(out: Path, clip: Path, prediction: Path) -> Path:
    """Frames beside predicted and true depth and the error, each frame at its own scale."""
    from depthscope.commands.evaluate import resized_to
    from depthscope.evaluation import median
    from depthscope.formats import depth_maps
    from depthscope.pictures import contact_sheet, depth_picture, depth_range, error_picture
    from depthscope.video import read_image, write_image

    maps, truths = depth_maps.listed(prediction), depth_maps.listed(clip)
    names = list(truths)[:: max(1, len(truths) // SHOWN)][:SHOWN]
    limits = depth_range(torch.stack([depth_maps.read(truths[name]) for name in names]))
    rows = []
    for name in names:
        truth = depth_maps.read(truths[name])
        depth = resized_to(depth_maps.read(maps[name]), truth.shape)
        both = (depth > 0) & (truth > 0)
        depth = depth * float(median(truth[both]) / median(depth[both]))
        error = (depth - truth).abs() / truth.clamp_min(1e-6)
        image = read_image(next((clip / "images").glob(f"{name}.*")))
        shown = torch.where(both, depth, 0.0)
        rows.append(
            [image, depth_picture(shown, limits), depth_picture(truth, limits), error_picture(error, both, 0.1)]
        )
    near, far = limits
    titles = ("frame", f"predicted, {near:.0f} to {far:.0f} mm", "true depth", "error, 0 to 10 %")
    return write_image(out / "demo.png", contact_sheet(rows, titles))
