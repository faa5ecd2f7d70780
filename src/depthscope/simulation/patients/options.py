"""What is asked for: options that all patients and clips of a folder share, and how they are read."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cattrs

from depthscope.errors import BadInputError
from depthscope.reading import yaml_of
from depthscope.simulation.anatomy import SPLITS, Kind, Split
from depthscope.simulation.faults import Faults, with_faults
from depthscope.simulation.lenses import FIELDS_DEG, lens_for
from depthscope.simulation.light import LIGHTINGS, Lighting, lighting
from depthscope.simulation.presets import Preset, Scope, Subject, subject


@dataclass(frozen=True)
class SimulationOptions:
    """What all patients and clips of a folder have in common.

    Attributes:
        anatomy: What is simulated.
        frames: Of each clip.
        preset: How difficult.
        variety: Dial of the domain randomisation.
        size_px: (width, height) of the frames.
        board_frames: Frames of the calibration clip.
        first: Number of the first patient.
        split: That the patients belong to.
        faults: Of all clips.
        light: The lamps of all scopes; None draws those of known scopes.
        swelling_mm: Between CT and video; None is the preset's.
        dicom: Whether CTs are written as DICOM series too.
        lens: Name of the lens of all scopes; None draws those of the anatomy's scopes.
    """

    anatomy: Kind = "nasal"
    frames: int = 40
    preset: Preset = "typical"
    variety: float = 1.0
    size_px: tuple[int, int] = (320, 256)
    board_frames: int = 20
    first: int = 0
    split: Split = "train"
    faults: Faults = field(default_factory=Faults)
    light: Lighting | None = None
    swelling_mm: float | None = None
    dicom: bool = True
    lens: str | None = None

    def subject(self, patient: int) -> Subject:
        """What is drawn for a patient."""
        drawn = subject(patient, self.anatomy, self.preset, self.variety, self.size_px)
        if self.light is not None:
            drawn = replace(drawn, scope=replace(drawn.scope, lighting=self.light))
        if self.lens is not None:
            drawn = replace(drawn, scope=with_lens(drawn.scope, self.lens))
        if self.swelling_mm is not None:
            drawn = replace(drawn, swelling_mm=self.swelling_mm)
        return with_faults(drawn, self.faults)

    @property
    def record(self) -> dict[str, Any]:
        """All of it in terms of YAML; two folders with the same record hold the same."""
        plain = asdict(self) | {"faults": {name: x for name, x in self.faults.severities.items() if x}}
        return json.loads(json.dumps(plain))


def require_numbers(patients: int, clips: int, frames: int, board_frames: int, seed: int, split: Split) -> None:
    """Refuses numbers of things that cannot be made.

    Raises:
        BadInputError: One is too small, or the patients are not all of the split.
    """
    numbers = {"patients": patients, "clips": clips, "board_frames": board_frames}
    for name, value in numbers.items():
        if value < 1:
            raise BadInputError(f"--{name.replace('_', '-')} {value}", "at least 1")
    if frames < 3:
        raise BadInputError(f"--frames {frames}", "at least 3 to follow a point over")
    if seed < 0 or seed + patients > len(SPLITS[split]):
        raise BadInputError(
            f"patients {seed} to {seed + patients - 1} of the {split} split",
            f"0 to {len(SPLITS[split]) - 1}",
            "choose a smaller --seed or fewer --patients",
        )


def size_px(text: str) -> tuple[int, int]:
    """Width and height from text such as 320x256.

    Raises:
        BadInputError: It is no size, or odd, which no video has.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise BadInputError(f"--size {text}", "WIDTHxHEIGHT in pixels, such as 320x256")
    width, height = int(parts[0]), int(parts[1])
    if width % 2 or height % 2:
        raise BadInputError(f"--size {text}", "even numbers", "the video's colours are stored for 2 x 2 pixels")
    return width, height


def with_lens(scope: Scope, name: str) -> Scope:
    """The scope with a lens preset in place of its own: narrow ones nearly straight, wide ones nearly equisolid.

    Raises:
        BadInputError: No preset of this name.
    """
    if name not in FIELDS_DEG:
        raise BadInputError(f"--lens {name}", f"one of {', '.join(FIELDS_DEG)}")
    field_deg = FIELDS_DEG[name]
    return replace(scope, camera=lens_for(scope.disc, field_deg, 0.5 if field_deg < 100 else -0.4))


def light_of(text: str | None) -> Lighting | None:
    """The lamps of a known scope by its name, or those of a YAML file; None where none is asked for.

    Raises:
        BadInputError: No such scope or file, or lamps that the model does not know.
    """
    if text is None:
        return None
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        if text not in LIGHTINGS:
            raise BadInputError(f"--light {text}", f"one of {', '.join(LIGHTINGS)}, or a YAML file")
        return lighting(text)
    try:
        told = yaml_of(path, "a file of lamps", object)
        return cattrs.Converter(forbid_extra_keys=True).structure(told, Lighting)
    except BadInputError as error:
        raise BadInputError(f"--light {path} cannot be read ({error.found})", "a YAML file") from error
    except (ExceptionGroup, AttributeError, TypeError, ValueError) as error:
        raise _first_cause(error, path) from error


def _first_cause(error: BaseException, path: Path) -> BadInputError:
    """What is wrong with a file of lamps, in one line."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, BadInputError):
        return error
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BadInputError(
        f"--light {path}: {line}", "lamps, gamma and ambient", "see docs/simulation.md for the fields of a lamp"
    )
