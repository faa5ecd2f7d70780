"""Which frames are learned from together: a few references and the target after them, where something moves."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.corpus import Corpus
from depthscope.errors import BadInputError

FLOW_SIDE_PX = 128
"""Motion is measured on frames made so small; it is told in pixels of the corpus."""

LONGEST_GAP = 2.5
"""Of the usual time between frames of a video: where more is missing, a snippet would jump."""

Snippets = Int[Tensor, "_ frames"]


@dataclass(frozen=True, eq=False)
class Moving:
    """Snippets that something moves in.

    Attributes:
        trained: To learn from, the target last.
        held: Of frames that were held out.
        still: How many were left out because nothing moves.
        median_px: Median motion from the first to the last frame over all snippets, still ones too.
    """

    trained: Snippets
    held: Snippets
    still: int
    median_px: float


def moving_snippets(corpus: Corpus, length: int, least_px: float, tell: Callable[[str], None] = print) -> Moving:
    """The snippets of a corpus without the still ones: those teach to look at the same place.

    Args:
        corpus: Frames.
        length: Frames of a snippet, the target with them.
        least_px: Median flow from the first to the last frame, pixels of the corpus.
        tell: Told what was left out.

    Raises:
        BadInputError: Every video is shorter than a snippet, or nothing moves.
    """
    trained, held = (snippets_of(corpus, frames, length) for frames in (corpus.trained, corpus.held))
    if not len(trained):
        longest = int(torch.bincount(corpus.video[corpus.trained]).max()) if len(corpus.trained) else 0
        raise BadInputError(
            f"clips of {longest} frames at most to train on, at the spacing that was asked for",
            f"{length} frames or more in a row",
            "give a longer video, or a smaller --frames.every-s",
        )
    motion = torch.cat([motions_px(corpus, trained), motions_px(corpus, held)])
    moves = motion >= least_px
    still, count = int((~moves[: len(trained)]).sum()), len(trained)
    if still == count:
        raise BadInputError(
            f"nothing moves in any of {count} snippets (median flow {float(motion.median()):.2g} px)",
            f"{least_px:g} px or more between the first and the last frame of a snippet",
            "give clips in which the camera or something else moves, or lower --least-motion-px",
        )
    if still:
        tell(f"{still} of {count} snippets are left out: less than {least_px:g} px of motion (median flow)")
    return Moving(trained[moves[:count]], held[moves[count:]], still, float(motion.median()))


def snippets_of(corpus: Corpus, frames: Int[Tensor, " chosen"], length: int) -> Snippets:
    """Frames in a row of one video, without gaps in time.

    Args:
        corpus: All frames, those of a video in the order of time.
        frames: Which may be used.
        length: Frames of a snippet.
    """
    chosen = torch.sort(frames).values
    if len(chosen) < length:
        return torch.zeros(0, length, dtype=torch.long)
    video, time = corpus.video[chosen], corpus.time_s[chosen]
    step = time[1:] - time[:-1]
    joined = (video[1:] == video[:-1]) & (chosen[1:] - chosen[:-1] == 1)
    usual = torch.full((len(corpus.videos),), float("inf"), dtype=step.dtype)
    for number in torch.unique(video[1:][joined]).tolist():
        usual[number] = step[joined & (video[1:] == number)].median()
    joined &= step <= LONGEST_GAP * usual[video[1:]] + 1e-9
    whole = joined.unfold(0, length - 1, 1).all(-1)
    return chosen.unfold(0, length, 1)[whole]


def motions_px(corpus: Corpus, snippets: Snippets) -> Float[Tensor, " snippets"]:
    """Median optical flow (DIS, Kroeger et al. 2016) from the first to the last frame, within what shows tissue."""
    width, height = corpus.size_px
    factor = min(1.0, FLOW_SIDE_PX / max(width, height))
    size = max(16, round(width * factor)), max(16, round(height * factor))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    inside = [_small(mask.numpy().astype(np.uint8), size, cv2.INTER_NEAREST) > 0 for mask in corpus.content]
    found = torch.zeros(len(snippets), dtype=torch.float64)
    for number, row in enumerate(snippets.tolist()):
        first, last = (_small(_grey(corpus.frames[index].numpy()), size, cv2.INTER_AREA) for index in (row[0], row[-1]))
        moved = np.linalg.norm(flow.calc(first, last, None), axis=-1)  # type: ignore[call-overload]
        seen = moved[inside[int(corpus.video[row[0]])]]
        found[number] = float(np.median(seen)) * width / size[0] if len(seen) else 0.0
    return found


def _grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _small(pixels: np.ndarray, size: tuple[int, int], method: int) -> np.ndarray:
    return cv2.resize(pixels, size, interpolation=method)
