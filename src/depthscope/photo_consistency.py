"""Lock-on: do the projections of each SfM point land on the same tissue in the frames that saw it?

If the poses, the points and the camera belong together, the surroundings of a point look alike wherever it is seen.
The score tells poses stored in the wrong direction from right ones, which a test of "in front of the camera" does not,
and it is a measure of the quality of the reconstruction.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.depth import sample
from depthscope.sequence import Sequence
from depthscope.video import read_grey

PATCH_PX = 11
"""Side of a patch in pixels of the image at half size."""

GAP = 4
"""Registered frames between two patches at least: neighbouring frames look alike whatever the poses say."""

ENOUGH_PAIRS = 50
"""Where so many pairs are not `GAP` apart, the widest smaller gap that has them is used."""

TEXTURE = 2.0
"""Standard deviation (grey levels) of a patch from which it shows more than the noise of the sensor."""

MOST_GROWTH = 3.0
"""An aligned patch is at most so many times larger or smaller than in the first frame."""

FLAT = 1e-3
"""A patch of a smaller standard deviation (grey levels 0-255) is empty: nothing is locked on to there."""


@dataclass(frozen=True)
class PhotoConsistency:
    """How alike the patches around the projections of a point are, as normalised correlation in -1..1.

    A pair with an empty patch (outside the image, behind the camera, in the black rim) counts as 0.

    Attributes:
        mean: Mean over the pairs; NaN without pairs.
        median: Median over the pairs.
        share_above_half: Share of pairs with a correlation above 0.5.
        pairs: Number of pairs compared.
        null_mean: The mean where the second patch is that of another point of the same frame.
        gap: Registered frames between the two patches of a pair, at least.
    """

    mean: float
    median: float
    share_above_half: float
    pairs: int
    null_mean: float
    gap: int


@dataclass(frozen=True, eq=False)
class PatchPairs:
    """Which observations are compared: rows of `Observations`.

    Attributes:
        first: The observation of the point in the first frame that saw it, shape (pairs,).
        later: One in a later frame, shape (pairs,).
        gap: Registered frames between them, at least.
    """

    first: Int[Tensor, " pairs"]
    later: Int[Tensor, " pairs"]
    gap: int


def photo_consistency(
    sequence: Sequence, *, most_pairs: int = 20_000, seed: int = 0, aligned: bool = False
) -> PhotoConsistency:
    """The lock-on score of a sequence; reads every frame once.

    Args:
        sequence: The sequence.
        most_pairs: A random subset of this size is compared where there are more pairs.
        seed: Draws the subset, and the wrong points of the null.
        aligned: Cut patches in the size and roll in which the poses say the point's first frame saw them, so that a
            scope that comes near or turns about its axis does not count as a disagreement; leave out pairs without
            texture.

    Raises:
        BadInputError: An image cannot be read, or has another size than its camera.
    """
    return photo_consistency_of_each((sequence,), most_pairs=most_pairs, seed=seed, aligned=aligned)[0]


def photo_consistency_of_each(
    candidates: tuple[Sequence, ...], *, most_pairs: int = 20_000, seed: int = 0, aligned: bool = False
) -> tuple[PhotoConsistency, ...]:
    """The scores of sequences that share images and observations and differ in poses; each image is read once.

    Raises:
        BadInputError: As `photo_consistency`.
    """
    images = candidates[0].images
    pairs = patch_pairs(candidates[0], most_pairs, seed)
    wanted = torch.unique(torch.cat([pairs.first, pairs.later]))
    frame = candidates[0].observations.frame
    patches = [torch.zeros(len(frame), PATCH_PX, PATCH_PX) for _ in candidates]
    frames = [alignment(candidate, first_rows(candidate)) if aligned else None for candidate in candidates]
    for number in torch.unique(frame[wanted]).tolist():
        rows = wanted[frame[wanted] == number]
        size = candidates[0].cameras[number].size_px
        half = half_size(read_grey(images[number]), size, str(images[number]))
        scale = torch.tensor([half.shape[1] / size[0], half.shape[0] / size[1]], dtype=torch.float64)
        for candidate, filled, axes in zip(candidates, patches, frames, strict=True):
            turned = None if axes is None else axes[rows]
            filled[rows] = cut_patches(half, candidate.projections[rows] * scale, turned)
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        score(normalised(filled), textured(filled, pairs) if aligned else pairs, frame, generator) for filled in patches
    )


def textured(patches: Float[Tensor, "observations side side"], pairs: PatchPairs) -> PatchPairs:
    """The pairs whose first patch has texture, where there are enough: noise on a smooth wall correlates with nothing.

    Patches outside of the image are all 0, and stay: a point that lands there disagrees with the image.
    """
    first = patches[pairs.first].flatten(1)
    kept = (first.std(-1) >= TEXTURE) | (first == 0).all(-1)
    if int((kept & (first != 0).any(-1)).sum()) < ENOUGH_PAIRS:
        return pairs
    return replace(pairs, first=pairs.first[kept], later=pairs.later[kept])


def patch_pairs(sequence: Sequence, most_pairs: int, seed: int) -> PatchPairs:
    """Each point's first observation with every one that lies at least `GAP` registered frames later."""
    frame, point = sequence.observations.frame, sequence.observations.point
    rows, first_row = torch.arange(len(frame)), first_rows(sequence)
    apart = frame - frame[first_row[point]]
    gap = GAP
    while gap > 1 and int((apart >= gap).sum()) < ENOUGH_PAIRS:
        gap -= 1
    if int((apart >= gap).sum()) < ENOUGH_PAIRS:  # few altogether: then the widest gap there is, up to GAP
        gap = max(1, min(GAP, int(apart.max())))
    later = rows[apart >= gap]
    if len(later) > most_pairs:
        chosen = torch.randperm(len(later), generator=torch.Generator().manual_seed(seed))[:most_pairs]
        later = later[chosen.sort().values]
    return PatchPairs(first_row[point[later]], later, gap)


def first_rows(sequence: Sequence) -> Int[Tensor, " points"]:
    """For each point the row of its observation in the first frame that saw it; -1 where none did."""
    frame, point = sequence.observations.frame, sequence.observations.point
    first_frame = torch.full((len(sequence.points),), len(sequence), dtype=frame.dtype)
    first_frame = first_frame.scatter_reduce(0, point, frame, "amin")
    is_first = frame == first_frame[point]
    found = torch.full((len(sequence.points),), -1)
    found[point[is_first]] = torch.arange(len(frame))[is_first]
    return found


def alignment(sequence: Sequence, first: Int[Tensor, " points"]) -> Float[Tensor, "observations 2 2"]:
    """For each observation the map of offsets in the point's first frame to offsets here: size by depth, and roll."""
    here, there = sequence.observations.frame, sequence.observations.frame[first[sequence.observations.point]]
    depth = sequence.observed_depths
    focal = torch.tensor([sum(camera.focal_px) for camera in sequence.cameras], dtype=torch.float64)
    growth = depth[first[sequence.observations.point]] / depth * focal[here] / focal[there]
    growth = growth.nan_to_num(1.0).clamp(1 / MOST_GROWTH, MOST_GROWTH)
    rotation = sequence.camera_from_world.rotation
    turn = rotation[here] @ rotation[there].mT
    roll = torch.atan2(turn[:, 1, 0] - turn[:, 0, 1], turn[:, 0, 0] + turn[:, 1, 1])
    cos, sin = growth * roll.cos(), growth * roll.sin()
    return torch.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)


def half_size(
    grey: UInt8[Tensor, "height width"], size_px: tuple[int, int], name: str
) -> Float[Tensor, "rows columns"]:
    """The image at half size, each pixel the mean of the area it covers."""
    height, width = grey.shape
    if (width, height) != size_px:
        raise BadInputError(
            f"{name} is {width} x {height} pixels",
            f"{size_px[0]} x {size_px[1]} as its camera",
            "use the frames that SfM was run on",
        )
    pixels = grey.numpy().astype(np.float32)
    return torch.from_numpy(cv2.resize(pixels, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA))


def cut_patches(
    image: Float[Tensor, "rows columns"],
    centres: Float[Tensor, "patches 2"],
    axes: Float[Tensor, "patches 2 2"] | None = None,
) -> Float[Tensor, "patches side side"]:
    """Square patches around sub-pixel positions, the image continued by its border; 0 for centres outside of it.

    Args:
        image: What they are cut from.
        centres: Where, in pixels.
        axes: The map of offsets in the patch to offsets in the image; none where they are the same.
    """
    reach = (PATCH_PX - 1) / 2
    offset = torch.arange(PATCH_PX, dtype=centres.dtype) - reach
    offsets = torch.stack(torch.meshgrid(offset, offset, indexing="xy"), -1)[None]
    if axes is not None:
        offsets = (axes[:, None, None].to(offsets.dtype) @ offsets[..., None])[..., 0]
    positions = centres[:, None, None] + offsets
    size = centres.new_tensor([image.shape[1], image.shape[0]])
    inside = ((centres >= 0) & (centres <= size)).all(-1)
    values = sample(image[None, None], positions.nan_to_num()[None].to(image.dtype))[0, 0]
    return torch.where(inside[:, None, None], values, 0.0)


def normalised(patches: Float[Tensor, "patches side side"]) -> Float[Tensor, "patches pixels"]:
    """Each patch with mean 0 and length 1; 0 where it is flat, so that it correlates with nothing."""
    flat = patches.flatten(1)
    flat = flat - flat.mean(-1, keepdim=True)
    length = flat.norm(dim=-1, keepdim=True)
    return torch.where(length > FLAT * PATCH_PX, flat / length.clamp_min(FLAT), 0.0)


def score(
    patches: Float[Tensor, "observations pixels"],
    pairs: PatchPairs,
    frame: Int[Tensor, " observations"],
    generator: torch.Generator,
) -> PhotoConsistency:
    """The figures of one sequence from its patches."""
    correlation = (patches[pairs.first] * patches[pairs.later]).sum(-1)
    if not len(correlation):
        return PhotoConsistency(torch.nan, torch.nan, 0.0, 0, torch.nan, pairs.gap)
    wrong = another_of_the_same(frame[pairs.later], generator)
    null = (patches[pairs.first] * patches[pairs.later[wrong]]).sum(-1)[wrong != torch.arange(len(wrong))]
    correlation = correlation.double()
    return PhotoConsistency(
        mean=float(correlation.mean()),
        median=float(correlation.quantile(0.5)),
        share_above_half=float((correlation > 0.5).double().mean()),
        pairs=len(correlation),
        null_mean=float(null.double().mean()) if len(null) else torch.nan,
        gap=pairs.gap,
    )


def another_of_the_same(group: Int[Tensor, " rows"], generator: torch.Generator) -> Int[Tensor, " rows"]:
    """For each row a random other row of its group, or itself where it is alone."""
    order = torch.argsort(group, stable=True)
    _, member, count = torch.unique_consecutive(group[order], return_inverse=True, return_counts=True)
    start, size = (count.cumsum(0) - count)[member], count[member]
    step = 1 + (torch.rand(len(group), generator=generator) * (size - 1)).long()
    place = torch.arange(len(group)) - start
    other = torch.empty_like(group)
    other[order] = order[start + (place + torch.minimum(step, (size - 1).clamp_min(1))) % size]
    return other
