"""Where and when a video sounds: a map and a figure for every moment, and moments found by another one's sound."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.corpus import Input, Window
from depthscope.errors import BadInputError
from depthscope.pretext.audio_visual.learning import AudioVisual
from depthscope.pretext.audio_visual.networks import Listener, best, shown_places
from depthscope.pretext.stored import checkpoint_of
from depthscope.training import load_checkpoint
from depthscope.video import Frame, Image
from depthscope.video.sound import Sound


@dataclass(frozen=True, eq=False)
class Sounding:
    """A moment of a video.

    Attributes:
        frame: What is shown.
        time_s: The middle of the sound that was heard.
        heat: How well each pixel of the frame goes with it, 0 to 1.
        correspondence: How well the best place does.
        peak_px: The centre of that place.
        seen: Unit vector of the frame, shape (128,).
        heard: Unit vector of the sound, shape (128,).
    """

    frame: Frame
    time_s: float
    heat: Float[Tensor, "height width"]
    correspondence: float
    peak_px: tuple[float, float]
    seen: Float[Tensor, "128"]
    heard: Float[Tensor, "128"]


def stored_listener(run: Path, options: AudioVisual) -> Listener:
    """The networks of a run, ready to be used.

    Raises:
        BadInputError: The run has no checkpoint, or one that does not fit its options.
    """
    path = checkpoint_of(run)
    content = load_checkpoint(path)
    network = options.network(start=False)
    try:
        network.load_state_dict(content["network"])
    except RuntimeError as error:
        raise BadInputError(f"{path} does not fit its options", "a checkpoint as written", "train again") from error
    return network.eval()


def soundings(
    network: Listener, options: AudioVisual, source: Input, sound: Sound, times_s: Iterable[float]
) -> Iterator[Sounding]:
    """The moments of a video at these times: what is shown then, and what is heard around then.

    Args:
        network: Of the run.
        options: Of the run.
        source: The video.
        sound: Its sound.
        times_s: Increasing.
    """
    window, device = source.window(options.frames), next(network.parameters()).device
    content = torch.from_numpy(source.content)
    shown = torch.from_numpy(window.cut(source.content.astype(np.uint8)) > 0)[None].to(device)
    for time_s, frame in shown_at(source.frames, times_s):
        cut = torch.from_numpy(np.ascontiguousarray(window.cut(frame.image.numpy())))
        images = cut.permute(2, 0, 1)[None].to(device).float() / 255
        heard = options.spectrogram(sound.snippet(time_s, options.spectrogram.snippet_s)[None].to(device))
        with torch.no_grad():
            maps = network.localisation(images, heard)
            vectors = network.correspondence.of_images(images), network.correspondence.of_sounds(heard)
        places = shown_places(shown, *maps.shape[-2:])
        heat = maps.sigmoid().masked_fill(~places, 0.0).cpu()
        yield Sounding(
            frame,
            time_s,
            torch.where(content, window.map_in_source(heat)[0], 0.0),
            float(best(maps, places).sigmoid()),
            peak_of(heat[0], window),
            *(vector[0].cpu() for vector in vectors),
        )


def shown_at(frames: Iterable[Frame], times_s: Iterable[float]) -> Iterator[tuple[float, Frame]]:
    """For each of increasing times the frame that is shown then; times after the last frame are left out."""
    wanted, last = iter(times_s), None
    time_s = next(wanted, None)
    for frame in frames:
        while last is not None and time_s is not None and time_s < frame.time_s - 1e-6:
            yield time_s, last
            time_s = next(wanted, None)
        if time_s is None:
            return
        last = frame
    if last is not None and time_s is not None and time_s <= last.time_s + 1e-6:
        yield time_s, last


def peak_of(heat: Float[Tensor, "rows columns"], window: Window) -> tuple[float, float]:
    """The centre of the hottest place, in pixels of the video's frame."""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    width, height = window.size_px
    place = torch.tensor([(column + 0.5) * width / heat.shape[1], (row + 0.5) * height / heat.shape[0]])
    x, y = window.in_source(place).tolist()
    return x, y


def heated(image: Image, heat: Float[Tensor, "height width"], correspondence: float) -> Image:
    """A frame under its map: hot places glow, the rest stays as it is; a bar below tells the best place's value."""
    levels = (heat * 255).to(torch.uint8).numpy()
    glow = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    share = 0.6 * heat.numpy()[..., None]
    shown = (image.numpy() * (1 - share) + glow * share).round().astype(np.uint8)
    height, width = shown.shape[:2]
    thick = max(3, height // 60)
    shown[-thick:, : round(width * correspondence)] = (255, 160, 0)
    return torch.from_numpy(shown)
