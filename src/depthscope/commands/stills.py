"""``depthscope stills --out STORE``."""

import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal, get_args

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import SPLITS, Kind
from depthscope.threads import usable_cores

BYTES_PER_PIXEL = 10
"""What a pixel of a frame takes in a store: colours, depth, ray and labels."""


@dataclass(frozen=True)
class Patient:
    """Frames of one patient that are to be made.

    Attributes:
        out: Folder of the store.
        anatomy: What is simulated.
        seed: The patient's.
        frames: How many.
        size_px: (width, height) of each.
        draw: Seed of viewpoints and looks.
    """

    out: Path
    anatomy: Kind
    seed: int
    frames: int
    size_px: tuple[int, int]
    draw: int

    @property
    def folder(self) -> Path:
        """Where they come to lie."""
        return self.out / f"{self.anatomy}_{self.seed:05d}_{self.draw}"


def stills(
    out: Path,
    anatomy: Literal["all", "nasal", "colon", "bronchus", "abdomen"] = "all",
    patients: int = 4,
    frames: int = 48,
    seed: int = 0,
    draw: int = 0,
    size: str = "288x240",
    split: Literal["train", "validation", "test"] = "train",
    workers: int = 0,
) -> int:
    """Single frames of simulated patients with their true depth, to train on: every frame has its own lens and light.

    A second call does what is missing; more patients may be asked for, and folders of several calls used together.

    Args:
        out: Folder for all patients.
        anatomy: What is simulated; all takes each kind in turn.
        patients: How many patients, of each kind.
        frames: Frames of each patient.
        seed: Number of the first patient within its split.
        draw: Number that viewpoints, lenses and looks are drawn from; another one gives other frames of the patients.
        size: Size of the frames in pixels.
        split: That the patients belong to; no patient is in two.
        workers: Processes (0: one for each core). The result does not depend on it.

    Raises:
        BadInputError: Options out of range, or too little space.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from depthscope.commands.simulate.options import size_px
    from depthscope.workspace import holding, telling_write_errors

    began, pixels = time.perf_counter(), size_px(size)
    if patients < 1 or frames < 1 or seed < 0 or draw < 0 or workers < 0:
        raise BadInputError(
            f"--patients {patients}, --frames {frames}, --seed {seed}, --draw {draw}, --workers {workers}",
            "1 or more patients and frames, and nothing negative",
        )
    if seed + patients > len(SPLITS[split]):
        raise BadInputError(
            f"patients up to {seed + patients - 1} of the {split} split", f"0 to {len(SPLITS[split]) - 1}"
        )
    kinds = get_args(Kind) if anatomy == "all" else (anatomy,)
    first = SPLITS[split].start + seed
    wanted = [Patient(out, kind, first + n, frames, pixels, draw) for n in range(patients) for kind in kinds]
    missing = [patient for patient in wanted if not (patient.folder / "result.json").is_file()]
    with telling_write_errors(out), holding(out):
        _require_space(out, missing)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            bar = progress.add_task("patients", total=len(wanted), completed=len(wanted) - len(missing))
            count = workers or usable_cores()
            if count == 1:
                for patient in missing:
                    pack(patient)
                    progress.advance(bar)
            else:
                with ProcessPoolExecutor(count, get_context("spawn"), _single_thread, (os.getpid(),)) as pool:
                    for future in as_completed([pool.submit(pack, patient) for patient in missing]):
                        future.result()
                        progress.advance(bar)
    seconds = time.perf_counter() - began
    print(f"{out}: {len(wanted)} patients of {frames} frames, {len(missing)} made in {seconds:.0f} s")
    return 0


def pack(patient: Patient) -> None:
    """Makes the frames of one patient, whole or not at all."""
    from depthscope.networks.ray_channels import ray_channels
    from depthscope.simulation.still_store import CONTENT, FOREIGN, packing, rays_of
    from depthscope.simulation.stills import stills as drawn
    from depthscope.workspace import write_result, writing_folder

    with writing_folder(patient.folder) as folder:
        arrays = packing(folder, patient.frames, patient.size_px)
        fields = []
        for number, still in enumerate(
            drawn(patient.anatomy, patient.seed, patient.draw, patient.frames, patient.size_px)
        ):
            arrays["images"][number] = still.image
            arrays["depth"][number] = still.depth
            rays = ray_channels(rays_of(still.camera))
            arrays["rays"][number] = rays
            arrays["labels"][number] = CONTENT * still.content + FOREIGN * still.foreign
            fields.append(2 * float(rays.norm(dim=-1)[still.content].max().rad2deg()) if still.content.any() else 0.0)
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        write_result(
            folder,
            {
                "anatomy": patient.anatomy,
                "patient": patient.seed,
                "draw": patient.draw,
                "frames": patient.frames,
                "size_px": list(patient.size_px),
                "field_deg": fields,
            },
        )


def _require_space(out: Path, missing: list[Patient]) -> None:
    import shutil

    needed = sum(BYTES_PER_PIXEL * p.size_px[0] * p.size_px[1] * p.frames for p in missing)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise BadInputError(
            f"{free / 1e9:.1f} GB free for {out}", f"about {needed / 1e9:.1f} GB", "free space, or ask for less"
        )


def _single_thread(parent: int) -> None:
    """One thread in each process, as the processes are the cores' work; none outlives the command."""
    import cv2
    import torch

    from depthscope.workspace import die_with_parent

    die_with_parent(parent)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
