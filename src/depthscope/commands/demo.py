"""``depthscope demo``: a simulated patient through the whole pipeline, with pictures and errors in mm at the end."""

import time
from pathlib import Path
from typing import Literal

from depthscope.case import Case
from depthscope.errors import NoAnswerError
from depthscope.pipeline.cases import REGISTRATION, REPORT, reporting
from depthscope.pipeline.demo import DEPTH_ERROR, SURFACE_ERROR, demo_recipe, demo_stages, maps_of
from depthscope.pipeline.reporting import tell_report
from depthscope.training.devices import Device
from depthscope.workspace import read_result


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
