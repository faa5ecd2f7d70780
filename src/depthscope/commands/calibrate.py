"""``depthscope calibrate``: a recording of a board becomes a camera file."""

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.progress import Progress
from tyro.conf import Positional, arg

from depthscope.calibration import (
    Calibration,
    Views,
    board_of,
    calibrated,
    coverage_picture,
    seen_boards,
    views_picture,
)
from depthscope.calibration.choice import share_with_rays
from depthscope.commands.flags import Part
from depthscope.errors import NoAnswerError
from depthscope.formats import camera_file
from depthscope.progress import Lines
from depthscope.video import WHOLE, write_image
from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder


def calibrate(
    recording: Annotated[Positional[Path], arg(metavar="INPUT")],
    board: str,
    square_mm: float,
    out: Path,
    model: Literal["auto", "pinhole", "brown", "fisheye"] = "auto",
    marker_mm: float | None = None,
    dictionary: str = "4X4_50",
    corners: Literal["crossings", "gradients"] = "crossings",
    part: Part = WHOLE,
) -> int:
    """Find the lens of a camera from pictures of a board.

    Args:
        recording: Video or image folder of the board.
        board: Inner corners of a chessboard as 14x10, or squares of a ChArUco board as charuco:9x6.
        square_mm: Side of a square.
        out: Folder for camera.yaml, result.json, the corners and pictures of them.
        model: Lens model; auto chooses by views that the fit has not seen.
        marker_mm: Side of a ChArUco marker; three quarters of a square if left out.
        dictionary: ChArUco dictionary, as 4X4_50.
        corners: How corners are placed: by fitting blurred crossings, or by gradients as most other tools do.
        part: Which frames of INPUT are used.

    Returns:
        Exit code: 0 done, 3 the pictures do not determine the lens.
    """
    started = time.monotonic()
    known = board_of(board, square_mm, marker_mm, dictionary)
    options = {"board": board, "square_mm": square_mm, "model": model, "marker_mm": marker_mm, "dictionary": dictionary}
    options |= {"corners": corners, **part.options}
    console = Console(soft_wrap=True, highlight=False)
    with writing_folder(out, inputs=(recording,)) as folder:
        with Progress(disable=not sys.stderr.isatty(), console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("looking for the board", total=None)
            lines = Lines()

            def looked(done: int, of: int) -> None:
                bar.update(task, completed=done, total=of)
                lines.update("looking for the board", done, of)

            views = seen_boards(recording, known, looked, corners, part)
            refusal, result = "", None
            try:
                result = calibrated(views, known, model, lambda name: bar.update(task, description=f"fitting {name}"))
                refusal = result.refusal
            except NoAnswerError as error:
                refusal = str(error)
        if result is not None:
            write_corners(folder / "corners", result)
            write_image(folder / "views.jpg", views_picture(result))
            write_image(folder / "coverage.png", coverage_picture(result))
            if not refusal:
                camera_file.write(result.camera, folder / "camera.yaml")
        write_result(folder, figures(views, result, refusal))
        inputs = {str(recording): content_hash(recording)}
        write_provenance(folder, options=options, inputs=inputs, seconds=time.monotonic() - started)
    show(console, views, result, refusal)
    return NoAnswerError.exit_code if refusal else 0


def figures(views: Views, result: Calibration | None, refusal: str) -> dict:
    """What ``result.json`` says."""
    seen = {
        "calibrated": not refusal,
        "reason": refusal,
        "views_looked_at": views.looked,
        "views_found": views.found,
        "views_used": 0 if result is None else len(result.sightings),
        "near_duplicates": views.duplicates,
        "blurred": views.blurred,
        "size_px": views.size_px,
        "notes": views.notes,
    }
    if result is None:
        return seen
    best, camera = result.chosen, result.camera
    return seen | {
        "notes": (*views.notes, *result.remarks),
        "model": camera.model,
        "free": best.fit.model.name,
        "rms_px": best.fit.rms_px,
        "holdout_rms_px": best.holdout_rms_px,
        "focal_px": camera.focal_px,
        "centre_px": camera.centre_px,
        "distortion": camera.distortion.coefficients,
        "focal_sd_px": best.fit.sd[:2],
        "centre_sd_px": best.fit.sd[2:4],
        "distortion_sd": best.fit.sd[4:],
        "folds_spread_px": best.fold_values[:, :4].std(0),
        "rim_residual_px": best.rim_px,
        "rim_pattern": best.rim_pattern,
        "monotonic": best.monotonic,
        "share_of_pixels_with_rays": share_with_rays(camera),
        "dropped_views": result.dropped,
        "models_left_out": result.left_out,
        "board_error_mm": None if best.misprint is None else best.misprint.rms_mm,
        "models": {
            c.fit.model.name + ("" if c.misprint is None else ", board fitted"): {
                "rms_px": c.fit.rms_px,
                "holdout_rms_px": c.holdout_rms_px,
                "focal_px": c.fit.camera.focal_px,
                "rim_residual_px": c.rim_px,
                "rim_pattern": c.rim_pattern,
                "monotonic": c.monotonic,
            }
            for c in result.tried
        },
    }


def write_corners(folder: Path, result: Calibration) -> None:
    """One text file for each view: column, row, x, y and the residuals of each corner."""
    folder.mkdir()
    for view, sighting in enumerate(result.sightings):
        residuals = result.chosen.fit.residuals[result.measured.view == view].tolist()
        rows = [
            f"{c} {r} {x:.4f} {y:.4f} {dx:.4f} {dy:.4f}"
            for (c, r), (x, y), (dx, dy) in zip(
                sighting.grid.tolist(), sighting.pixels.tolist(), residuals, strict=True
            )
        ]
        head = (
            "# column row x_px y_px residual_x_px residual_y_px\n"
            "# The centre of the top-left pixel is (0.5, 0.5); OpenCV's coordinates are 0.5 less.\n"
        )
        (folder / f"{sighting.name}.txt").write_text(head + "\n".join(rows) + "\n")


def show(console: Console, views: Views, result: Calibration | None, refusal: str) -> None:
    """Prints the camera, or why there is none."""
    if result is not None:
        best, camera = result.chosen, result.camera
        fx, fy = camera.focal_px
        cx, cy = camera.centre_px
        sd = best.fit.sd.tolist()
        console.print(
            f"{best.fit.model.name}: {best.fit.rms_px:.3f} px, on views not fitted {best.holdout_rms_px:.3f} px; "
            f"{len(result.sightings)} views used of {views.found} found in {views.looked} pictures"
        )
        console.print(
            f"focal {fx:.2f} +- {sd[0]:.2f}, {fy:.2f} +- {sd[1]:.2f} px; "
            f"centre {cx:.2f} +- {sd[2]:.2f}, {cy:.2f} +- {sd[3]:.2f} px"
        )
        if best.misprint is not None:
            console.print(
                f"the board is off by {best.misprint.rms_mm:.3f} mm (RMS) from a perfect one, the same in all views; "
                "the lens was fitted with it"
            )
    for note in (*views.notes, *(() if result is None else result.remarks)):
        console.print(note, markup=False)
    if refusal:
        console.print(f"[bold red]no camera[/]: {refusal}", emoji=False)
