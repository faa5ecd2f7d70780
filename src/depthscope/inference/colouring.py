"""Frames with invented colours, which say that they are invented."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from depthscope.colour import lab_from_rgb, rgb_from_lab
from depthscope.inference.whole_clip import WholeClip
from depthscope.pictures import captioned
from depthscope.pretext.colorization.task import Colourer
from depthscope.progress import track
from depthscope.video import Image, write_image

CAPTION = "invented colour"


def pictures(network: Colourer, clip: WholeClip, temperature: float, folder: Path) -> Iterator[Tensor]:
    """Every frame with invented colours and a line that says so; also written to ``folder/colour``."""
    for name, small, image in track(clip, "colour", len(clip.corpus)):
        ab = network.colours(small.to(network.bins.device), temperature)[0].cpu()
        picture = captioned(coloured(image, clip.window.map_in_source(ab)), CAPTION)
        write_image(folder / "colour" / f"{name}.png", picture)
        yield picture


def coloured(image: Image, ab: Tensor) -> Image:
    """A frame with its own lightness and other a and b, shape (2, height, width)."""
    lab = lab_from_rgb(image.permute(2, 0, 1).float() / 255)
    rgb = rgb_from_lab(torch.cat([lab[:1], ab.to(lab)]))
    return (rgb * 255).round().byte().permute(1, 2, 0).contiguous()
