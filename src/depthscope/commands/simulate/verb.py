"""The verb: checks what is asked for, makes what is missing, and tells the figures."""

import shutil
import time
from pathlib import Path
from typing import Any, Literal

import yaml

from depthscope.commands.simulate.jobs import Job, patient_job
from depthscope.commands.simulate.options import Options, light_of, require_numbers, size_px
from depthscope.commands.simulate.schedule import do_all
from depthscope.errors import BadInputError
from depthscope.reading import yaml_of
from depthscope.simulation.anatomy import SPLITS, Kind
from depthscope.simulation.faults import Faults
from depthscope.threads import usable_cores
from depthscope.workspace import (
    holding,
    is_temporary,
    read_result,
    remove,
    telling_write_errors,
    versions,
    write_result,
    write_text,
)

BYTES_PER_PIXEL, BYTES_PER_PATIENT = 18, 75_000_000
"""What a frame with its truth takes for each pixel, and a patient's CTs and surface; measured, and rounded up."""

RECORD = "simulation.yaml"
"""The options that all patients of a folder share."""


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
        BadInputError: Options out of range, a folder made with others, or too little space.
    """
    start, out = time.perf_counter(), Path(out)
    require_numbers(patients, clips, frames, board_frames, seed, split)
    if workers < 0:
        raise BadInputError(f"--workers {workers}", "0 or more")
    first = SPLITS[split].start + seed
    options = Options(
        anatomy, frames, preset, variety, size_px(size), board_frames, first, split,
        Faults.parsed(faults), light_of(light), swelling, dicom, lens,
    )  # fmt: skip
    for number in range(first, first + patients):
        options.subject(number)  # refuses what cannot be drawn before anything is written
    with telling_write_errors(out), holding(out, [] if light is None else [Path(light)]):
        _prepare(out, options)
        jobs = [patient_job(out, options, number, clips) for number in range(first, first + patients)]
        jobs = [job for job in jobs if job is not None]
        _require_space(out, options, jobs)
        try:
            do_all(jobs, workers or usable_cores())
        finally:
            for found in (*out.glob(".*"), *out.glob("patient_*/.*")):
                if is_temporary(found):  # of this process: no other holds the folder
                    remove(found)
        seconds = time.perf_counter() - start
        figures = _figures(out, options, patients, clips)
        made = sum(len(job.clips) for job in jobs) * frames
        write_result(out, {**figures, "frames_made": made, "seconds": seconds, "versions": versions()})
    print(f"{out}: {patients} patients, {patients * clips} clips of {frames} frames, in {seconds:.0f} s")
    return 0


def _prepare(out: Path, options: Options) -> None:
    """Makes the folder, or checks that it was made with the same options."""
    record = options.record
    if out.is_dir() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise BadInputError(f"{out} exists and is no simulation", "a new or empty folder", "choose another --out")
        found = yaml_of(out / RECORD, "the options of a simulation")
        different = [f"{k} {found.get(k)} (now {v})" for k, v in record.items() if found.get(k) != v]
        if different:
            raise BadInputError(
                f"{out} was made with {', '.join(different)}",
                "the same options",
                "choose another --out, or these options",
            )
    write_text(out / RECORD, yaml.safe_dump(record, sort_keys=False))


def _require_space(out: Path, options: Options, jobs: list[Job]) -> None:
    width, height = options.size_px
    clips = sum(len(job.clips) for job in jobs)
    needed = BYTES_PER_PIXEL * width * height * options.frames * clips + BYTES_PER_PATIENT * len(jobs)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise BadInputError(
            f"{free / 1e9:.1f} GB free for {out}",
            f"about {needed / 1e9:.1f} GB for {clips} clips of {options.frames} frames",
            "free space, choose another --out, or ask for less",
        )


def _figures(out: Path, options: Options, patients: int, clips: int) -> dict[str, Any]:
    numbers = range(options.first, options.first + patients)
    names = [f"patient_{n:05d}/clip_{c:02d}" for n in numbers for c in range(clips)]
    found = [read_result(out / name) for name in names]
    return {
        "anatomy": options.anatomy,
        "preset": options.preset,
        "patients": list(numbers),
        "split": options.split,
        "clips": names,
        "frames": options.frames * len(names),
        "points_per_frame": sum(f["points_per_frame"] for f in found) / len(found),
        "mean_track_length": sum(f["mean_track_length"] for f in found) / len(found),
        "unit": "mm",
    }
