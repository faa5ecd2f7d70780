"""Folders of simulated single frames, one for each patient."""

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.simulation.anatomy import Kind

BYTES_PER_PIXEL = 10
"""What a pixel of a frame takes in a store: colours, depth, ray and labels."""


@dataclass(frozen=True)
class StillsOfPatient:
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


def make_stills(missing: Sequence[StillsOfPatient], workers: int, made: Callable[[], None]) -> None:
    """Makes the frames of some patients by so many processes.

    Args:
        missing: What is to be made.
        workers: Processes; with 1 all is done in this one.
        made: Called after each patient.
    """
    if workers == 1:
        for patient in missing:
            pack(patient)
            made()
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _single_thread, (os.getpid(),)) as pool:
        for future in as_completed([pool.submit(pack, patient) for patient in missing]):
            future.result()
            made()


def pack(patient: StillsOfPatient) -> None:
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


def require_space(out: Path, missing: list[StillsOfPatient]) -> None:
    """Refuses what the disk has no room for.

    Raises:
        BadInputError: There is too little space.
    """
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
