"""Everything of a still besides anatomy and viewpoint, drawn over a wide range: tissue, lens, lamps, sensor, dirt."""

import math
from dataclasses import dataclass, replace

import numpy as np

from depthscope.simulation.anatomy import Kind
from depthscope.simulation.debris import Debris
from depthscope.simulation.exposure import Shutter
from depthscope.simulation.finish import Finish
from depthscope.simulation.haze import Bubbles, Smoke
from depthscope.simulation.lenses import CroppedDisc, full_frame, lens_for, octagon
from depthscope.simulation.light import AutoGain, Lamp, Lighting
from depthscope.simulation.presets import Scope, round_picture
from depthscope.simulation.render import Shading
from depthscope.simulation.sensor import ScopeDisc, Sensor
from depthscope.simulation.texture import Look
from depthscope.simulation.tools import Metal, Tool

__all__ = [
    "Look",
    "Setup",
    "drawn_bubbles",
    "drawn_debris",
    "drawn_finish",
    "drawn_lamps",
    "drawn_lens",
    "drawn_sensor",
    "drawn_setup",
    "drawn_smoke",
    "drawn_tissue",
    "drawn_tool",
]


LAMPS_MM: dict[Kind, tuple[float, float]] = {
    "nasal": (0.4, 2.2),
    "colon": (1.5, 5.0),
    "bronchus": (0.6, 2.2),
    "abdomen": (1.5, 5.0),
}
"""How far lamps sit from the lens: half the tip's diameter at most."""

TOOLS_MM: dict[Kind, tuple[float, float]] = {
    "nasal": (0.8, 4.0),
    "colon": (1.2, 2.8),
    "bronchus": (0.8, 2.0),
    "abdomen": (3.0, 10.0),
}
"""Diameters of tools: working channels have 2 to 4 mm, laparoscopic ports 5 and 10."""

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
        tool: In the view, or None.
        debris: On and before the lens.
        exposure: What the automatic gain is off by, as a factor.
        finish: What processor and recorder do.
        smoke: Between the lens and the tissue.
        bubbles: On the tissue.
    """

    scope: Scope
    tool: Tool | None = None
    debris: Debris = Debris()
    exposure: float = 1.0
    finish: Finish = Finish()
    smoke: Smoke = Smoke()
    bubbles: Bubbles = Bubbles()


def _log(draw: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform."""
    return float(math.exp(draw.uniform(math.log(low), math.log(high))))


COVERS: dict[Kind, tuple[tuple[float, float, float], ...]] = {
    "nasal": ((0.72, 0.70, 0.58), (0.62, 0.58, 0.30)),
    "colon": ((0.70, 0.66, 0.50), (0.34, 0.24, 0.07), (0.46, 0.38, 0.09)),
    "bronchus": ((0.74, 0.72, 0.62), (0.60, 0.58, 0.32)),
    "abdomen": ((0.30, 0.03, 0.02), (0.36, 0.34, 0.08), (0.72, 0.56, 0.22)),
}
"""Linear RGB of what lies on tissue: mucus and pus; residue and bile; blood, bile and fat."""


def drawn_tissue(draw: np.random.Generator, kind: Kind) -> Look:
    """Tissue from pale to deep red, from plain to rich in vessels, from dull to dripping, bare or covered."""
    large = kind == "abdomen"
    covers = COVERS[kind]
    tint = np.exp(draw.normal(0, 0.10, 3))
    return Look(
        contrast=_log(draw, 0.25, 1.3),
        blood=_log(draw, 0.3, 1.9),
        blotches=_log(draw, 0.12, 0.6),
        vessels=_log(draw, 0.25, 2.0 if large else 1.3),
        grain=_log(draw, 0.01, 0.06),
        tile_mm=_log(draw, 18.0, 80.0) * (1.8 if large else 1.0),
        wetness=float(draw.uniform(0.2, 0.95)),
        bumps=_log(draw, 0.03, 0.24),
        hue=float(draw.uniform(-0.15, 0.16)),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        scale=_log(draw, 0.7, 1.5) * (1.8 if large else 1.0),
        regional=float(draw.uniform(0.6, 2.4)),
        bleeding=_log(draw, 0.4, 3.0) if draw.random() < 0.2 else 0.0,
        cover=covers[int(draw.integers(len(covers)))],
        cover_share=_log(draw, 0.02, 0.35) if draw.random() < 0.35 else 0.0,
        cover_opacity=float(draw.uniform(0.25, 0.95)),
    )


def drawn_lens(draw: np.random.Generator, size: tuple[int, int], kind: Kind) -> tuple[ScopeDisc, float, float]:
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
    return Lighting(tuple(lamps), gamma=float(draw.uniform(1.9, 2.5)), ambient=_log(draw, 0.02, 0.5))


def drawn_sensor(draw: np.random.Generator, kind: Kind, size: tuple[int, int], worn: bool) -> Sensor:
    """A camera head and its processor, good or worn."""
    k, harm = min(size) / 256, 2.0 if worn else 1.0
    warm = draw.normal(0, 0.09)
    return Sensor(
        focus_mm=_log(draw, *FOCUS_MM[kind]),
        defocus_px=k * harm * _log(draw, 0.5, 2.4),
        soft_px=min(1.6, harm**0.5 * k * _log(draw, 0.3, 0.9)),
        chromatic_px=k * _log(draw, 0.1, 1.0),
        vignetting=float(draw.uniform(0.1, 1.4)) if draw.random() < 0.7 else 0.0,
        bloom=harm * _log(draw, 0.08, 0.4),
        bloom_px=k * harm * _log(draw, 1.5, 4.0),
        veil=min(0.12, harm**2 * _log(draw, 0.002, 0.03)) if draw.random() < 0.5 else 0.0,
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
        fog=float(draw.uniform(0.05, 0.5)) if draw.random() < 0.08 else 0.0,
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
    if isinstance(disc, CroppedDisc):
        sensor = replace(sensor, notch_rad=None)
    shading = Shading(
        samples=1,
        film=_log(draw, 0.3, 5.0),
        translucency_mm=float(draw.uniform(0.0, 1.5)) if draw.random() < 0.9 else 0.0,
    )
    gain = AutoGain(
        quantile=float(draw.uniform(0.55, 0.85)), level=float(draw.uniform(0.38, 0.68)),
        ceiling=_log(draw, 0.4, 2.5), lag_frames=0.0, lowest=0.1, highest=1e6,
    )  # fmt: skip
    scope = Scope(camera, disc, drawn_lamps(draw, kind), sensor, shading, gain, Shutter(), seed)
    tool = drawn_tool(draw, kind) if draw.random() < 0.18 else None
    exposure = float(math.exp(draw.normal(0, 0.3)))
    finish = drawn_finish(draw, min(size))
    return Setup(scope, tool, drawn_debris(draw), exposure, finish, drawn_smoke(draw), drawn_bubbles(draw, kind))


def drawn_smoke(draw: np.random.Generator) -> Smoke:
    """Mostly none."""
    if draw.random() > 0.12:
        return Smoke()
    seed = int(draw.integers(2**31))
    return Smoke(float(draw.uniform(0.05, 0.6)), float(draw.uniform(0, 1)), float(draw.uniform(0.3, 1.2)), seed)


def drawn_bubbles(draw: np.random.Generator, kind: Kind) -> Bubbles:
    """Mostly none; in an abdomen larger ones."""
    if draw.random() > 0.12:
        return Bubbles()
    radius = _log(draw, 0.3, 1.2) * (2.5 if kind == "abdomen" else 1.0)
    return Bubbles(int(_log(draw, 4.0, 80.0)), radius, int(draw.integers(2**31)))


def drawn_tool(draw: np.random.Generator, kind: Kind) -> Tool:
    """A probe, needle or forceps from beside the lens, or from another port."""
    low, high = TOOLS_MM[kind]
    tone, diameter = _log(draw, 0.02, 0.6), _log(draw, low, high)
    colour = tone * np.exp(draw.normal(0, 0.08, 3) if draw.random() < 0.7 else draw.normal(0, 0.7, 3))
    red, green, blue = np.minimum(colour, 0.9).tolist()
    metal = Metal((red, green, blue), _log(draw, 2.0, 10.0) if draw.random() < 0.4 else 0.0, _log(draw, 0.12, 0.5))
    away, turn = 0.75 * math.sqrt(draw.random()), draw.uniform(0, 2 * math.pi)
    return Tool(
        diameter,
        diameter * _log(draw, 0.6, 3.0),
        float(draw.uniform(0.15, 0.9)) if draw.random() < 0.5 else 0.0,
        metal,
        _log(draw, 1.0, 12.0),
        float(draw.uniform(0.3, 0.95)),
        (away * math.cos(turn), away * math.sin(turn)),
        turn + float(draw.normal(0, 0.6)),
        float(draw.uniform(0.0, 0.4)) if kind in ("colon", "bronchus") else float(draw.uniform(0.2, 1.5)),
    )


def drawn_finish(draw: np.random.Generator, side_px: int) -> Finish:
    """A processor and a recorder."""
    k = side_px / 256
    return Finish(
        motion_px=k * _log(draw, 0.8, 7.0) if draw.random() < 0.3 else 0.0,
        motion_rad=float(draw.uniform(0, math.pi)),
        saturation=_log(draw, 0.65, 1.45),
        local_tone=float(draw.uniform(0.05, 0.7)) if draw.random() < 0.4 else 0.0,
        rescale=float(draw.uniform(0.5, 0.95)) if draw.random() < 0.2 else 1.0,
        jpeg_quality=int(draw.integers(25, 96)) if draw.random() < 0.6 else None,
    )
