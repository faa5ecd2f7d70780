"""``depthscope predict RUN INPUT --out DIR`` for a run of colorization: colours that are invented, and said to be."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from tyro.conf import Positional, arg

from depthscope.colour import lab_from_rgb, rgb_from_lab
from depthscope.commands.flags import Device, Part
from depthscope.commands.uses.whole_clip import WholeClip, whole_clip
from depthscope.errors import BadInputError
from depthscope.pictures import captioned
from depthscope.pretext import stored_options, stored_weights
from depthscope.pretext.colorization.task import Colourer, colourer_of
from depthscope.pretext.stored import checkpoint_of
from depthscope.video import Image, write_image
from depthscope.video.cut import WHOLE

CAPTION = "invented colour"


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
    network.to("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")
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


def pictures(network: Colourer, clip: WholeClip, temperature: float, folder: Path) -> Iterator[Tensor]:
    """Every frame with invented colours and a line that says so; also written to ``folder/colour``."""
    from rich.console import Console
    from rich.progress import track

    console = Console(highlight=False)
    for name, small, image in track(
        clip, "colour", total=len(clip.corpus), console=console, disable=not console.is_terminal
    ):
        ab = network.colours(small.to(network.bins.device), temperature)[0].cpu()
        picture = captioned(coloured(image, clip.window.map_in_source(ab)), CAPTION)
        write_image(folder / "colour" / f"{name}.png", picture)
        yield picture


def coloured(image: Image, ab: Tensor) -> Image:
    """A frame with its own lightness and other a and b, shape (2, height, width)."""
    lab = lab_from_rgb(image.permute(2, 0, 1).float() / 255)
    rgb = rgb_from_lab(torch.cat([lab[:1], ab.to(lab)]))
    return (rgb * 255).round().byte().permute(1, 2, 0).contiguous()
