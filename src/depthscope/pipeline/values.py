"""The pipeline as values: a clip in, a surface in the CT out. Folders are checkpoints that other modules write.

Read from top to bottom it is the method: structure from motion on the video, a network that learns from its points,
the depth of every frame, one surface, and where that lies in the CT.
"""

import atexit
import shutil
import tempfile
from collections.abc import Sequence as Rows
from pathlib import Path

import torch

from depthscope.errors import NoAnswerError
from depthscope.formats import camera_file, read_sequence
from depthscope.fusion import Fused, Fusion, clip_scales, fuse as fuse_frames
from depthscope.geometry import Camera, Surface
from depthscope.pipeline.clip_depth import ClipDepth
from depthscope.pipeline.fusion import frame_of
from depthscope.pipeline.reconstruction import frames_of
from depthscope.pipeline.registration import MOST_MAPS
from depthscope.prediction import DepthModel, load_model
from depthscope.recipes import ADAPT, Recipe, with_steps
from depthscope.reconstruction.clips import Asked, Options, reconstruct_clips
from depthscope.registration import Alignment, Registration, Target, register_unscaled
from depthscope.registration.frames import frame_views
from depthscope.registration.halves import register_with_split_half_check
from depthscope.runs import train_recipe
from depthscope.sequence import Sequence
from depthscope.training.devices import Device
from depthscope.video import survey
from depthscope.workspace import content_hash


def reconstruct(
    source: Path | str,
    camera: Camera | Path | str | None = None,
    *,
    out: Path | str | None = None,
    options: Options | None = None,
) -> Sequence:
    """Structure from motion on a video or a folder of images: the accepted clip with the most frames.

    Args:
        source: Video file or folder of images.
        camera: The camera or its camera.yaml; without it the camera is self-calibrated, which is less sure.
        out: Folder for the frames and the model; one that lasts as long as this process by default.
        options: Seed, and limits of cores, time and memory.

    Raises:
        BadInputError: The source cannot be read.
        NoAnswerError: No clip can be trusted.
    """
    folder, frames = _lasting(out), frames_of(Path(source))
    given = camera_file.read(Path(camera)) if isinstance(camera, Path | str) else camera
    named = str(camera) if isinstance(camera, Path | str) else "the camera that was given"
    asked = Asked(
        frames, folder, given, named, survey(frames), options or Options(), {str(frames): content_hash(frames)}
    )
    results = reconstruct_clips(asked)
    accepted = [result for result in results if result["accepted"]]
    if not accepted:
        reasons = "; ".join(reason for result in results for reason in result["reasons"])
        raise NoAnswerError(
            f"the structure from motion of {source} is not accepted: {reasons or 'no reason was given'}",
            "one that can be trusted",
            "choose another part of the video, or calibrate the camera",
        )
    best = max(accepted, key=lambda result: result["registered"])
    return read_sequence(folder if len(results) == 1 else folder / best["name"])


def train(
    sequences: Sequence | Rows[Sequence],
    recipe: Recipe = ADAPT,
    *,
    steps: int | None = None,
    out: Path | str | None = None,
    quiet: bool = True,
) -> DepthModel:
    """A network that has learned from the points of one or more sequences, ready to predict.

    Args:
        sequences: With their structure from motion.
        recipe: How; `ADAPT` fits the weights that ship.
        steps: In place of the recipe's number.
        out: Folder of the run; one that lasts as long as this process by default.
        quiet: No progress display.

    Raises:
        BadInputError: The recipe cannot learn from these sequences.
    """
    folder = _lasting(out)
    clips = [sequences] if isinstance(sequences, Sequence) else list(sequences)
    train_recipe(with_steps(recipe, steps), clips, folder, quiet=quiet)
    return load_model(folder)


def predict(model: DepthModel, sequence: Sequence, *, device: Device = "auto") -> ClipDepth:
    """The depth of every frame of a sequence.

    Args:
        model: From `train`, or `load_model`.
        sequence: The frames.
        device: Where to compute.
    """
    return ClipDepth(model, sequence, device)


def fuse(maps: ClipDepth, options: Fusion | None = None) -> Fused:
    """One surface from the depth maps of a clip, each brought to its sparse points smoothly over time.

    Args:
        maps: From `predict`.
        options: Size of voxels, holes, and what is left out.

    Raises:
        BadInputError: No map has a sparse point.
        NoAnswerError: Nothing is seen often enough.
    """
    clip = maps.sequence
    factors = _factors(maps)
    frames = (
        frame_of(clip, number, one.depth * factor, None if one.std is None else one.std * factor, one.image)
        for number, (one, factor) in enumerate(zip(maps, factors, strict=True))
    )
    return fuse_frames(frames, options or Fusion(unit=clip.unit))


def register(source: ClipDepth | Surface, target: Surface, options: Registration | None = None) -> Alignment:
    """Where depth maps, or a surface, lie in a CT; without a start by hand.

    Args:
        source: Depth maps of a clip, of which some are registered jointly and in halves; or a surface alone.
        target: Mesh in mm with normals into the air.
        options: How.

    Raises:
        BadInputError: There is too little to register.
    """
    options, ready = options or Registration(), Target(target)
    if isinstance(source, Surface):
        return register_unscaled(source, ready, options)
    rows = torch.linspace(0, len(source) - 1, min(MOST_MAPS, len(source))).round().long().unique().tolist()
    factors = _factors(source)
    frames = [
        frame_of(source.sequence, number, one.depth * factor, None if one.std is None else one.std * factor, one.image)
        for number, (one, factor) in enumerate(zip(source, factors, strict=True))
        if number in set(rows)
    ]
    return register_with_split_half_check(frame_views(frames), ready, options)


def _factors(maps: ClipDepth) -> list[float]:
    """What each map is multiplied by."""
    depths = ((number, one.depth) for number, one in enumerate(maps))
    return clip_scales(depths, maps.sequence).factor.tolist()


def _lasting(out: Path | str | None) -> Path:
    """The folder, or one that is removed when this process ends."""
    if out is not None:
        return Path(out)
    folder = Path(tempfile.mkdtemp(prefix="depthscope-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
