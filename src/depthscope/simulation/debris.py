"""What lies on the lens or floats before it: droplets, a film of mucus, bits of tissue, fog.

It acts on light, before sensor and processor, and has no depth: the truth is that of what lies behind, and the mask
says where that cannot be seen.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.simulation.sensor import ScopeDisc

HIDES = 0.3
"""The mask begins where this share of the light is not that of the tissue behind."""

BIT_MM = 0.35
"""Radius of a floating bit."""

BIT_TINT, FILM_TINT, FOG_TINT = (
    np.array(tint, np.float32) for tint in ((1.25, 1.2, 1.05), (1.1, 1.05, 0.8), (1.04, 1.0, 0.98))
)
"""What they make of white."""

Plane = NDArray[np.floating]


@dataclass(frozen=True)
class Debris:
    """How dirty the view is.

    Attributes:
        droplets: On the lens.
        film: Share of the lens with a film of mucus, 0 to 1.
        bits: Floating before the lens.
        fog: Share of the contrast that fog takes at its thickest; it comes and goes over seconds.
        seed: Of where all of it is.
    """

    droplets: int = 0
    film: float = 0.0
    bits: int = 0
    fog: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.droplets <= 200 and 0 <= self.bits <= 1000):
            raise BadInputError(f"{self.droplets} droplets and {self.bits} bits", "0 to 200, and 0 to 1000")
        if not (0 <= self.film <= 1 and 0 <= self.fog <= 0.98):
            raise BadInputError(f"a film over {self.film:g} and fog of {self.fog:g}", "0 to 1, and 0 to 0.98")

    @property
    def clear(self) -> bool:
        """Whether there is none."""
        return not (self.droplets or self.film or self.bits or self.fog)


def soiled(
    light: Float[Tensor, "height width 3"],
    depth: Float[Tensor, "height width"],
    debris: Debris,
    disc: ScopeDisc,
    focal_px: float,
    seconds: float,
) -> tuple[Float[Tensor, "height width 3"], Bool[Tensor, "height width"]]:
    """The light behind all of it, and where the tissue is hidden.

    Args:
        light: Linear RGB.
        depth: z-depth in mm, which hides bits that would float behind the tissue.
        debris: How dirty the view is.
        disc: The round picture, which the droplets and the film lie on.
        focal_px: Of the camera, for the size of floating bits.
        seconds: The moment.
    """
    x = np.ascontiguousarray(light.float().numpy())
    hidden = np.zeros(x.shape[:2], np.float32)
    broad = cv2.GaussianBlur(x, (0, 0), 0.06 * disc.radius_px)
    if debris.bits:
        shown, bright = _bits(debris, disc, focal_px, depth.numpy(), seconds)
        x = (1 - shown[..., None]) * x + (shown * bright)[..., None] * broad * BIT_TINT
        hidden = np.maximum(hidden, shown)
    if debris.film:
        film = _film(debris, disc)[..., None]
        wide = cv2.GaussianBlur(x, (0, 0), 0.04 * disc.radius_px)
        x = (1 - film) * x + film * (0.9 * wide + 0.25 * broad.mean(axis=(0, 1)) * FILM_TINT)
        hidden = np.maximum(hidden, film[..., 0])
    if debris.droplets:
        within, columns, rows, tone = _droplets(debris, disc)
        bent = cv2.remap(cv2.GaussianBlur(x, (0, 0), 0.018 * disc.radius_px), columns, rows, cv2.INTER_LINEAR)
        x = (1 - within[..., None]) * x + (within * tone)[..., None] * bent
        hidden = np.maximum(hidden, within)
    if debris.fog:
        x = _fogged(x, debris, disc, seconds)
    return torch.from_numpy(np.ascontiguousarray(x, np.float32)), torch.from_numpy(
        (hidden > HIDES) & (depth.numpy() > 0)
    )


def _fogged(x: Plane, debris: Debris, disc: ScopeDisc, seconds: float) -> Plane:
    """Light scattered over the whole picture."""
    phase = np.random.default_rng((debris.seed, 66)).uniform(0, 2 * math.pi)
    share = np.float32(debris.fog * (0.6 + 0.4 * math.sin(2 * math.pi * seconds / 5 + phase)))
    milk = cv2.GaussianBlur(x, (0, 0), 0.45 * disc.radius_px).mean(axis=2, keepdims=True) * FOG_TINT
    return (1 - share) * cv2.GaussianBlur(x, (0, 0), 0.1 + 0.012 * float(share) * disc.radius_px) + 0.8 * share * milk


def _grid(disc: ScopeDisc) -> tuple[Plane, Plane]:
    width, height = disc.size_px
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x + np.float32(0.5), y + np.float32(0.5)


@lru_cache(maxsize=4)
def _droplets(debris: Debris, disc: ScopeDisc) -> tuple[Plane, Plane, Plane, Plane]:
    """Where droplets are (0 to 1), where light comes from there (OpenCV's columns and rows), and how bright."""
    draw = np.random.default_rng((debris.seed, 67))
    x, y = _grid(disc)
    within, tone = np.zeros_like(x), np.ones_like(x)
    columns, rows = x - np.float32(0.5), y - np.float32(0.5)
    for _ in range(debris.droplets):
        radius = disc.radius_px * float(np.exp(draw.uniform(np.log(0.05), np.log(0.2))))
        away, angle = disc.radius_px * math.sqrt(draw.uniform(0.02, 0.9)), draw.uniform(0, 2 * math.pi)
        cx, cy = disc.centre_px[0] + away * math.cos(angle), disc.centre_px[1] + away * math.sin(angle)
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        around = np.arctan2(dy, dx)
        edge = radius * (1 + sum(draw.uniform(0, 0.10) * np.cos(k * around + draw.uniform(0, 6.3)) for k in (1, 2, 3)))
        inside = np.hypot(dx, dy) / edge
        # A round front of water shows a wide and upside-down picture; out of focus, its rim is soft.
        here = np.clip((1.08 - inside) / 0.22, 0, 1).astype(np.float32)
        here = here * here * (3 - 2 * here)
        stronger = here > within
        bend = -1.3 * (0.4 + inside**2)
        columns = np.where(stronger, cx + bend * dx, columns).astype(np.float32)
        rows = np.where(stronger, cy + bend * dy, rows).astype(np.float32)
        ring = np.exp(-(((inside - 0.93) / 0.09) ** 2))
        glow = (
            1.12 - 0.4 * ring + 0.25 * np.exp(-((np.hypot(dx + 0.3 * radius, dy + 0.3 * radius) / (0.3 * radius)) ** 2))
        )
        tone = np.where(stronger, glow, tone).astype(np.float32)
        within = np.maximum(within, here)
    width, height = disc.size_px
    return within, columns.clip(0, width - 1), rows.clip(0, height - 1), tone


@lru_cache(maxsize=4)
def _film(debris: Debris, disc: ScopeDisc) -> Plane:
    """How thick the film is at each pixel, 0 to 1: streaks of smooth noise, the thickest share of it."""
    draw = np.random.default_rng((debris.seed, 68))
    width, height = disc.size_px
    scale, angle = 0.16 * disc.radius_px, draw.uniform(0, math.pi)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), math.degrees(angle), 1.0)
    noise = draw.standard_normal((height, width), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 2.2 * scale, sigmaY=0.8 * scale)
    noise = cv2.warpAffine(noise, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    level, spread = float(np.quantile(noise, 1 - debris.film)), float(noise.std())
    return (0.9 * np.clip((noise - level) / (0.6 * spread) + 0.25, 0, 1)).astype(np.float32)


def _bits(debris: Debris, disc: ScopeDisc, focal_px: float, depth: NDArray, seconds: float) -> tuple[Plane, Plane]:
    """Where floating bits are (0 to 1), and how bright; they drift, and are out of focus near the lens."""
    draw = np.random.default_rng((debris.seed, 69))
    x, y = _grid(disc)
    shown, bright = np.zeros_like(x), np.ones_like(x)
    for _ in range(debris.bits):
        place, speed = draw.uniform(-1, 1, 3), draw.normal(0, 0.25, 3)
        size, tone = draw.uniform(0.4, 1.3), draw.uniform(0.7, 1.6)
        u, v, w = (place + speed * seconds + 1) % 2 - 1  # what leaves the view comes back on the other side
        z = 7.0 + 4.5 * w
        radius = max(focal_px * BIT_MM * size / z, 0.6)
        cx, cy = disc.centre_px[0] + u * disc.radius_px, disc.centre_px[1] + v * disc.radius_px
        soft = radius * (0.35 + 0.5 * max(0.0, 6.0 / z - 0.7))
        here = np.clip((radius + soft / 2 - np.hypot(x - cx, 1.25 * (y - cy))) / soft, 0, 1) * (depth > z)
        bright = np.where(here > shown, np.float32(tone), bright)
        shown = np.maximum(shown, 0.85 * here.astype(np.float32))
    return shown.astype(np.float32), bright.astype(np.float32)
