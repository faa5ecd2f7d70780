"""What a simulated frame is turned into before the network sees it: where it is cut from, and what it looks like."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry.scale import weighted_mean
from depthscope.simulation.still_store import StillFrame
from depthscope.supervised.batch import StillBatch
from depthscope.training.draws import generator_of


@dataclass(frozen=True)
class Placement:
    """How a frame is laid into the network's window: turned, zoomed, shifted, mirrored. Its rays turn along.

    Attributes:
        turn_share: Share of the frames that are turned by any angle; the others by at most `tilt_deg`.
        tilt_deg: See there.
        closest: Largest zoom: the window holds this part of the frame's smaller fit.
        farthest: Smallest zoom: the frame fills this part of the window, black around it.
        shift: Largest shift, as a share of the window.
        wander: How far a window that holds a part of the frame may lie off its middle: 1 reaches the frame's edge. Seen
            always about the lens's axis, cavities teach that what lies at the rim is near, whatever it looks like.
        flip: Mirror half of them.
    """

    turn_share: float = 0.4
    tilt_deg: float = 20.0
    closest: float = 2.5
    farthest: float = 0.8
    shift: float = 0.1
    wander: float = 1.0
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.turn_share <= 1 or not 0 <= self.tilt_deg <= 180 or not 0 <= self.shift < 0.5:
            raise BadInputError(f"a placement with {self}", "shares of 0 to 1, 0 to 180 degrees, a shift below 0.5")
        if not 0 <= self.wander <= 1:
            raise BadInputError(f"a placement with wander {self.wander}", "0 to 1")
        if not 0.2 <= self.farthest <= self.closest <= 5:
            raise BadInputError(f"zooms of {self.farthest} to {self.closest}", "0.2 to 5, in this order")

    def __call__(self, frame: StillFrame, size_px: tuple[int, int], draw: np.random.Generator) -> StillFrame:
        """A frame in a window of `size_px` (width, height).

        Colours are averaged; depth and labels are those of the nearest pixel, so that no depth lies between two walls.
        """
        turned = draw.random() < self.turn_share
        angle = draw.uniform(-math.pi, math.pi) if turned else math.radians(draw.uniform(-self.tilt_deg, self.tilt_deg))
        zoom = math.exp(draw.uniform(math.log(self.farthest), math.log(self.closest)))
        reach = self.shift + self.wander * max(0.0, zoom - 1) / 2
        across = draw.uniform(-reach, reach, 2) * size_px
        mirror = self.flip and draw.random() < 0.5
        return placed(frame, size_px, angle, zoom, across, mirror)

    def plain(self, frame: StillFrame, size_px: tuple[int, int]) -> StillFrame:
        """The whole frame in the window, unturned."""
        return placed(frame, size_px, 0.0, 1.0, np.zeros(2), False)


def placed(
    frame: StillFrame, size_px: tuple[int, int], angle: float, zoom: float, shift: NDArray, mirror: bool
) -> StillFrame:
    """See `Placement`; the window's middle is the frame's, and at a zoom of 1 the whole frame fits."""
    height, width = frame.image.shape[:2]
    scale = zoom * min(size_px[0] / width, size_px[1] / height)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    if mirror:
        turn = turn @ np.diag([-1.0, 1.0])
    linear = scale * turn
    # Pixel centres of OpenCV are whole numbers: the middle of n pixels lies at (n - 1) / 2.
    middle, goal = np.array([width - 1, height - 1]) / 2, (np.array(size_px) - 1) / 2 + shift
    matrix = np.concatenate([linear, (goal - linear @ middle)[:, None]], 1)

    def moved(array: NDArray, how: int) -> NDArray:
        return cv2.warpAffine(np.ascontiguousarray(array), matrix, size_px, flags=how, borderMode=cv2.BORDER_CONSTANT)

    image = frame.image
    if scale < 0.7:  # average first, so that nothing aliases
        image = cv2.blur(image, (round(1 / scale),) * 2)
    rays = moved(frame.rays.astype(np.float32), cv2.INTER_LINEAR) @ turn.T.astype(np.float32)
    depth = moved(frame.depth.astype(np.float32), cv2.INTER_NEAREST)
    labels = moved(frame.labels, cv2.INTER_NEAREST)
    return StillFrame(moved(image, cv2.INTER_LINEAR), depth, rays, labels, frame.metric)


@dataclass(frozen=True)
class Looks:
    """How the picture of a frame is changed; every range is drawn for each frame by itself.

    Attributes:
        exposure: Largest factor on the light, either way (log-uniform).
        gamma: Largest factor on the exponent of the tone curve, either way.
        colour: Largest factor on each colour channel, either way.
        saturation: Colours range from this share of theirs to `1 + (1 - saturation)`.
        grey_share: Share of frames without colours.
        relight: Spread of log brightness of a smooth field that the light is multiplied with: light that other walls
            throw, dirt, a bent lamp.
        blur_px: Largest standard deviation of a blur, in half of the frames.
        noise: Largest standard deviation of noise, of full scale 1.
        no_rays: Share of frames that are shown without their rays.
        falloff: In half of the frames light falls with depth to the power of -2 plus up to this: walls light each
            other, and a processor lifts what is dark.
        bounce: Largest share of light that comes from the walls around, spread wide; in half of the frames.
    """

    exposure: float = 1.6
    gamma: float = 1.5
    colour: float = 1.25
    saturation: float = 0.5
    grey_share: float = 0.05
    relight: float = 0.25
    blur_px: float = 1.2
    noise: float = 0.03
    no_rays: float = 0.35
    falloff: float = 0.8
    bounce: float = 0.5

    def __post_init__(self) -> None:
        spreads = (self.relight, self.blur_px, self.noise, self.falloff, self.bounce)
        if min(self.exposure, self.gamma, self.colour) < 1 or min(spreads) < 0:
            raise BadInputError(f"looks of {self}", "factors of 1 or more, spreads of 0 or more")
        if not (0 <= self.saturation <= 1 and 0 <= self.grey_share <= 1 and 0 <= self.no_rays <= 1):
            raise BadInputError(f"looks of {self}", "shares of 0 to 1")

    def __call__(self, batch: StillBatch, seed: int) -> StillBatch:
        """The batch with images in 0..1, changed as (seed, draw) say, black outside the content, some without rays."""
        device = batch.images.device
        generators = [generator_of(seed, draw, device) for draw in batch.draws.tolist()]
        u = torch.stack([torch.rand(16, generator=g, device=device) for g in generators]) * 2 - 1
        images = batch.images.float() / 255
        light = images.clamp_min(1e-4) ** factor(u[:, 0], self.gamma)
        light = (
            light * factor(u[:, 1], self.exposure) * torch.cat([factor(u[:, 2 + i], self.colour) for i in range(3)], 1)
        )
        light = light * self._relit(generators, light.shape, u[:, 15])
        light = light * weaker_falloff(batch.depth, self.falloff * u[:, 10].clamp_min(0))
        light = bounced(light, batch.content, self.bounce * u[:, 11].clamp_min(0))
        grey = light.mean(1, keepdim=True)
        strength = 1 + (1 - self.saturation) * u[:, 5, None, None, None]
        strength = torch.where(u[:, 6, None, None, None] > 1 - 2 * self.grey_share, 0.0, strength)
        light = (grey + (light - grey) * strength).clamp(0, 1)
        light = self._blurred(light, u[:, 7])
        if self.noise:
            noise = torch.stack([torch.randn(light.shape[1:], generator=g, device=device) for g in generators])
            light = light + noise * (self.noise * (u[:, 8, None, None, None] + 1) / 2) ** 1.5 / self.noise**0.5
        known = (u[:, 9] + 1) / 2 >= self.no_rays
        return replace(
            batch,
            images=light.clamp(0, 1) * batch.content[:, None],
            rays=batch.rays * known[:, None, None, None],
        )

    def _relit(self, generators, shape, chosen: Float[Tensor, " batch"]) -> Tensor:
        """A smooth field around 1 for half of the frames, and ones for the others."""
        coarse = torch.stack([torch.randn(1, 4, 5, generator=g, device=g.device) for g in generators])
        smooth = functional.interpolate(coarse, size=shape[-2:], mode="bicubic", align_corners=False)
        return (self.relight * smooth * (chosen > 0)[:, None, None, None]).exp()

    def _blurred(self, images: Tensor, u: Float[Tensor, " batch"]) -> Tensor:
        """Gaussian blur of the frames that it falls on."""
        sigma = self.blur_px * u.clamp_min(0)
        reach = torch.arange(-3, 4, device=images.device, dtype=images.dtype)
        kernel = torch.exp(-0.5 * (reach / sigma[:, None].clamp_min(0.05)) ** 2)
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
        flat = images.flatten(0, 1)[None]
        for shape, pad in (((-1, 1, 7, 1), (0, 0, 3, 3)), ((-1, 1, 1, 7), (3, 3, 0, 0))):
            flat = functional.conv2d(
                functional.pad(flat, pad, mode="replicate"), kernel.reshape(shape), groups=flat.shape[1]
            )
        return flat[0].unflatten(0, images.shape[:2])


def factor(u: Float[Tensor, " batch"], largest: float) -> Float[Tensor, "batch 1 1 1"]:
    """Between 1 / largest and largest, log-uniform for u uniform in -1..1."""
    return (largest**u)[:, None, None, None]


GAMMA = 2.2
"""Of the tone curve, about."""


def weaker_falloff(
    depth: Float[Tensor, "batch height width"], power: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 1 height width"]:
    """What the picture is multiplied with where light falls with depth to the power of -2 + `power`; mean log of 0."""
    known = depth > 0
    log_depth = torch.where(known, depth, 1.0).log()
    mean = weighted_mean(log_depth.flatten(1), known.to(log_depth.dtype).flatten(1))
    far = torch.where(known, log_depth - mean[:, None, None], 0.0)
    return (far * power[:, None, None] / GAMMA).exp()[:, None]


def bounced(
    images: Float[Tensor, "batch 3 height width"],
    content: Bool[Tensor, "batch height width"],
    share: Float[Tensor, " batch"],
    reach: float = 0.15,
) -> Float[Tensor, "batch 3 height width"]:
    """The picture where `share` of the light comes from all of what lies within about `reach` of the frame's width."""
    light, weight = images.clamp_min(0) ** GAMMA, content[:, None].to(images.dtype)
    side = max(1, round(reach * images.shape[-1] / 2))
    small = functional.avg_pool2d(torch.cat([light * weight, weight], 1), side, ceil_mode=True, count_include_pad=False)
    for _ in range(2):
        small = functional.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False)
    around = functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    around = around[:, :3] / around[:, 3:].clamp_min(1e-3)
    s = share[:, None, None, None]
    return ((1 - s) * light + s * around).clamp_min(1e-8) ** (1 / GAMMA)
