"""Smoke in a cavity and bubbles on its tissue: seen in the picture, and of no depth."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.simulation.render import RenderView

Light = Float[Tensor, "height width 3"]
Depth = Float[Tensor, "height width"]


@dataclass(frozen=True)
class Smoke:
    """Smoke or steam that scatters the lamp's light: the more of it, the longer the way (Koschmieder's law).

    Attributes:
        opacity: Share of the light that is lost on the way to the median depth.
        patchy: Spread of the logarithm of its density over the picture.
        brightness: Of the smoke, in means of the picture.
        seed: Of where it is dense.
    """

    opacity: float = 0.0
    patchy: float = 0.0
    brightness: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 0.95 or not 0 <= self.patchy <= 2 or self.brightness < 0:
            raise BadInputError(
                f"smoke of opacity {self.opacity:g}, patchy {self.patchy:g}, brightness {self.brightness:g}",
                "an opacity up to 0.95, patches up to 2, and no negative brightness",
            )

    def seen_through(self, light: Light, depth: Depth) -> Light:
        """The light that is left, and what the smoke adds."""
        known = depth > 0
        if not self.opacity or not bool(known.any()):
            return light
        density = -math.log(1 - self.opacity) * torch.ones(depth.shape)
        if self.patchy:
            draw = np.random.default_rng((self.seed, 103))
            coarse = cv2.GaussianBlur(draw.standard_normal((12, 12), dtype=np.float32), (0, 0), 1.2)
            wide = cv2.resize(coarse / coarse.std(), depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
            density = density * torch.exp(self.patchy * torch.from_numpy(wide))
        passed = torch.exp(-density * (depth / depth[known].median()).float())[..., None]
        # Scattered light fills the cavity, a little bluer than the tissue that it comes from.
        white = light[known].mean() * light.new_tensor([0.97, 1.0, 1.06])
        hazy = passed * light + (1 - passed) * self.brightness * white
        return torch.where(known[..., None], hazy.to(light), light)


@dataclass(frozen=True)
class Bubbles:
    """Bubbles of mucus or rinsing water on the tissue, in clusters.

    Attributes:
        count: How many.
        radius_mm: Of a middling one.
        seed: Of where they are.
    """

    count: int = 0
    radius_mm: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.count <= 500 or not 0 < self.radius_mm <= 20:
            raise BadInputError(f"{self.count} bubbles of {self.radius_mm:g} mm", "0 to 500, and up to 20 mm")

    def before(self, light: Light, depth: Depth, view: RenderView) -> Light:
        """The light through them: a bright point towards the lamp, a dark rim, a pale middle."""
        if not self.count:
            return light
        draw, focal = np.random.default_rng((self.seed, 104)), min(view.camera.focal_px)
        x, z = np.ascontiguousarray(light.float().numpy()).copy(), depth.numpy()
        rows, columns = np.nonzero(z > 0)
        if not len(rows):
            return light
        bright = float(x[z > 0].mean())
        centres = draw.integers(len(rows), size=max(1, self.count // 8))
        for _ in range(self.count):
            home = int(centres[draw.integers(len(centres))])
            spread = 5 * self.radius_mm * focal / z[rows[home], columns[home]]
            cy, cx = np.array([rows[home], columns[home]]) + draw.normal(0, spread, 2)
            row, column = int(cy), int(cx)
            if not (0 <= row < z.shape[0] and 0 <= column < z.shape[1]) or z[row, column] <= 0:
                continue
            size = self.radius_mm * float(np.exp(draw.normal(0, 0.45))) * focal / z[row, column]
            if not 1.0 < size < 0.2 * min(z.shape):
                continue
            reach = math.ceil(size) + 1
            top, left = max(row - reach, 0), max(column - reach, 0)
            part = x[top : row + reach + 1, left : column + reach + 1]
            dy, dx = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float32)
            dy, dx = (dy + top - cy) / size, (dx + left - cx) / size
            away = np.hypot(dx, dy)
            inside = np.clip((1 - away) * size, 0, 1)
            tone = 1.06 - 0.5 * np.exp(-(((away - 0.93) / 0.12) ** 2))
            shine = 6 * np.exp(-(((dx + 0.35) ** 2 + (dy + 0.4) ** 2) / 0.02)) + 0.25 * np.exp(
                -(((away - 0.8) / 0.1) ** 2)
            )
            part *= (1 + inside * (tone - 1))[..., None]
            part += (inside * shine * bright)[..., None]
        return torch.from_numpy(x)
