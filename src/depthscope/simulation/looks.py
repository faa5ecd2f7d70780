"""Everything of a still besides anatomy and viewpoint, drawn over a wide range: tissue, lens, lamps, sensor, dirt."""

import math
from dataclasses import dataclass, replace

import numpy as np

from depthscope.simulation.anatomy import Kind
from depthscope.simulation.debris import Debris
from depthscope.simulation.exposure import Shutter
from depthscope.simulation.instrument import Instrument
from depthscope.simulation.lenses import Window, full_frame, lens_for, octagon
from depthscope.simulation.light import AutoGain, Lamp, Lighting
from depthscope.simulation.presets import Scope, round_picture
from depthscope.simulation.render import Shading
from depthscope.simulation.sensor import Disc, Sensor
from depthscope.simulation.texture import Look

__all__ = ["Look", "Setup", "drawn_lamps", "drawn_lens", "drawn_sensor", "drawn_setup", "drawn_tissue"]


LAMPS_MM: dict[Kind, tuple[float, float]] = {
    "nasal": (0.4, 2.2),
    "colon": (1.5, 5.0),
    "bronchus": (0.6, 2.2),
    "abdomen": (1.5, 5.0),
}
"""How far lamps sit from the lens: half the tip's diameter at most."""

FOCUS_MM: dict[Kind, tuple[float, float]] = {
    "nasal": (8.0, 18.0),
    "colon": (12.0, 40.0),
    "bronchus": (6.0, 20.0),
    "abdomen": (40.0, 100.0),
}
"""Depths that are sharp."""


@dataclass(frozen=True)
class Setup:
    """What one still is taken with.

    Attributes:
        scope: Lens, picture, lamps, sensor and gain.
        instrument: In the view, or None.
        debris: On and before the lens.
        exposure: What the automatic gain is off by, as a factor.
        jpeg_quality: Of the recorder; None records without loss.
    """

    scope: Scope
    instrument: Instrument | None = None
    debris: Debris = Debris()
    exposure: float = 1.0
    jpeg_quality: int | None = None


def _log(draw: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform."""
    return float(math.exp(draw.uniform(math.log(low), math.log(high))))


def drawn_tissue(draw: np.random.Generator, kind: Kind) -> Look:
    """Tissue from pale to deep red, from plain to rich in vessels, from dull to dripping."""
    return Look(
        contrast=_log(draw, 0.25, 1.3),
        blood=_log(draw, 0.3, 1.9),
        blotches=_log(draw, 0.12, 0.6),
        vessels=_log(draw, 0.25, 1.3),
        grain=_log(draw, 0.01, 0.06),
        tile_mm=_log(draw, 18.0, 80.0),
        wetness=float(draw.uniform(0.2, 0.95)),
        bumps=_log(draw, 0.03, 0.12),
        hue=float(draw.uniform(-0.15, 0.16)),
    )


def drawn_lens(draw: np.random.Generator, size: tuple[int, int], kind: Kind) -> tuple[Disc, float, float]:
    """The shape of the picture, its field in degrees, and the lens's projection."""
    shape = draw.random()
    if shape < 0.5:
        share, shift = float(draw.uniform(0.44, 0.62)), draw.uniform(-0.02, 0.02, 2)
        disc = round_picture(size, share, (float(shift[0]), float(shift[1])))
    elif shape < 0.75:
        disc = octagon(size, float(draw.uniform(0.9, 1.0)), float(draw.uniform(0.05, 0.34)))
    else:
        disc = full_frame(size)
    field = float(draw.uniform(60.0, 170.0)) if draw.random() < 0.7 else float(draw.uniform(62.0, 95.0))
    # Rigid scopes of narrow field distort little; wide ones lie between equidistant and orthographic.
    low, high = (-0.6, 0.74) if field < 95 else (-0.93, 0.3)
    return disc, field, float(draw.uniform(low, high))


def drawn_lamps(draw: np.random.Generator, kind: Kind) -> Lighting:
    """One lamp, two, a crescent or a ring, beside the lens or in it."""
    reach = LAMPS_MM[kind]
    count = int(draw.choice([1, 1, 2, 2, 3, 4]))
    off, start = _log(draw, *reach), draw.uniform(0, 2 * math.pi)
    spread, radius = _log(draw, 0.4, 3.2), _log(draw, 0.2, 0.9)
    span = 2 * math.pi if draw.random() < 0.6 else math.radians(150.0)
    if count == 1 and draw.random() < 0.3:
        off = 0.0
    lamps = []
    for i in range(count):
        angle = start + span * (i + 0.15 * draw.normal()) / count
        tilt = draw.normal(0, 0.06, 2)
        place = (off * math.cos(angle), off * math.sin(angle), float(-draw.uniform(0, 0.6)))
        strength = _log(draw, 0.7, 1.4) / count
        lamps.append(Lamp(place, (float(tilt[0]), float(tilt[1]), 1.0), spread, strength, radius))
    return Lighting(tuple(lamps), gamma=float(draw.uniform(1.9, 2.5)), ambient=_log(draw, 0.02, 0.3))


def drawn_sensor(draw: np.random.Generator, kind: Kind, size: tuple[int, int], worn: bool) -> Sensor:
    """A camera head and its processor, good or worn."""
    k, harm = min(size) / 256, 2.0 if worn else 1.0
    warm = draw.normal(0, 0.09)
    return Sensor(
        focus_mm=_log(draw, *FOCUS_MM[kind]),
        defocus_px=k * harm * _log(draw, 0.5, 2.4),
        soft_px=min(1.6, harm**0.5 * k * _log(draw, 0.3, 0.9)),
        chromatic_px=k * _log(draw, 0.1, 1.0),
        vignetting=float(draw.uniform(0.0, 1.2)),
        bloom=harm * _log(draw, 0.08, 0.4),
        bloom_px=k * harm * _log(draw, 1.5, 4.0),
        veil=min(0.12, harm**2 * _log(draw, 0.001, 0.02)),
        shot=harm**2 * _log(draw, 0.008, 0.04),
        read=harm * _log(draw, 0.1, 0.5),
        pattern=0.003 * harm,
        balance=(float(math.exp(warm + draw.normal(0, 0.04))), 1.0, float(math.exp(-warm + draw.normal(0, 0.06)))),
        knee=_log(draw, 0.8, 2.6) if draw.random() < 0.85 else 0.0,
        sharpening=harm**0.5 * _log(draw, 0.15, 0.8),
        rim_px=k * _log(draw, 0.8, 4.0),
        notch_rad=float(draw.uniform(-math.pi, math.pi)) if kind == "nasal" and draw.random() < 0.5 else None,
        black=float(draw.uniform(0.0, 12.0)) if draw.random() < 0.5 else 0.0,
    )


def drawn_debris(draw: np.random.Generator) -> Debris:
    """Mostly a clean view; now and then droplets, a film, floating bits or smoke."""
    return Debris(
        droplets=int(draw.integers(1, 4)) if draw.random() < 0.12 else 0,
        film=float(draw.uniform(0.02, 0.2)) if draw.random() < 0.08 else 0.0,
        bits=int(draw.integers(1, 8)) if draw.random() < 0.08 else 0,
        fog=float(draw.uniform(0.05, 0.55)) if draw.random() < 0.15 else 0.0,
        seed=int(draw.integers(2**31)),
    )


def drawn_setup(draw: np.random.Generator, kind: Kind, size: tuple[int, int], seed: int) -> Setup:
    """What one still is taken with.

    Args:
        draw: Where chance comes from.
        kind: Of the anatomy, which decides on the size of lamps and tools.
        size: (width, height) of the frame.
        seed: Of the sensor's pattern.
    """
    disc, field, projection = drawn_lens(draw, size, kind)
    shift = draw.uniform(-0.015, 0.015, 2) * disc.radius_px * (1.0 if field < 150 else 0.3)
    camera = lens_for(disc, field, projection, _log(draw, 0.996, 1.004), (float(shift[0]), float(shift[1])))
    sensor = drawn_sensor(draw, kind, size, worn=bool(draw.random() < 0.3))
    if isinstance(disc, Window):
        sensor = replace(sensor, notch_rad=None)
    shading = Shading(
        samples=1,
        film=_log(draw, 0.3, 5.0),
        translucency_mm=float(draw.uniform(0.0, 1.5)) if draw.random() < 0.9 else 0.0,
    )
    gain = AutoGain(
        quantile=float(draw.uniform(0.55, 0.85)), level=float(draw.uniform(0.38, 0.68)),
        ceiling=_log(draw, 0.4, 1.6), lag_frames=0.0, lowest=0.1, highest=1e6,
    )  # fmt: skip
    scope = Scope(camera, disc, drawn_lamps(draw, kind), sensor, shading, gain, Shutter(), seed)
    tool = None
    if draw.random() < 0.15:
        diameter = _log(draw, 1.2, 4.0)
        tool = Instrument(diameter, _log(draw, 2.0, 8.0), float(draw.uniform(0.3, 0.8)), seed=int(draw.integers(2**31)))
    quality = int(draw.integers(35, 96)) if draw.random() < 0.6 else None
    return Setup(scope, tool, drawn_debris(draw), float(math.exp(draw.normal(0, 0.22))), quality)
