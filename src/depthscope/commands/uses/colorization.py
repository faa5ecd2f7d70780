"""``depthscope predict RUN INPUT --out DIR`` for a run of colorization: colours that are invented, and said to be."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.errors import BadInputError
from depthscope.inference.colouring import pictures
from depthscope.inference.whole_clip import whole_clip
from depthscope.pretext import stored_options, stored_weights
from depthscope.pretext.colorization.task import colourer_of
from depthscope.pretext.stored import checkpoint_of
from depthscope.training.devices import Device, resolved_device
from depthscope.video.cut import WHOLE


def colorization(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    temperature: float | None = None,
    device: Device = "auto",
    part: Part = WHOLE,
) -> int:
    """Gives gray or faded frames colours, which are invented: nothing may be measured on them.

    Args:
        run: Folder of a run of depthscope pretrain colorization.
        input: Video file, image folder or sequence folder.
        out: Folder for colour/ and video.mp4; each picture says that its colour is invented.
        temperature: 1 is dull, towards 0 vivid and patchy; that of the run if left away.
        device: Where to compute; auto takes a GPU if there is one.
        part: Which frames of it are used.
    """
    from depthscope.video import write_video
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    start = time.perf_counter()
    _, learned = stored_options(run)
    warmth = learned.temperature if temperature is None else temperature
    if not 0 < warmth < float("inf"):
        raise BadInputError(f"--temperature {warmth:g}", "more than 0")
    network = colourer_of(replace(learned.encoder, weights=""), stored_weights(run))
    network.to(resolved_device(device))
    with (
        whole_clip(input, learned.frames, part) as clip,
        writing_folder(out, inputs=(checkpoint_of(run), input)) as folder,
    ):
        (folder / "colour").mkdir()
        write_video(folder / "video.mp4", pictures(network, clip, warmth, folder), clip.frames_per_second)
        count = len(clip.corpus)
        write_result(
            folder,
            {
                "colour": "invented: guessed from brightness, not measured",
                "frames": count,
                "size_px": list(clip.source.size_px),
                "temperature": warmth,
                "seconds": time.perf_counter() - start,
            },
        )
        write_provenance(
            folder,
            options={"temperature": warmth},
            inputs={str(path): content_hash(path) for path in (checkpoint_of(run), input)},
            seconds=time.perf_counter() - start,
        )
    print(f"{count} frames with invented colour, not to be measured on: {out}")
    return 0
