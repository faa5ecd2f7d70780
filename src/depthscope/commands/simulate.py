"""``depthscope simulate --out DIR``."""

from pathlib import Path
from typing import Literal

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import SPLITS, Kind
from depthscope.simulation.faults import Faults
from depthscope.simulation.patients.folder import simulate_patients
from depthscope.simulation.patients.options import SimulationOptions, light_of, require_numbers, size_px


def simulate(
    out: Path,
    anatomy: Kind = "nasal",
    patients: int = 1,
    clips: int = 1,
    frames: int = 40,
    seed: int = 0,
    preset: Literal["clean", "typical", "hard"] = "typical",
    size: str = "320x256",
    variety: float = 1.0,
    split: Literal["train", "validation", "test"] = "train",
    board_frames: int = 20,
    workers: int = 0,
    faults: str = "",
    light: str | None = None,
    swelling: float | None = None,
    dicom: bool = True,
    lens: str | None = None,
) -> int:
    """Simulates patients: a CT and a surface of each, and endoscopic clips with true depth, motions and points.

    A second call with the same options does what is missing; more patients or clips may be asked for.

    Args:
        out: Folder for all patients.
        anatomy: What is simulated.
        patients: How many patients.
        clips: Clips of each patient.
        frames: Frames of each clip.
        seed: Number of the first patient within its split; everything drawn is a function of the patients' numbers.
        preset: How difficult: clean (pinhole, light in the lens, no faults), typical, hard.
        size: Size of the frames in pixels.
        variety: Dial of the domain randomisation: 0 gives every patient the middle of each range, 1 all of it.
        split: That the patients belong to; no patient is in two.
        board_frames: Frames of each clip's calibration board clip.
        workers: Processes (0: one for each core). The result does not depend on it.
        faults: What makes structure from motion fail, as name=severity,...; severities are 0 to 1.
        light: Lamps of the scope: rigid_4mm, bronchoscope_6mm, laparoscope_10mm, colonoscope_leds,
            colonoscope_effective, coaxial, or a YAML file.
        swelling: How far the mucosa swells between CT and video, in mm, 0 to 1.5; the preset's by default.
        dicom: Write each CT as a DICOM series too.
        lens: Lens of the scope: sinus_70, laparoscope_90, bronchoscope_110, bronchoscope_120, gastroscope_140,
            colonoscope_160 or colonoscope_170, the degrees that the picture spans; one of the anatomy's by default.

    Raises:
        BadInputError: SimulationOptions out of range, a folder made with others, or too little space.
    """
    out = Path(out)
    require_numbers(patients, clips, frames, board_frames, seed, split)
    if workers < 0:
        raise BadInputError(f"--workers {workers}", "0 or more")
    options = SimulationOptions(
        anatomy, frames, preset, variety, size_px(size), board_frames, SPLITS[split].start + seed, split,
        Faults.parsed(faults), light_of(light), swelling, dicom, lens,
    )  # fmt: skip
    inputs = [] if light is None else [Path(light)]
    found = simulate_patients(out, options, patients, clips, workers=workers, inputs=inputs)
    clips_made = f"{patients * clips} clips of {frames} frames"
    print(f"{out}: {patients} patients, {clips_made}, in {found['seconds']:.0f} s")
    return 0
