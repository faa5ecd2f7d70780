"""``depthscope predict RUN INPUT --out DIR``."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from depthscope.commands.flags import REGISTRY, ContentMask, FrameList, Part
from depthscope.errors import BadInputError
from depthscope.pipeline.prediction import predict_folder
from depthscope.pretrained import SHIPPED
from depthscope.training import BEST, LAST
from depthscope.training.devices import Backend, Device
from depthscope.video import WHOLE


def parse(arguments: list[str]) -> Callable[[], int]:
    """The call that the arguments ask for: what is written, and which options there are, follows from the run."""
    arguments = with_run(arguments)
    call = verb_of(arguments)
    code = tyro.cli(call, args=arguments, prog="depthscope predict", registry=REGISTRY)
    return lambda: code


def with_run(arguments: list[str]) -> list[str]:
    """The arguments with the weights that ship as RUN, where they name INPUT alone."""
    positional = [a for a in arguments[:2] if not a.startswith("-")]
    if len(positional) != 1 or positional[0] != arguments[0] or positional[0] == SHIPPED:
        return arguments
    given = Path(positional[0])
    is_run = given.suffix == ".pt" or any((given / name).is_file() for name in (BEST, LAST))
    return arguments if is_run or not given.exists() else [SHIPPED, *arguments]


def verb_of(arguments: list[str]) -> Callable[..., int]:
    """The use of the run that is named first among the arguments: depth, or that of a pretext task."""
    from depthscope.pretext import stored_options
    from depthscope.pretext.stored import pretext_of

    if arguments[:1] == [SHIPPED]:
        return predict
    for argument in arguments:
        run = Path(argument)
        if (run / BEST).is_file() and not (run / LAST).is_file():  # which pretext tasks never leave alone
            return predict
        if (run / LAST).is_file() or (run.is_file() and run.suffix == ".pt"):
            if pretext_of(run) is None:
                return predict
            name = stored_options(run)[0].replace("-", "_")
            return getattr(importlib.import_module(f"depthscope.commands.uses.{name}"), name)
    if arguments and not arguments[0].startswith("-"):
        raise BadInputError(
            f"{Path(arguments[0]) / LAST} is missing", "a run of depthscope train or pretrain", "check the run folder"
        )
    return predict


def predict(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    sequence: Path | None = None,
    camera: Path | None = None,
    mask: ContentMask = None,
    clouds: int = 10,
    video: bool = True,
    device: Device = "auto",
    batch: int = 8,
    last: bool = False,
    split: FrameList = None,
    network: str = "",
    part: Part = WHOLE,
    size: Literal["network", "full"] = "network",
    undistort: float | None = None,
    backend: Backend = "auto",
) -> int:
    """Depth of every frame of a sequence, image folder or video.

    Args:
        run: Folder of a training run, or a checkpoint file; without it, or as "shipped", the weights that ship.
        input: Sequence folder, image folder or video file.
        out: Folder for the depth maps.
        sequence: Bring every frame to the sparse points of this sequence (of the same frames), in its unit.
        camera: A camera.yaml, for input that has no camera of its own.
        mask: An image that is white where the camera shows tissue.
        clouds: Point clouds of every N-th frame; 0 for none.
        video: Also write the frames and their depth side by side as a video.
        device: Where to compute; auto takes a GPU if there is one.
        batch: Frames in one pass.
        last: Use the newest checkpoint instead of the best.
        split: KITTI: a list of the frames to predict on (left eyes); INPUT is the folder it starts from, and OUT gets a
            folder for each drive.
        network: package.module:Class of a network from elsewhere that RUN was trained with. Only what is named here is
            imported, whatever a checkpoint says.
        part: Which frames of a video or image folder are used.
        size: Maps of the network's size, or full: of the frame's, enlarged along its edges.
        undistort: Also write frames and maps without the lens's distortion, this many degrees across the wider side.
        backend: What computes the network on a CPU; auto takes the quickest that is installed, or PyTorch for a short
            recording, for which another one is not worth its start.
    """
    return predict_folder(
        run,
        input,
        out,
        sequence=sequence,
        camera=camera,
        mask=mask,
        clouds=clouds,
        video=video,
        device=device,
        batch=batch,
        last=last,
        split=split,
        network=network,
        part=part,
        size=size,
        undistort=undistort,
        backend=backend,
    )
