"""Views of frames: where a box fits inside what the camera shows, and the box resampled to another size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from depthscope.corpus.corpus import Corpus
from depthscope.errors import BadInputError
from depthscope.geometry.depth import pixel_grid

Size = tuple[int, int]
"""(width, height) in pixels."""


def places(content: Bool[Tensor, "height width"], size_px: Size) -> Int64[Tensor, "places 2"]:
    """Left and top pixel of every place where a box lies wholly inside the content.

    The rim of an endoscope's picture is the same in all frames of a video: a network that sees it knows the video.
    """
    width, height = size_px
    if width > content.shape[1] or height > content.shape[0] or min(size_px) < 1:
        return torch.zeros(0, 2, dtype=torch.int64)
    sums = functional.pad(content.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return (inside == width * height).nonzero().flip(-1)


def largest_box(content: Bool[Tensor, "height width"], shape: Size) -> tuple[int, int, int, int]:
    """The largest box of this shape inside the content, as near to the middle as any: left, top, width, height.

    All are 0 where there is no content.
    """
    full = min(content.shape[1] / shape[0], content.shape[0] / shape[1])
    low, high = 0, int(full * max(shape))  # long side: fits, and the first that might not

    def box(side: int) -> Size:
        return max(1, side * shape[0] // max(shape)), max(1, side * shape[1] // max(shape))

    while low < high:
        side = (low + high + 1) // 2
        low, high = (side, high) if len(places(content, box(side))) else (low, side - 1)
    if low == 0:
        return 0, 0, 0, 0
    width, height = box(low)
    found = places(content, (width, height))
    rows, columns = content.nonzero().unbind(-1)
    middle = torch.stack([columns.double().mean() + 0.5, rows.double().mean() + 0.5])
    off = (found + torch.tensor([width, height]) / 2 - middle).square().sum(-1)
    left, top = found[off.argmin()].tolist()
    return left, top, width, height


def sampled(
    images: Float[Tensor, "batch channels height width"], points: Float[Tensor, "batch rows columns 2"]
) -> Float[Tensor, "batch channels rows columns"]:
    """Images at points in pixels (the first pixel's centre is 0.5), bilinear; beyond the sides they are mirrored."""
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=images.device)
    grid = points / size * 2 - 1
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def box_points(
    centre_px: Float[Tensor, "*batch 2"],
    size_px: Float[Tensor, "*batch 2"],
    angle_rad: Float[Tensor, "*batch"],
    out_px: Size,
    *,
    mirrored: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch rows columns 2"]:
    """Where the pixels of turned boxes lie in their images.

    Args:
        centre_px: Centre of each box in its image.
        size_px: Width and height of the box there.
        angle_rad: How far it is turned, from x toward y.
        out_px: Width and height in pixels that it is resampled to.
        mirrored: Which are seen left to right.
    """
    width, height = out_px
    grid = pixel_grid(height, width, centre_px) / torch.tensor([width, height]).to(centre_px) - 0.5
    across, down = grid.unbind(-1)
    if mirrored is not None:
        across = torch.where(mirrored[..., None, None], -across, across)
    x, y = across * size_px[..., 0, None, None], down * size_px[..., 1, None, None]
    cos, sin = angle_rad.cos()[..., None, None], angle_rad.sin()[..., None, None]
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1) + centre_px[..., None, None, :]


def between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers of 0..1 brought to low..high."""
    return low + (high - low) * uniform


def between_logs(uniform: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers of 0..1 brought to low..high so that a factor and its inverse are equally likely."""
    return low * (high / low) ** uniform


def evenly(groups: Sequence[Int64[Tensor, " _"]], uniform: Float[Tensor, " 2"]) -> int:
    """A member of one of several groups that are not empty: every group is equally likely, then every member."""
    group = groups[min(int(uniform[0] * len(groups)), len(groups) - 1)]
    return int(group[min(int(uniform[1] * len(group)), len(group) - 1)])


@dataclass(frozen=True, eq=False)
class Crops:
    """Boxes of one shape in several sizes, each wholly inside the content of a video.

    Attributes:
        sizes_px: Width and height of each size.
        places: Left and top pixel wherever a box of that size lies inside.
    """

    sizes_px: tuple[Size, ...]
    places: tuple[Int64[Tensor, "_ 2"], ...]

    @classmethod
    def of(cls, content: Bool[Tensor, "height width"], shape: Size, smallest: float, sizes: int = 6) -> "Crops":
        """Boxes from the largest that fits down to a share of it; none where there is no content."""
        width, height = largest_box(content, shape)[2:]
        factors = torch.linspace(1.0, smallest, sizes).tolist()
        chosen = dict.fromkeys((max(1, int(width * f)), max(1, int(height * f))) for f in factors)
        found = [(size, places(content, size)) for size in chosen] if width else []
        return cls(tuple(size for size, _ in found), tuple(where for _, where in found))

    def draw(self, uniform: Float[Tensor, " 2"]) -> tuple[Tensor, Tensor]:
        """Centre and size in pixels of a box: every size is equally likely, then every place."""
        number = min(int(uniform[0] * len(self.sizes_px)), len(self.sizes_px) - 1)
        where, size = self.places[number], torch.tensor(self.sizes_px[number], dtype=torch.float32)
        return where[min(int(uniform[1] * len(where)), len(where) - 1)] + size / 2, size


def textured(corpus: Corpus, numbers: Int64[Tensor, " chosen"], least: float = 2.0) -> Int64[Tensor, " textured"]:
    """Those of the frames that show anything: one colour all over has nothing to learn from.

    Args:
        corpus: The frames.
        numbers: Which to look at.
        least: Standard deviation within the content, in grey levels of 255, that a frame must have.

    Raises:
        BadInputError: None does.
    """
    masks = corpus.content[:, ::2, ::2]
    kept = []
    for number in numbers.tolist():
        pixels = corpus.frames[number, ::2, ::2].float()[masks[corpus.video[number]]]
        if len(pixels) > 1 and float(pixels.std(0).max()) >= least:
            kept.append(number)
    if not kept:
        raise BadInputError(
            f"all {len(numbers)} frames to learn from are of one colour", "pictures of something", "check the inputs"
        )
    return torch.tensor(kept, dtype=torch.int64)


def different_pictures(corpus: Corpus, numbers: Int64[Tensor, " chosen"], enough: int, least: float = 2.0) -> int:
    """How many different pictures the frames show, counted up to `enough`: a still that is shown for long is one.

    Frames are compared by the means of a grid of 16 x 16 blocks, which noise and compression hardly change.

    Args:
        corpus: The frames.
        numbers: Which to look at.
        enough: Where counting ends.
        least: Mean difference of the blocks, in grey levels of 255, from which two pictures are different.
    """
    seen: list[Tensor] = []
    for number in numbers.tolist():
        shown = torch.where(corpus.content[corpus.video[number], ..., None], corpus.frames[number], 0)
        blocks = functional.adaptive_avg_pool2d(shown.permute(2, 0, 1).float(), 16)
        if not seen or float((torch.stack(seen) - blocks).abs().mean((1, 2, 3)).min()) >= least:
            seen.append(blocks)
            if len(seen) >= enough:
                break
    return len(seen)


def by_video(corpus: Corpus, numbers: Int64[Tensor, " chosen"]) -> tuple[Int64[Tensor, " _"], ...]:
    """The frames of each video among those chosen, videos without any left out."""
    return tuple(numbers[corpus.video[numbers] == video] for video in corpus.video[numbers].unique().tolist())
