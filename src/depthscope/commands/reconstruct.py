"""``depthscope reconstruct``: from a video to sequences that can be trained on, or a reasoned refusal."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.pipeline.reconstruction import reconstruct_folder
from depthscope.reconstruction.ways import Features
from depthscope.video import WHOLE


def reconstruct(
    input: Annotated[Positional[Path], arg(metavar="INPUT")],
    out: Path,
    camera: Path | None = None,
    tracks: Path | None = None,
    least_confidence: float = 0.5,
    masks: Path | None = None,
    seed: int = 0,
    workers: int = 0,
    threads: int = 0,
    minutes: float = 0.0,
    memory_gb: float = 0.0,
    ray: str = "",
    features: Features = "auto",
    part: Part = WHOLE,
) -> int:
    """Structure from motion on a video: frames with their motions and points, and whether they can be trusted.

    A call that was interrupted goes on when it is given again.

    Args:
        input: Video, or folder of images.
        out: Folder for the result; with several clips, one folder for each in it.
        camera: camera.yaml of the recording; without it the camera is self-calibrated, which is less sure.
        tracks: Points that were followed through the video (tracks.csv of depthscope predict), as further matches.
        least_confidence: That a place in --tracks must have.
        masks: Folder of masks called as the frames, with classes.yaml, as depthscope predict writes them with a run of
            pretrain error-boosting: features keep off every class that is not tissue.
        seed: Of everything random.
        workers: Clips done at a time (0: one for every four cores).
        threads: Of each clip (0: all cores, shared).
        minutes: Limit of time for each clip (0: ten, and one for each frame).
        memory_gb: Limit of memory for each clip (0: most of the machine's, shared).
        ray: Address of a Ray cluster that shares the folder, or "local"; this machine's processes if empty.
        features: What frames are matched by: sift; xfeat, aliked or disk, which are learned (pip install
            'depthscope[learned]'); both (SIFT and XFeat); auto begins with SIFT and tries XFeat where that is in doubt.
        part: Which frames of INPUT are used.

    Returns:
        Exit code: 0 if a clip was accepted, 3 if none was (refused, or "cannot tell").
    """
    return reconstruct_folder(
        input,
        out,
        camera=camera,
        tracks=tracks,
        least_confidence=least_confidence,
        masks=masks,
        seed=seed,
        workers=workers,
        threads=threads,
        minutes=minutes,
        memory_gb=memory_gb,
        ray=ray,
        features=features,
        part=part,
    )
