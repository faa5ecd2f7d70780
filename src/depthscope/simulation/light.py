"""The light of an endoscope: lamps beside the lens, how it falls off, glints, and the automatic gain.

Everything is a function of buffers (position, normal, albedo) in camera axes and mm, so that each law can be tested
by itself, and differentiated. Linear light of one lamp at a matte point (Batlle et al. 2022, Azagra et al. 2023):

    I = [ g sigma exp(-mu (1 - D.L)) / d^2  albedo / pi  max(0, -n.L) ]^(1 / gamma)

with d and L the distance and direction from lamp to point, D the lamp's axis and g the gain. Lamps add before the
power.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError

MOST_LAMPS = 8
"""So many lamps the model knows; every further one costs one more shadow ray for each sample."""

WATER_REFLECTANCE = 0.02
"""Fresnel reflectance of the wet film seen from straight above (refractive index 1.33)."""

Points = Float[Tensor, "*points 3"]
Values = Float[Tensor, "*points"]


@dataclass(frozen=True)
class Lamp:
    """One light source at the tip of the scope.

    Attributes:
        position_mm: Where it sits, in camera axes.
        axis: Direction that it faces, of any length.
        spread: mu, how much it is concentrated around its axis; 0 shines equally everywhere.
        strength: sigma, its share of the light.
        radius_mm: Radius of its face, which makes the edges of shadows soft.
    """

    position_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    spread: float = 0.0
    strength: float = 1.0
    radius_mm: float = 0.0

    def __post_init__(self) -> None:
        numbers = (*self.position_mm, *self.axis, self.spread, self.strength, self.radius_mm)
        if not all(map(math.isfinite, numbers)):
            raise BadInputError(f"a lamp with numbers {numbers}", "finite numbers")
        if not any(self.axis):
            raise BadInputError("a lamp with the axis (0, 0, 0)", "a direction", "(0, 0, 1) faces forward")
        if self.spread < 0 or self.strength <= 0 or self.radius_mm < 0:
            raise BadInputError(
                f"a lamp of spread {self.spread:g}, strength {self.strength:g}, radius {self.radius_mm:g} mm",
                "a positive strength, and no negative spread or radius",
            )


@dataclass(frozen=True)
class Lighting:
    """The lamps of a scope and how brightness becomes a picture.

    Attributes:
        lamps: 1 to `MOST_LAMPS` of them.
        gamma: The picture is linear light to the power 1 / gamma.
        ambient: Share of light that other walls throw back, in the deepest cavity.
    """

    lamps: tuple[Lamp, ...] = (Lamp(),)
    gamma: float = 2.2
    ambient: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.lamps) <= MOST_LAMPS:
            raise BadInputError(
                f"{len(self.lamps)} light sources",
                f"1 to {MOST_LAMPS}, which is what the model knows",
                "merge lamps that stand close together into one of their summed strength",
            )
        if not 1 <= self.gamma <= 4:
            raise BadInputError(f"a gamma of {self.gamma:g}", "1 to 4; displays have 2.2")
        if not 0 <= self.ambient < 1:
            raise BadInputError(f"an ambient share of {self.ambient:g}", "0 to 1")

    def varied(self, mu_factor: float, shift_factor: float) -> "Lighting":
        """The same scope from another production run: spread and offset of every lamp times these factors."""
        lamps = tuple(
            replace(
                lamp,
                spread=lamp.spread * mu_factor,
                position_mm=tuple(shift_factor * x for x in lamp.position_mm),
            )
            for lamp in self.lamps
        )
        return replace(self, lamps=lamps)


def colonoscope_effective() -> Lighting:
    """EndoMapper's calibration of a real colonoscope as one effective light (Azagra et al. 2023)."""
    lamp = Lamp((-0.061, -1.135, -3.612), (0.011, 0.0, 0.99994), spread=2.767302, radius_mm=0.8)
    return Lighting((lamp,), ambient=0.08)


def colonoscope_leds() -> Lighting:
    """The three lamps around the lens of an Olympus CF-H190L."""
    places = ((3.24, 0.55), (-2.77, 2.66), (-1.27, -3.14))
    lamps = tuple(Lamp((x, y, 0.0), spread=1.8, strength=1 / 3, radius_mm=0.7) for x, y in places)
    return Lighting(lamps, ambient=0.08)


def rigid_4mm() -> Lighting:
    """A rigid scope of 4 mm: the fibres end in a crescent around the lower half of the lens."""
    angles = [math.radians(a) for a in (25.0, 90.0, 155.0)]
    lamps = tuple(
        Lamp((1.35 * math.cos(a), 1.35 * math.sin(a), 0.0), spread=1.6, strength=1 / 3, radius_mm=0.45) for a in angles
    )
    return Lighting(lamps, ambient=0.08)


def bronchoscope_6mm() -> Lighting:
    """A bronchoscope of 6 mm: two light guides to the sides of the lens, as Olympus's BF-1TH190 has."""
    lamps = tuple(Lamp((x, 0.4, 0.0), spread=1.5, strength=1 / 2, radius_mm=0.4) for x in (-1.6, 1.6))
    return Lighting(lamps, ambient=0.10)


def laparoscope_10mm() -> Lighting:
    """A laparoscope of 10 mm: fibres in a ring around the rod lenses, here as four lamps."""
    places = ((3.4, 0.0), (0.0, 3.4), (-3.4, 0.0), (0.0, -3.4))
    lamps = tuple(Lamp((x, y, 0.0), spread=2.4, strength=1 / 4, radius_mm=1.0) for x, y in places)
    return Lighting(lamps, ambient=0.06)


def coaxial() -> Lighting:
    """One light in the lens that shines equally everywhere: the common simplification, for comparison."""
    return Lighting((Lamp(),))


LIGHTINGS = {
    "colonoscope_effective": colonoscope_effective,
    "colonoscope_leds": colonoscope_leds,
    "rigid_4mm": rigid_4mm,
    "bronchoscope_6mm": bronchoscope_6mm,
    "laparoscope_10mm": laparoscope_10mm,
    "coaxial": coaxial,
}
"""The scopes whose light is known, by name."""


def lighting(name: str) -> Lighting:
    """The light of a scope by its name.

    Raises:
        BadInputError: There is none of this name.
    """
    if name not in LIGHTINGS:
        raise BadInputError(f"no light called '{name}'", f"one of {', '.join(LIGHTINGS)}")
    return LIGHTINGS[name]()


def arriving(lamp: Lamp, points: Points) -> tuple[Points, Values]:
    """Light of one lamp that reaches points, before anything stands in its way.

    Args:
        lamp: The lamp.
        points: In camera axes, in mm, shape (*points, 3).

    Returns:
        The unit direction L from lamp to point, and the light sigma exp(-mu (1 - D.L)) / d^2 per mm^2.
    """
    way = points - points.new_tensor(lamp.position_mm)
    squared = dot(way, way).clamp_min(1e-12)
    direction = way * squared.rsqrt()[..., None]
    axis = functional.normalize(points.new_tensor(lamp.axis), dim=-1)
    return direction, lamp.strength * torch.exp(-lamp.spread * (1 - dot(direction, axis))) / squared


def dot(a: Points, b: Float[Tensor, "*#points 3"]) -> Values:
    """Scalar products; three products added are quicker than a sum over so short an axis."""
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def unit(vectors: Points) -> Points:
    """Vectors of length 1 in the same directions."""
    return vectors * dot(vectors, vectors).clamp_min(1e-24).rsqrt()[..., None]


def irradiance(
    lamp: Lamp, points: Points, normals: Points, wrap: float = 0.0, arrived: tuple[Points, Values] | None = None
) -> Values:
    """Light of one lamp on a surface with unit normals towards the camera.

    Args:
        lamp: The lamp.
        points: In camera axes, in mm.
        normals: Unit normals, towards the lumen.
        wrap: How far light creeps around the edge where the surface turns away, as it does in translucent tissue; 0
            is a matte surface. The light that arrives altogether stays the same.
        arrived: What `arriving` gave for these points, if it is known.
    """
    direction, light = arrived or arriving(lamp, points)
    cosine = -dot(normals, direction)
    return light * ((cosine + wrap) / (1 + wrap) ** 2).clamp_min(0)


def matte(albedo: Points, irradiances: Values) -> Points:
    """Linear light that comes back from a matte surface, albedo / pi times what arrives: the same in all directions."""
    return albedo / math.pi * irradiances[..., None]


def glint(
    lamp: Lamp,
    points: Points,
    film_normals: Points,
    roughness: Values | float,
    arrived: tuple[Points, Values] | None = None,
) -> Values:
    """Linear light that the wet film mirrors into a camera at the origin (GGX; Walter et al. 2007).

    Args:
        lamp: The lamp.
        points: In camera axes, in mm.
        film_normals: Unit normals of the film.
        roughness: GGX's alpha, 0.05 a puddle to 0.3 a dull skin.
        arrived: What `arriving` gave for these points, if it is known.
    """
    direction, light = arrived or arriving(lamp, points)
    # The products with the half vector follow from those with its two parts.
    towards_camera = -unit(points)
    n_l, n_v = -dot(film_normals, direction), dot(film_normals, towards_camera)
    l_v = -dot(direction, towards_camera)
    length = (2 + 2 * l_v).clamp_min(1e-12).sqrt()
    n_h, h_v = ((n_l + n_v) / length).clamp(0, 1), ((1 + l_v) / length).clamp(0, 1)
    n_l, n_v = n_l.clamp_min(0), n_v.clamp_min(1e-3)
    a2 = torch.as_tensor(roughness, dtype=points.dtype) ** 2
    lobe = a2 / (math.pi * (n_h * n_h * (a2 - 1) + 1) ** 2)
    # Heights of the film shadow each other (Smith), here with the 4 n.l n.v of the denominator in it.
    visible = 0.5 / (n_l * (n_v * n_v * (1 - a2) + a2).sqrt() + n_v * (n_l * n_l * (1 - a2) + a2).sqrt()).clamp_min(
        1e-6
    )
    away = 1 - h_v
    fresnel = WATER_REFLECTANCE + (1 - WATER_REFLECTANCE) * away**5
    return light * lobe * visible * fresnel * n_l


def displayed(linear: Tensor, gamma: float) -> Tensor:
    """Picture values of linear light, I^(1 / gamma)."""
    return linear.clamp_min(0) ** (1 / gamma)


def linearised(picture: Tensor, gamma: float) -> Tensor:
    """Linear light of picture values: the inverse of `displayed`."""
    return picture.clamp_min(0) ** gamma


@dataclass(frozen=True)
class AutoGain:
    """How a scope's processor holds the brightness: a share of the round picture at a level, some frames late.

    Attributes:
        quantile: Of the picture's brightness.
        level: Picture value (0 to 1) that this quantile is held at.
        ceiling: Linear brightness, of full scale, that no more than a fortieth of the round picture may exceed: a wall
            close to the lens takes the gain down, though most of the picture then gets dark.
        lag_frames: Time constant; 0 follows at once.
        history: Frames that are looked back on. The gain of a frame depends on these frames' scenes only.
        lowest: Smallest gain, for light per mm^2 of a lamp of strength 1.
        highest: Largest gain: further away than this allows, the picture goes dark.
    """

    quantile: float = 0.7
    level: float = 0.45
    ceiling: float = math.inf
    lag_frames: float = 5.0
    history: int = 10
    lowest: float = 10.0
    highest: float = 60_000.0

    def __post_init__(self) -> None:
        if not 0 < self.quantile < 1 or not 0 < self.level < 1:
            raise BadInputError(f"gain that holds quantile {self.quantile} at {self.level}", "numbers between 0 and 1")
        if not self.ceiling > 0:
            raise BadInputError(f"gain with a ceiling of {self.ceiling:g}", "a positive number")
        if self.lag_frames < 0 or self.history < 1 or not 0 < self.lowest <= self.highest:
            raise BadInputError("gain with a negative lag, no history, or lowest above highest", "an ordered range")

    def wanted(self, linear: Float[Tensor, " samples"], gamma: float) -> float:
        """The gain at which this linear brightness of the round picture has the wanted quantile."""
        bright, brightest = (
            linear.quantile(linear.new_tensor([self.quantile, 0.975])).tolist() if linear.numel() else (0.0,) * 2
        )
        gain = min(self.level**gamma / max(bright, 1e-12), self.ceiling / max(brightest, 1e-12))
        return min(max(gain, self.lowest), self.highest)

    def weights(self) -> list[float]:
        """How much the wanted gain of the frame itself, one before, two before, ... counts; they sum to 1."""
        if not self.lag_frames:
            return [1.0]
        raw = [math.exp(-age / self.lag_frames) for age in range(self.history)]
        return [weight / sum(raw) for weight in raw]

    def lagged(self, wanted: list[float]) -> float:
        """The gain of a frame from the wanted ones of itself and of the frames before, the newest first."""
        pairs = list(zip(self.weights(), wanted, strict=False))
        total = sum(weight for weight, _ in pairs)
        return math.exp(sum(weight * math.log(gain) for weight, gain in pairs) / total)
