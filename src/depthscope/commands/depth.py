"""``depthscope depth INPUT --out DIR``."""

import time
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from depthscope.commands.flags import ContentMask, Part
from depthscope.training.devices import Backend, Device
from depthscope.video.cut import WHOLE


def depth(
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    camera: Path | None = None,
    mask: ContentMask = None,
    clouds: int = 0,
    video: bool = True,
    device: Device = "auto",
    batch: int = 8,
    run: Annotated[str, arg(name="weights", aliases=("--run",))] = "shipped",
    part: Part = WHOLE,
    size: Literal["network", "full"] = "network",
    undistort: float | None = None,
    backend: Backend = "auto",
) -> int:
    """Depth of an image, a folder of images or a video at once: no training, no structure from motion, no camera.

    The network learned from simulated patients; its depth has no unit ("relative"), and a camera makes it better.

    Args:
        input: An image, a folder of images, a video, or a sequence folder.
        out: Folder for the depth maps.
        camera: camera.yaml of the recording.
        mask: An image that is white where the camera shows tissue.
        clouds: Point clouds of every N-th frame (with a camera); 0 for none.
        video: Also write the frames and their depth side by side as a video.
        device: Where to compute; auto takes a GPU if there is one.
        batch: Frames in one pass.
        run: Folder of a run, or a checkpoint; by default the weights that ship.
        part: Which frames of INPUT are used.
        size: Maps of the network's size, or full: of the frame's, enlarged along its edges.
        undistort: Also write frames and maps without the lens's distortion, this many degrees across the wider side.
        backend: What computes the network on a CPU; auto takes the quickest that is installed, or PyTorch for a short
            recording, for which another one is not worth its start.
    """
    from depthscope.backends import with_backend
    from depthscope.pipeline.prediction import Writing, write_prediction
    from depthscope.pipeline.recordings import open_recording
    from depthscope.prediction import load_model
    from depthscope.training.devices import resolved_device

    began = time.perf_counter()
    recording = open_recording(input, camera, mask, part)
    given = Writing(clouds, video, batch, resolved_device(device), began, size == "full", undistort)
    model = with_backend(load_model(run), backend, given.device, len(recording.names))
    write_prediction(model, recording, input, out, given)
    print(f"look at {out / 'preview'}" + (f" or {out / 'video.mp4'}" if video else ""))
    if len(recording.names) > 1:  # one image has no motion to learn from
        print(f"next: depthscope run {input} --out CASE, which learns from this very video and measures it")
    return 0
