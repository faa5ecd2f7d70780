"""From light to the picture that a recorder writes: lens, sensor, processor, in the order in which they act.

Pictures are NumPy float32 arrays of shape (height, width, 3) here, since most steps are OpenCV's.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera
from depthscope.geometry.depth import pixel_grid

Picture = NDArray[np.floating]

BAYER = ((0, 1), (1, 2))
"""Colour of each pixel of the sensor, repeating: red and green, green and blue."""

BLUR_LEVELS = (0.0, 0.6, 1.2, 2.0, 3.2)
"""Blurs in pixels (standard deviation) that a depth-dependent blur is mixed from."""

FULL = 255.0
"""Full scale in DN, the unit of the noise."""


@dataclass(frozen=True)
class Sensor:
    """A camera head and its processor. The defaults are a perfect one.

    Attributes:
        focus_mm: Depth that is sharp.
        defocus_px: Diameter of the blur of a point at infinity.
        soft_px: Blur of the lens everywhere, the standard deviation.
        chromatic_px: How far red and blue are apart at the rim of the picture.
        vignetting: k of the lens's darkening cos^k towards the rim.
        bloom: Share of the light beyond saturation that spills over.
        bloom_px: How far it spills.
        veil: Share of all light that is scattered over the whole picture.
        shot: a in the noise's variance a I + b^2, in DN; 0 and `read` 0 is no noise, and no mosaic.
        read: b, in DN.
        pattern: Spread of the pixels' own sensitivity.
        balance: Gain of red, green and blue.
        knee: Soft shoulder of the tone curve; 0 clips.
        sharpening: Strength of the processor's edges, with their halo.
        sharpening_px: Width of the halo.
        rim_px: Width of the round picture's soft rim; 0 is hard.
        notch_rad: Where the orientation notch sits on the rim, or None.
        black: DN outside the round picture.
    """

    focus_mm: float = 15.0
    defocus_px: float = 0.0
    soft_px: float = 0.0
    chromatic_px: float = 0.0
    vignetting: float = 0.0
    bloom: float = 0.0
    bloom_px: float = 4.0
    veil: float = 0.0
    shot: float = 0.0
    read: float = 0.0
    pattern: float = 0.0
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    knee: float = 0.0
    sharpening: float = 0.0
    sharpening_px: float = 1.2
    rim_px: float = 0.0
    notch_rad: float | None = None
    black: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "defocus_px", "soft_px", "vignetting", "bloom", "veil", "shot", "read", "pattern", "knee", "sharpening",
            "rim_px", "black",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < 1000:
                raise BadInputError(f"a sensor with {name} {getattr(self, name):g}", "0 or more")
        if self.focus_mm <= 0 or self.bloom_px <= 0 or self.sharpening_px <= 0 or min(self.balance) <= 0:
            raise BadInputError("a sensor with a focus, width or balance that is not positive", "positive numbers")


@dataclass(frozen=True)
class ScopeDisc:
    """The round picture of a scope.

    Attributes:
        size_px: (width, height) of the frame.
        centre_px: Its centre.
        radius_px: Its radius; it may reach over the frame.
    """

    size_px: tuple[int, int]
    centre_px: tuple[float, float]
    radius_px: float

    def inside(self) -> Float[Tensor, "height width"]:
        """How far inside the rim each pixel's centre lies, in pixels; negative outside."""
        width, height = self.size_px
        centre = torch.tensor(self.centre_px, dtype=torch.float64)
        return self.radius_px - (pixel_grid(height, width, centre) - centre).norm(dim=-1)

    def opening(self, sensor: Sensor) -> Picture:
        """What the rim lets through, 0 to 1, with the notch, shape (height, width)."""
        within = self.inside().numpy()
        share = np.clip(within / sensor.rim_px, 0, 1) if sensor.rim_px else (within > 0).astype(np.float64)
        share = share * share * (3 - 2 * share)
        if sensor.notch_rad is not None:
            a, r = sensor.notch_rad, self.radius_px
            tip = np.array(self.centre_px) + r * np.array([math.cos(a), math.sin(a)])
            width, height = self.size_px
            grid = pixel_grid(height, width, torch.zeros((), dtype=torch.float64)).numpy()
            share = share * np.clip(np.linalg.norm(grid - tip, axis=-1) - 0.045 * r, 0, 1)
        return share.astype(np.float32)


def picture(
    light: Float[Tensor, "height width 3"],
    depth: Float[Tensor, "height width"],
    gain: float,
    gamma: float,
    sensor: Sensor,
    camera: Camera,
    disc: ScopeDisc,
    draw: np.random.Generator,
    scope_seed: int = 0,
) -> UInt8[Tensor, "height width 3"]:
    """The 8-bit sRGB picture of linear light.

    Args:
        light: Linear RGB.
        depth: z-depth in mm, 0 outside the picture.
        gain: What the light is multiplied by; 1 is then full scale.
        gamma: The picture is linear light to the power 1 / gamma.
        sensor: Camera head and processor.
        camera: The lens.
        disc: The round picture.
        draw: Where the frame's noise comes from.
        scope_seed: Where the sensor's own pattern comes from.
    """
    x = np.ascontiguousarray(light.float().numpy() * np.float32(gain))
    x = scattered(x, sensor)
    x = defocused(x, depth.float().numpy(), sensor)
    x = coloured_rim(x, sensor, disc)
    if sensor.vignetting:
        x = x * vignette(camera, sensor.vignetting, disc)[..., None]
    opening = disc.opening(sensor)[..., None]
    if sensor.shot or sensor.read or sensor.pattern:
        x = demosaiced(mosaic(x * opening, sensor, draw, scope_seed))
    else:
        x = x * opening
    x = toned(x * np.array(sensor.balance, np.float32), sensor.knee) ** np.float32(1 / gamma)
    if sensor.sharpening:
        x = x + sensor.sharpening * (x - cv2.GaussianBlur(x, (0, 0), sensor.sharpening_px))
    # The processor blanks what lies outside the picture, but not to the last level.
    x = FULL * x * np.minimum(2 * opening, 1) + sensor.black * (1 - opening)
    return torch.from_numpy(np.rint(x.clip(0, FULL)).astype(np.uint8))


def scattered(x: Picture, sensor: Sensor) -> Picture:
    """Light beyond saturation spilt around it, and a veil over everything."""
    if sensor.bloom:
        beyond = np.clip(x - 1, 0, 8)
        spill = 0.7 * cv2.GaussianBlur(beyond, (0, 0), 0.5 * sensor.bloom_px)
        spill += 0.3 * cv2.GaussianBlur(beyond, (0, 0), 1.7 * sensor.bloom_px)
        x = x + sensor.bloom * spill
    if sensor.veil:
        x = (1 - sensor.veil) * x + sensor.veil * cv2.GaussianBlur(x.clip(0, 2), (0, 0), 0.12 * x.shape[1])
    return x


def defocused(x: Picture, depth: NDArray[np.float32], sensor: Sensor) -> Picture:
    """Blurred by the lens, everywhere and with the distance from the focus."""
    if not sensor.defocus_px and not sensor.soft_px:
        return x
    if not sensor.defocus_px:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), sensor.soft_px), np.float32)
    known = depth > 0
    away = np.abs(1 - sensor.focus_mm / np.where(known, depth, sensor.focus_mm))
    away = cv2.GaussianBlur(np.minimum(away, 1.5), (0, 0), 1.5)  # the blur itself must not have hard edges
    sigma = np.hypot(sensor.soft_px, 0.25 * sensor.defocus_px * away)  # a disc's spread is a quarter of its diameter
    level = np.interp(sigma, BLUR_LEVELS, np.arange(len(BLUR_LEVELS)))
    total = np.zeros_like(x)
    for number, blur in enumerate(BLUR_LEVELS):
        weight = np.clip(1 - np.abs(level - number), 0, None).astype(np.float32)
        if weight.any():
            total += weight[..., None] * (cv2.GaussianBlur(x, (0, 0), blur) if blur else x)
    return total


def coloured_rim(x: Picture, sensor: Sensor, disc: ScopeDisc) -> Picture:
    """Red and blue drawn apart towards the rim, half of the distance each."""
    if not sensor.chromatic_px:
        return x
    height, width = x.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    cx, cy = (c - 0.5 for c in disc.centre_px)  # OpenCV's pixels
    channels = [x[..., 0], np.ascontiguousarray(x[..., 1]), x[..., 2]]
    for channel, sign in ((0, 1), (2, -1)):
        k = np.float32(1 + sign * 0.5 * sensor.chromatic_px / disc.radius_px)
        x_from, y_from = cx + (columns - cx) * k, cy + (rows - cy) * k
        plane = np.ascontiguousarray(channels[channel])
        moved = cv2.remap(plane, x_from, y_from, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        channels[channel] = np.asarray(moved, np.float32)
    return np.stack(channels, -1)


@lru_cache(maxsize=4)
def vignette(camera: Camera, k: float, disc: ScopeDisc) -> Picture:
    """cos^k of the angle between ray and axis, shape (height, width); 1 where the lens sends no ray."""
    width, height = camera.size_px
    rays = torch.full((height, width, 3), torch.nan, dtype=torch.float64)
    shown = disc.inside() > 0
    rays[shown] = camera.unproject(pixel_grid(height, width, rays)[shown])
    cosine = (1 / rays.norm(dim=-1)).nan_to_num(nan=1.0)
    return (cosine**k).float().numpy()


def mosaic(x: Picture, sensor: Sensor, draw: np.random.Generator, scope_seed: int = 0) -> NDArray[np.floating]:
    """What the sensor reads in DN: one colour for each pixel, with noise of variance a I + b^2."""
    raw = np.empty(x.shape[:2], np.float32)
    for row in (0, 1):
        for column in (0, 1):
            raw[row::2, column::2] = x[row::2, column::2, BAYER[row][column]]
    raw = FULL * raw.clip(0, None)
    if sensor.pattern:
        own = np.random.default_rng((scope_seed, 61)).standard_normal(raw.shape, dtype=np.float32)
        raw = raw * (1 + sensor.pattern * own)
    spread = np.sqrt(sensor.shot * raw + sensor.read**2)
    return raw + spread * draw.standard_normal(raw.shape, dtype=np.float32)


def demosaiced(raw: NDArray[np.floating]) -> Picture:
    """Colours of all pixels, from the sensor's: 14 bits above a pedestal, so that noise around black keeps its mean."""
    pedestal, steps = 16.0, 48.0
    counts = np.rint((raw + pedestal).clip(0, 65535 / steps) * steps).astype(np.uint16)
    colours = cv2.demosaicing(counts, cv2.COLOR_BayerBG2RGB_EA)
    return (colours.astype(np.float32) / steps - pedestal) / FULL


def toned(x: Picture, knee: float) -> Picture:
    """A shoulder that bends bright light towards white instead of cutting it; the slope at 0 grows with it."""
    if not knee:
        return x.clip(0, 1)
    return -np.expm1(-knee * x.clip(0, None)) / np.float32(-math.expm1(-knee * 1.6))
