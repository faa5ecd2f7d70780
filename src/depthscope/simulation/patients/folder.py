"""A folder of simulated patients: made once, completed by later calls, never mixed."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from depthscope.errors import BadInputError
from depthscope.reading import yaml_of
from depthscope.simulation.patients.jobs import SimulationJob, patient_job
from depthscope.simulation.patients.options import SimulationOptions
from depthscope.simulation.patients.schedule import do_all
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


def simulate_patients(
    out: Path,
    options: SimulationOptions,
    patients: int = 1,
    clips: int = 1,
    *,
    workers: int = 0,
    inputs: Sequence[Path] = (),
) -> dict[str, Any]:
    """Makes what is missing of a folder of patients, and writes and returns its figures.

    Args:
        out: Folder for all patients.
        options: What they have in common.
        patients: How many, from `options.first` on.
        clips: Of each patient.
        workers: Processes (0: one for each core). The result does not depend on it.
        inputs: Files that the options were read from.

    Raises:
        BadInputError: Something cannot be drawn, the folder was made with other options, or there is too little space.
    """
    start, numbers = time.perf_counter(), range(options.first, options.first + patients)
    for number in numbers:
        options.subject(number)  # refuses what cannot be drawn before anything is written
    with telling_write_errors(out), holding(out, inputs):
        _prepare(out, options)
        jobs = [job for number in numbers if (job := patient_job(out, options, number, clips)) is not None]
        _require_space(out, options, jobs)
        try:
            do_all(jobs, workers or usable_cores())
        finally:
            for found in (*out.glob(".*"), *out.glob("patient_*/.*")):
                if is_temporary(found):  # of this process: no other holds the folder
                    remove(found)
        made = sum(len(job.clips) for job in jobs) * options.frames
        took = {"frames_made": made, "seconds": time.perf_counter() - start, "versions": versions()}
        figures = {**_figures(out, options, patients, clips), **took}
        write_result(out, figures)
    return figures


def _prepare(out: Path, options: SimulationOptions) -> None:
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


def _require_space(out: Path, options: SimulationOptions, jobs: list[SimulationJob]) -> None:
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


def _figures(out: Path, options: SimulationOptions, patients: int, clips: int) -> dict[str, Any]:
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
