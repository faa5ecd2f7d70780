"""``depthscope evaluate PREDICTION TRUTH --out DIR [--protocol NAME]``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.commands.flags import FrameList
from depthscope.formats.surfaces import Unit
from depthscope.pipeline.evaluation import AUTO, evaluate_folder


def evaluate(
    prediction: Annotated[Positional[Path], arg(metavar="PREDICTION")],
    truth: Annotated[Positional[Path], arg(metavar="TRUTH")],
    /,
    out: Path,
    run: Path | None = None,
    gap: int = 6,
    protocol: str = AUTO,
    seen_from: Path | None = None,
    split: FrameList = None,
    unit: Unit | None = None,
    truth_unit: Unit | None = None,
    time_limit_s: str = "",
    time_offset_s: str = "0",
) -> int:
    """Errors of depth maps, of a camera path or of a surface, by a protocol whose name stands beside the numbers.

    Depth is judged against a sequence's SfM points or true depth maps, a path against another one (path-1), a surface
    against another one in the same frame (surface-1). An unknown --protocol lists those that there are.

    Args:
        prediction: Folder written by depthscope predict; for paths a sequence folder or a TUM file; for surfaces a
            file, or a folder written by depthscope register or fuse.
        truth: Sequence folder, dataset folder with dense depth, or a folder of true depth maps (float TIFF) with the
            same names, whose camera.yaml, if any, tells their distortion; for paths and surfaces as PREDICTION.
        out: Folder for result.json and frames.csv.
        run: Training run: measure only at the points that it kept from training, and scale by the others.
        gap: Frames between the two views whose depths are compared.
        protocol: Its name; auto decides by what PREDICTION and TRUTH are.
        seen_from: Sequence folder in the frame of the true surface: completeness is measured over what it saw.
        split: KITTI: a list of frames over many drives. PREDICTION is what depthscope predict --frame-list wrote, TRUTH
            the folder that the list starts from; every frame counts alike.
        unit: Unit of a PREDICTION that is a surface: mm, cm or m. Without it the file decides, or mm.
        truth_unit: Unit of a TRUTH that is a surface; without it the same as --unit.
        time_limit_s: Paths with times: poses further apart in time are not paired. Without it 0.02, and at most half of
            a step.
        time_offset_s: Paths with times: added to the times of PREDICTION first, where the clocks differ.
    """
    return evaluate_folder(
        prediction,
        truth,
        out,
        run=run,
        gap=gap,
        protocol=protocol,
        seen_from=seen_from,
        split=split,
        unit=unit,
        truth_unit=truth_unit,
        time_limit_s=time_limit_s,
        time_offset_s=time_offset_s,
    )
