"""What makes structure from motion fail, each with a severity from 0 (not there) to 1, through the rendered video.

The letters are those of the project's list of failures: highlights that carry tracks (F2), dirt that stands still (F3),
nearly pure rotation (F4), pure forward motion (F5), a planar patch (F6), a wrong focal length (F7), tissue or an
instrument that moves (F8), too few points (F11), rows read one after another (F12), anatomy that repeats (F13).
"""

from dataclasses import dataclass, fields, replace

from depthscope.errors import BadInputError
from depthscope.simulation.breathing import Breathing
from depthscope.simulation.exposure import Shutter
from depthscope.simulation.instrument import Instrument
from depthscope.simulation.path import TrajectoryOptions
from depthscope.simulation.presets import Subject


@dataclass(frozen=True)
class Faults:
    """Severities.

    Attributes:
        rolling_shutter: Rows are read over up to 16 of the 40 ms between frames, by a hand that trembles more.
        interlaced: Every second row lags by up to half a frame.
        breathing: Tissue moves by up to 1.5 mm to either side, with breath and pulse.
        highlights: The wet film mirrors up to seven times as much.
        instrument: An instrument of up to 4 mm moves in and out of the view.
        debris: Droplets, a film over up to half of the lens, floating bits.
        fog: Takes up to 95 % of the contrast, and comes and goes.
        blur: Long exposure and a soft lens.
        pure_rotation: Takes away translation, and turns more.
        pure_forward: Takes away what leads aside, and turns, and most of the way.
        static_scene: Takes away translation and rotation: the camera stands still.
        planar: A patch of tissue takes the anatomy's place; flat at 1.
        low_texture: Takes away what the tissue shows.
        repeated: The same few vessels everywhere.
        wrong_focal: The share that the focal length in the camera file is too long by.
    """

    rolling_shutter: float = 0.0
    interlaced: float = 0.0
    breathing: float = 0.0
    highlights: float = 0.0
    instrument: float = 0.0
    debris: float = 0.0
    fog: float = 0.0
    blur: float = 0.0
    pure_rotation: float = 0.0
    pure_forward: float = 0.0
    static_scene: float = 0.0
    planar: float = 0.0
    low_texture: float = 0.0
    repeated: float = 0.0
    wrong_focal: float = 0.0

    def __post_init__(self) -> None:
        for name, severity in self.severities.items():
            if not 0 <= severity <= 1:
                raise BadInputError(f"fault {name}={severity:g}", "a severity from 0 to 1")
        still = [name for name in ("pure_rotation", "pure_forward", "static_scene") if getattr(self, name)]
        if len(still) > 1:
            raise BadInputError(f"faults {' and '.join(still)}", "one fault of the camera's way at a time")

    @property
    def severities(self) -> dict[str, float]:
        """Each fault's severity, by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def parsed(cls, text: str) -> "Faults":
        """From text such as ``fog=0.5,debris=1``; nothing is no fault.

        Raises:
            BadInputError: An unknown name, a name twice, or a severity that is none.
        """
        known, found = [field.name for field in fields(cls)], {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, severity = (piece.strip() for piece in part.partition("="))
            if name not in known:
                raise BadInputError(f"fault {name!r}", f"one of {', '.join(known)}", "write name=severity")
            if name in found:
                raise BadInputError(f"fault {name} twice in {text!r}", "each fault once")
            try:
                found[name] = float(severity)
            except ValueError:
                raise BadInputError(f"fault {part!r}", f"{name}=SEVERITY, from 0 to 1") from None
        return cls(**found)


def with_faults(subject: Subject, faults: Faults) -> Subject:
    """The subject with faults; without any it is the same one."""
    if faults == Faults():
        return subject
    return replace(
        subject,
        look=_look(subject, faults),
        scope=_scope(subject, faults),
        trajectory=_trajectory(subject.trajectory, faults),
        disturbances=_disturbances(subject, faults),
        told_focal=max(subject.told_focal, faults.wrong_focal),
    )


def _look(subject: Subject, faults: Faults):
    look, plain, same = subject.look, 1 - faults.low_texture, faults.repeated
    return replace(
        look,
        contrast=plain * look.contrast,
        blotches=(1 - same) * look.blotches,
        grain=(1 - same) * look.grain,
        tile_mm=look.tile_mm * (7.0 / look.tile_mm) ** same,
        wetness=look.wetness + faults.highlights * max(0.95 - look.wetness, 0.0),
    )


def _scope(subject: Subject, faults: Faults):
    scope, k = subject.scope, subject.scope.camera.size_px[0] / 320
    shutter = Shutter(
        open=max(scope.shutter.open, 0.95 * faults.blur),
        readout=max(scope.shutter.readout, 0.4 * faults.rolling_shutter),
        fields=max(scope.shutter.fields, 0.5 * faults.interlaced),
    )
    film = scope.shading.film + faults.highlights * max(6.0 * scope.shading.film, 6.0)
    shading = replace(scope.shading, film=film * (1 - 0.9 * faults.low_texture))
    sensor = replace(
        scope.sensor,
        soft_px=scope.sensor.soft_px + 3.5 * k * faults.blur,
        bloom=scope.sensor.bloom + 0.3 * faults.highlights,
    )
    return replace(scope, shutter=shutter, shading=shading, sensor=sensor)


def _trajectory(trajectory: TrajectoryOptions, faults: Faults) -> TrajectoryOptions:
    shake = faults.rolling_shutter
    trajectory = replace(
        trajectory,
        tremor_mm=trajectory.tremor_mm + shake * max(0.5 - trajectory.tremor_mm, 0.0),
        tremor_deg=trajectory.tremor_deg + shake * max(1.0 - trajectory.tremor_deg, 0.0),
    )
    if faults.pure_rotation:
        turns = trajectory.rotation_deg + 12.0 * faults.pure_rotation
        return replace(trajectory, travel=1 - faults.pure_rotation, rotation_deg=turns)
    if faults.pure_forward:
        less = 1 - faults.pure_forward
        length = trajectory.baseline * (1 - 0.6 * faults.pure_forward)
        return replace(trajectory, manner="insertion", aside=less, turning=less, baseline=max(length, 0.02))
    if faults.static_scene:
        return replace(trajectory, travel=1 - faults.static_scene, turning=1 - faults.static_scene)
    return trajectory


def _disturbances(subject: Subject, faults: Faults):
    given = subject.disturbances
    breathing, instrument, debris = given.breathing, given.instrument, given.debris
    if faults.breathing:
        breathing = Breathing(1.2 * faults.breathing, 0.4, 0.3 * faults.breathing, 1.2)
    if faults.instrument:
        instrument = Instrument(1.5 + 2.5 * faults.instrument, reach=0.3 + 0.5 * faults.instrument)
    if faults.debris:
        s = faults.debris
        debris = replace(debris, droplets=1 + round(13 * s), film=max(debris.film, 0.5 * s), bits=round(14 * s))
    if faults.fog:
        debris = replace(debris, fog=max(debris.fog, 0.95 * faults.fog))
    return replace(given, breathing=breathing, instrument=instrument, debris=debris, planar=faults.planar)
