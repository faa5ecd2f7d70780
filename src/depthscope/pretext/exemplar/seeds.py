"""Seed patches: each is a class of its own, so no two of them may show the same."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from depthscope.corpus import Corpus
from depthscope.corpus.views import Size, box_points, by_video, places, sampled, textured
from depthscope.errors import BadInputError
from depthscope.networks.adapters import LUMA
from depthscope.training.draws import generator_of

MOST, LEAST = 1000, 10
"""Seed patches where the options do not say how many: so many at most and at least."""

SIDES = 4
"""Sizes of seed patches between the smallest and the largest."""

THUMBNAIL = 8
"""Side to which patches are made smaller to be compared."""


class Seeds(NamedTuple):
    """Seed patches with what lies around them.

    Attributes:
        neighbourhoods: sRGB bytes; the patch is in the middle.
        frame: The frame of each.
    """

    neighbourhoods: UInt8[Tensor, "seeds 3 wide wide"]
    frame: Int64[Tensor, " seeds"]


def seed_patches(
    corpus: Corpus,
    numbers: Int64[Tensor, " chosen"],
    count: int | None,
    *,
    side_px: int,
    wide_px: int,
    largest: float,
    alike: float,
    seed: int,
) -> Seeds:
    """One patch of each of several frames, where there is much to see, none like one before.

    Args:
        corpus: The frames.
        numbers: Those to take patches from; all videos contribute alike.
        count: How many; as many as there are, up to 1000, if None.
        side_px: Side of a patch as the network sees it.
        wide_px: Side of the neighbourhood that is kept, in the same pixels.
        largest: Side of the largest patch in its frame, as a multiple of `side_px`.
        alike: Two patches of a video whose correlation is above this show the same.
        seed: Of the draws.

    Raises:
        BadInputError: There are fewer different frames than seed patches, or they are too small or of one colour.
    """
    shown = textured(corpus, numbers)
    windows = [_windows(content, side_px, wide_px, largest) for content in corpus.content]
    if not any(windows[video] for video in corpus.video[shown].tolist()):
        width, height = corpus.size_px
        raise BadInputError(
            f"no patch of {side_px} px fits inside what frames of {width} x {height} px show",
            "larger frames, or smaller patches",
            "raise frames.area_px or lower patch_px",
        )
    wanted = min(len(shown), MOST) if count is None else count
    if wanted > len(shown):
        raise BadInputError(
            f"{len(shown)} frames to take {wanted} seed patches from",
            "at least as many frames as seed patches, for no two may come from one image",
            f"give more video, or at most --seeds {len(shown)}",
        )
    kept, frames, thumbnails = [], [], torch.zeros(0, THUMBNAIL**2)
    for number in _in_turn(corpus, shown, seed):
        video = int(corpus.video[number])
        patch = _patch(corpus, number, windows[video], side_px, wide_px, generator_of(seed, number))
        if patch is None:
            continue
        thumbnail = _thumbnail(patch, side_px)
        rivals = [place for place, other in enumerate(frames) if corpus.video[other] == video]
        if rivals and float((thumbnails[rivals] @ thumbnail).max()) > alike:
            continue
        kept.append((patch * 255).round().to(torch.uint8))
        frames.append(number)
        thumbnails = torch.cat([thumbnails, thumbnail[None]])
        if len(kept) == wanted:
            break
    least = LEAST if count is None else count
    if len(kept) < least:
        raise BadInputError(
            f"{len(kept)} frames that differ, of {len(shown)}",
            f"{least} or more for as many seed patches",
            "give more video" + ("" if count is None else f", or at most --seeds {len(kept)}"),
        )
    return Seeds(torch.stack(kept), torch.tensor(frames))


def _windows(content: Tensor, side_px: int, wide_px: int, largest: float) -> list[tuple[Size, Tensor, float]]:
    """Sizes of patches that fit, with their places; inside with all their neighbourhood where any such place is."""
    found = []
    for factor in np.geomspace(1.0, largest, SIDES if largest > 1 else 1):
        side, wide = round(side_px * factor), round(wide_px * factor)
        where = places(content, (wide, wide))
        if len(where):
            found.append(((side, side), where + (wide - side) // 2, float(factor)))
        elif len(where := places(content, (side, side))):
            found.append(((side, side), where, float(factor)))
    return found


def _in_turn(corpus: Corpus, numbers: Tensor, seed: int) -> Iterator[int]:
    """Frames in random order, one of each video after the other."""
    generator = np.random.default_rng(seed)
    groups = [generator.permutation(group.numpy()) for group in by_video(corpus, numbers)]
    for turn in range(max(map(len, groups))):
        yield from (int(group[turn]) for group in groups if turn < len(group))


def _patch(
    corpus: Corpus, number: int, windows: list[tuple[Size, Tensor, float]], side_px: int, wide_px: int, generator
) -> Float[Tensor, "3 wide wide"] | None:
    """A neighbourhood around a place drawn in proportion to the squared gradient; None where nothing is to be seen."""
    if not windows:
        return None
    uniform = torch.rand(2, generator=generator, dtype=torch.float64)
    (side, _), where, factor = windows[min(int(uniform[0] * len(windows)), len(windows) - 1)]
    image = corpus.images([number])
    luma = (image[0] * image.new_tensor(LUMA)[:, None, None]).sum(0).double()
    energy = torch.zeros_like(luma)
    energy[:, 1:-1] += (luma[:, 2:] - luma[:, :-2]).square()
    energy[1:-1] += (luma[2:] - luma[:-2]).square()
    sums = functional.pad(energy.cumsum(0).cumsum(1), (1, 0, 1, 0))
    left, top = where.unbind(-1)
    inside = sums[top + side, left + side] - sums[top, left + side] - sums[top + side, left] + sums[top, left]
    weight = inside.clamp_min(0).cumsum(0)
    if float(weight[-1]) <= 1e-9:
        return None
    place = where[min(int(torch.searchsorted(weight, uniform[1] * weight[-1])), len(where) - 1)]
    centre = place[None].float() + side / 2
    size = torch.full((1, 2), wide_px * factor)
    return sampled(image, box_points(centre, size, torch.zeros(1), (wide_px, wide_px)))[0]


def _thumbnail(patch: Float[Tensor, "3 wide wide"], side_px: int) -> Float[Tensor, " values"]:
    """The luma of the patch itself, small, with mean 0 and length 1."""
    edge = (patch.shape[-1] - side_px) // 2
    inner = patch[:, edge : edge + side_px, edge : edge + side_px]
    luma = (inner * inner.new_tensor(LUMA)[:, None, None]).sum(0)
    small = functional.adaptive_avg_pool2d(luma[None], THUMBNAIL).flatten()
    return functional.normalize(small - small.mean(), dim=0)
