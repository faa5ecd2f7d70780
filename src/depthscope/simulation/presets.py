"""What is drawn for a patient and for a clip: tissue, scope, path; three levels of difficulty, and a dial for variety.

`clean` has a pinhole, a light in the lens and a perfect sensor, for exact tests. `typical` has a calibrated light, a
distorting lens and the mild faults of a good scope. `hard` has plain wet tissue, swelling, and the faults of a bad one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import torch

from depthscope.errors import BadInputError
from depthscope.geometry import Brown, Camera, KannalaBrandt
from depthscope.simulation.anatomy import Kind
from depthscope.simulation.breathing import Breathing
from depthscope.simulation.debris import Debris
from depthscope.simulation.disturbances import Disturbances
from depthscope.simulation.exposure import Shutter
from depthscope.simulation.instrument import Instrument
from depthscope.simulation.light import (
    AutoGain,
    Lighting,
    bronchoscope_6mm,
    coaxial,
    colonoscope_effective,
    colonoscope_leds,
    laparoscope_10mm,
    rigid_4mm,
)
from depthscope.simulation.path import TrajectoryOptions
from depthscope.simulation.render import Shading
from depthscope.simulation.sensor import ScopeDisc, Sensor
from depthscope.simulation.texture import Look

Preset = Literal["clean", "typical", "hard"]

FOCUS_MM: dict[Kind, float] = {"nasal": 13.0, "colon": 20.0, "bronchus": 12.0, "abdomen": 70.0}
"""Depth that a scope is made to be sharp at."""


@dataclass(frozen=True)
class TrackQuality:
    """How good the sparse points are that a clip comes with.

    Attributes:
        points: How many are looked for; those seen too briefly are left out.
        length: Median number of frames that a point is followed over.
        pixel_noise_px: Standard deviation of where a point is measured.
        depth_noise: Standard deviation of its depth, as a share of it.
        outliers: Share of points at a wrong depth in all their frames.
    """

    points: int = 600
    length: float = 8.0
    pixel_noise_px: float = 0.3
    depth_noise: float = 0.01
    outliers: float = 0.0

    def __post_init__(self) -> None:
        if self.points < 1 or self.length < 1 or not 0 <= self.outliers < 1:
            raise BadInputError(f"tracks of {self.points} points, outliers {self.outliers:g}", "positive, 0 to 1")
        if self.pixel_noise_px < 0 or self.depth_noise < 0:
            raise BadInputError("tracks with negative noise", "0 or more")


@dataclass(frozen=True)
class Scope:
    """The instrument that a patient is recorded with.

    Attributes:
        camera: Its lens.
        disc: Its round picture.
        lighting: Its lamps.
        sensor: Its camera head and processor.
        shading: What its picture shows of the tissue's surface.
        gain: Its automatic gain.
        shutter: When its rows are exposed and read.
        seed: Of its sensor's pattern.
        crf: Quality of its recorder's H.264. A phantom's pictures are small: what 18 leaves of 1280x720 is lost at
            320x256, where 10 leaves as much and 26 has blocks.
    """

    camera: Camera
    disc: ScopeDisc
    lighting: Lighting
    sensor: Sensor
    shading: Shading
    gain: AutoGain
    shutter: Shutter
    seed: int
    crf: int = 18

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise BadInputError(f"a recorder of CRF {self.crf}", "0 (lossless) to 51 (worst)")


@dataclass(frozen=True)
class Subject:
    """All that is drawn for one patient besides the anatomy.

    Attributes:
        look: Of the tissue.
        scope: That the patient is recorded with.
        swelling_mm: Between CT and video.
        tracks: Of the sparse points.
        trajectory: How the camera is led; what it leaves open is drawn for each clip.
        disturbances: What moves or stands before the camera; where and when is drawn for each clip.
        told_focal: What the focal length in the clip's camera file is off by, as a share; 0 is true.
    """

    look: Look
    scope: Scope
    swelling_mm: float = 0.0
    tracks: TrackQuality = field(default_factory=TrackQuality)
    trajectory: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    disturbances: Disturbances = field(default_factory=Disturbances)
    told_focal: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.swelling_mm <= 1.5:
            raise BadInputError(
                f"a swelling of {self.swelling_mm:g} mm", "0 to 1.5 mm", "more would close the passages"
            )


@dataclass(frozen=True, eq=False)
class Dice:
    """Chance with a dial.

    Attributes:
        draw: Where it comes from.
        variety: 0 always gives the middle, 1 the whole range.
    """

    draw: np.random.Generator
    variety: float

    def about(self, value: float, factor: float) -> float:
        """Log-uniform within `factor` of the value, to either side."""
        return float(value * factor ** (self.variety * self.draw.uniform(-1, 1)))

    def happens(self, share: float) -> bool:
        """True in this share of the draws at full variety, and never at none."""
        return bool(self.draw.random() < self.variety * share)

    def within(self, low: float, high: float) -> float:
        """Uniform between two values."""
        return float((low + high) / 2 + self.variety * self.draw.uniform(-0.5, 0.5) * (high - low))


def subject(
    seed: int, kind: Kind, preset: Preset = "typical", variety: float = 1.0, size_px: tuple[int, int] = (320, 256)
) -> Subject:
    """What is drawn for a patient.

    Args:
        seed: Of the patient.
        kind: Of the anatomy.
        preset: How difficult.
        variety: Dial of the domain randomisation, 0 (the middle of every range) to 1.
        size_px: (width, height) of the frames.

    Raises:
        BadInputError: An option out of its range.
    """
    if preset not in get_args(Preset):
        raise BadInputError(f"preset {preset!r}", " or ".join(get_args(Preset)))
    if not 0 <= variety <= 1:
        raise BadInputError(f"a variety of {variety:g}", "0 to 1")
    if min(size_px) < 32 or max(size_px) > 8192:
        raise BadInputError(f"frames of {size_px[0]} x {size_px[1]} pixels", "32 to 8192 along each side")
    dice, faulty = (Dice(np.random.default_rng((seed, stream)), variety) for stream in (51, 52))
    look = tissue(dice, kind)
    match preset:
        case "clean":
            return Subject(
                look, clean_scope(dice, seed, size_px), tracks=TrackQuality(pixel_noise_px=0.0, depth_noise=0.0)
            )
        case "typical":
            scope = typical_scope(dice, seed, kind, size_px)
            return Subject(look, mildly_late(faulty, scope), disturbances=rarely_disturbed(faulty))
        case "hard":
            plain = replace(look, contrast=0.65 * look.contrast, wetness=min(1.2 * look.wetness, 1.0))
            return Subject(
                plain,
                late(faulty, hard_scope(dice, seed, kind, size_px)),
                swelling_mm=dice.within(0.3, 0.9),
                tracks=TrackQuality(300, 5.0, 0.7, 0.03, 0.05),
                trajectory=TrajectoryOptions(baseline=dice.about(0.3, 1.5), tremor_mm=0.2, tremor_deg=0.5),
                disturbances=disturbed(faulty),
            )


def tissue(dice: Dice, kind: Kind) -> Look:
    """The look of a patient's tissue; the colon is paler, and its vessels are wider apart."""
    match kind:
        case "bronchus":
            return airway_lining(dice)
        case "abdomen":
            return serosa(dice)
    nasal = kind == "nasal"
    return Look(
        contrast=dice.about(0.65, 1.25),
        blood=dice.about(1.15 if nasal else 0.95, 1.3),
        blotches=dice.about(0.42 if nasal else 0.22, 1.4),
        vessels=dice.about(0.7 if nasal else 0.8, 1.4),
        grain=dice.about(0.02, 1.5),
        tile_mm=dice.about(26.0 if nasal else 52.0, 1.35),
        wetness=dice.within(0.45, 0.8),
        bumps=dice.about(0.06 if nasal else 0.05, 1.35),
        hue=dice.within(-0.10, 0.06) if nasal else dice.within(-0.02, 0.12),
    )


def airway_lining(dice: Dice) -> Look:
    """The lining of airways: pale pink, with fine vessels and a thin film."""
    return Look(
        contrast=dice.about(0.6, 1.25),
        blood=dice.about(0.9, 1.3),
        blotches=dice.about(0.25, 1.4),
        vessels=dice.about(0.8, 1.4),
        grain=dice.about(0.02, 1.5),
        tile_mm=dice.about(32.0, 1.35),
        wetness=dice.within(0.4, 0.8),
        bumps=dice.about(0.05, 1.35),
        hue=dice.within(-0.04, 0.10),
    )


def serosa(dice: Dice) -> Look:
    """The wet, smooth cover of abdominal organs, which their regions tint."""
    return Look(
        contrast=dice.about(0.7, 1.25),
        blood=dice.about(0.9, 1.3),
        blotches=dice.about(0.22, 1.4),
        vessels=dice.about(0.8, 1.4),
        grain=dice.about(0.02, 1.5),
        tile_mm=dice.about(75.0, 1.35),
        wetness=dice.within(0.55, 0.9),
        bumps=dice.about(0.05, 1.35),
        hue=dice.within(-0.05, 0.08),
        scale=dice.about(2.2, 1.3),
    )


def clean_scope(dice: Dice, seed: int, size_px: tuple[int, int]) -> Scope:
    """A pinhole with its light in the lens."""
    disc = round_picture(size_px, 0.48)
    half = math.radians(dice.within(74.0, 86.0)) / 2
    focal = disc.radius_px / math.tan(half)
    camera = Camera(size_px, (focal, focal), disc.centre_px, source="simulated")
    shading = Shading(shadows=False, film=0.0, translucency_mm=0.0)
    return Scope(camera, disc, coaxial(), Sensor(), shading, AutoGain(lag_frames=0), Shutter(), seed)


def typical_scope(dice: Dice, seed: int, kind: Kind, size_px: tuple[int, int]) -> Scope:
    """A good scope: rigid for nose and abdomen, flexible for colon and airways, with the lamps of its kind."""
    k = size_px[0] / 320  # what the optics do grows with the pixels, what the sensor and processor do does not
    disc, camera = lens(dice, kind, size_px, 0.48)
    sensor = Sensor(
        focus_mm=dice.about(FOCUS_MM[kind], 1.3),
        defocus_px=k * dice.about(1.6, 1.4),
        soft_px=dice.about(0.6, 1.2),
        chromatic_px=k * dice.about(0.5, 1.5),
        vignetting=dice.within(0.5, 2.0),
        bloom=dice.about(0.22, 1.5),
        bloom_px=k * dice.about(3.0, 1.4),
        veil=dice.about(0.003, 1.6),
        shot=dice.about(0.025, 1.5),
        read=dice.about(0.22, 1.4),
        pattern=0.003,
        balance=(dice.about(1.0, 1.04), 1.0, dice.about(1.0, 1.06)),
        knee=dice.about(1.5, 1.2),
        sharpening=dice.about(0.45, 1.4),
        rim_px=k * dice.about(2.5, 1.4),
        notch_rad=float(dice.draw.uniform(-math.pi, math.pi)) if kind == "nasal" else None,
        black=dice.within(0.0, 3.0),
    )
    gain = AutoGain(level=dice.within(0.50, 0.60), ceiling=0.55, lag_frames=dice.about(5.0, 1.4))
    shading = Shading(film=dice.about(2.2 if kind == "nasal" else 1.4, 1.5), translucency_mm=dice.about(0.5, 1.4))
    return Scope(camera, disc, lamps(dice, kind), sensor, shading, gain, Shutter(dice.about(0.35, 1.4)), seed)


def hard_scope(dice: Dice, seed: int, kind: Kind, size_px: tuple[int, int]) -> Scope:
    """A worn scope in a wet cavity."""
    scope, k = typical_scope(dice, seed, kind, size_px), size_px[0] / 320
    sensor = replace(
        scope.sensor,
        defocus_px=2.2 * scope.sensor.defocus_px,
        soft_px=1.5 * scope.sensor.soft_px,
        chromatic_px=k * dice.within(0.7, 1.2),
        bloom=2.0 * scope.sensor.bloom,
        bloom_px=1.7 * scope.sensor.bloom_px,
        veil=dice.about(0.04, 1.5),
        shot=4.0 * scope.sensor.shot,
        read=3.0 * scope.sensor.read,
        pattern=0.012,
        sharpening=1.6 * scope.sensor.sharpening,
    )
    gain = replace(scope.gain, level=dice.within(0.42, 0.68))
    shading = replace(scope.shading, film=2.2 * scope.shading.film, samples=3)
    return replace(scope, sensor=sensor, gain=gain, shading=shading, shutter=Shutter(dice.within(0.6, 0.9)))


def round_picture(size_px: tuple[int, int], share: float, shift: tuple[float, float] = (0.0, 0.0)) -> ScopeDisc:
    """A disc of this share of the shorter side as radius, moved off the middle by shares of it."""
    width, height = size_px
    side = min(size_px)
    return ScopeDisc(size_px, (width / 2 + shift[0] * side, height / 2 + shift[1] * side), share * side)


def lens(dice: Dice, kind: Kind, size_px: tuple[int, int], share: float) -> tuple[ScopeDisc, Camera]:
    """A round picture and the lens that fills it: Brown's model for a rigid scope, a fisheye for a flexible one.

    Laparoscopes see about 70 degrees, bronchoscopes 110 to 120 (Olympus BF-P190, BF-1TH190), colonoscopes and
    gastroscopes 140 (GIF-H190) and more.
    """
    disc = round_picture(size_px, share, (dice.within(-0.012, 0.012), dice.within(-0.012, 0.012)))
    side = min(size_px)
    centre = (disc.centre_px[0] + dice.within(-0.01, 0.01) * side, disc.centre_px[1] + dice.within(-0.01, 0.01) * side)
    if kind in ("nasal", "abdomen"):
        field = (72.0, 86.0) if kind == "nasal" else (64.0, 78.0)
        half, distortion = math.radians(dice.within(*field)) / 2, Brown((dice.within(-0.24, -0.10), 0.02, 0.0, 0.0))
    else:
        half = math.radians(dice.within(*((132.0, 148.0) if kind == "colon" else (104.0, 120.0)))) / 2
        distortion = KannalaBrandt((dice.within(-0.03, 0.01), dice.within(-0.004, 0.002), 0.0, 0.0))
    edge = torch.tensor([[math.tan(half), 0.0]], dtype=torch.float64)
    focal = disc.radius_px / float(distortion.distort(edge)[0, 0])
    focal_px = (focal, focal * dice.about(1.0, 1.004))
    return disc, Camera(size_px, focal_px, centre, distortion, source="simulated")


LAMPS: dict[Kind, tuple[Callable[[], Lighting], ...]] = {
    "nasal": (rigid_4mm,),
    "colon": (colonoscope_leds, colonoscope_effective),
    "bronchus": (bronchoscope_6mm,),
    "abdomen": (laparoscope_10mm,),
}
"""Known scopes for each anatomy."""


def lamps(dice: Dice, kind: Kind) -> Lighting:
    """Lamps within 30 % of those of a known scope."""
    known = LAMPS[kind]
    light = known[int(dice.draw.integers(len(known)))]()
    light = light.varied(dice.about(1.0, 1.3), dice.about(1.0, 1.3))
    return replace(light, gamma=dice.within(2.1, 2.3), ambient=dice.about(0.06, 1.5))


def mildly_late(dice: Dice, scope: Scope) -> Scope:
    """A scope that a third of the time reads its rows over up to 4 ms, with a good recorder."""
    readout = dice.within(0.02, 0.1) if dice.happens(0.33) else 0.0
    return replace(scope, shutter=replace(scope.shutter, readout=readout), crf=round(dice.within(8.0, 13.0)))


def late(dice: Dice, scope: Scope) -> Scope:
    """A scope that reads its rows over 4 to 16 ms, or is interlaced now and then, with a bad recorder."""
    shutter = replace(scope.shutter, readout=dice.within(0.1, 0.4), fields=0.5 if dice.happens(0.2) else 0.0)
    return replace(scope, shutter=shutter, crf=round(dice.within(18.0, 26.0)))


def rarely_disturbed(dice: Dice) -> Disturbances:
    """A droplet in every fifth patient, and nothing else."""
    return Disturbances(debris=Debris(droplets=1) if dice.happens(0.2) else Debris())


def disturbed(dice: Dice) -> Disturbances:
    """Breath and pulse, a dirty lens, some fog, and an instrument in every second patient."""
    return Disturbances(
        Breathing(dice.within(0.1, 0.4), dice.about(0.3, 1.4), dice.within(0.02, 0.1), dice.about(1.2, 1.3)),
        Instrument(dice.within(1.8, 3.2), reach=dice.within(0.4, 0.7)) if dice.happens(0.5) else None,
        Debris(
            round(dice.within(1.0, 5.0)), dice.within(0.02, 0.15), round(dice.within(0.0, 5.0)), dice.within(0.0, 0.3)
        ),
    )
