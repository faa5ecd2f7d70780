"""Phantoms at a glance: patients by presets, and real frames beside them where they are given.

    python benchmarks/contact_sheet.py --out docs/images/phantoms.jpg
    python benchmarks/contact_sheet.py --real shared/data --out /tmp/phantoms_and_real.jpg

Real frames are patient-derived: a sheet that shows them does not belong into the repository.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.pictures import contact_sheet
from depthscope.simulation.anatomy import Kind, patient
from depthscope.simulation.clip_files import Take, frame, gains, scene_of
from depthscope.simulation.path import TrajectoryOptions, camera_from_world
from depthscope.simulation.presets import Preset, subject
from depthscope.video import read_image, read_video, write_image

PATIENTS: tuple[tuple[int, Kind], ...] = ((3, "nasal"), (8, "nasal"), (5, "colon"), (12, "colon"))
PRESETS: tuple[Preset, ...] = ("clean", "typical", "hard")


def main() -> None:
    """Draws the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--size", default="320x256")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    width, height = map(int, given.size.split("x"))
    rows = []
    for seed, kind in PATIENTS:
        anatomy = patient(seed, kind)
        motions = camera_from_world(anatomy, 0, 3, TrajectoryOptions(start=0.35))
        row = []
        for preset in PRESETS:
            drawn = subject(seed, kind, preset, 1.0, (width, height))
            take = Take(scene_of(anatomy, drawn.look), drawn.scope, motions, seed, 0)
            row.append(frame(take, 1, gains(take, range(1, 2))[0])[1])
        rows.append(row)
    titles = PRESETS
    if given.real:
        titles = (*PRESETS, "real")
        rows = [[*row, real] for row, real in zip(rows, real_frames(given.real), strict=True)]
    sheet = contact_sheet(rows, titles, [f"{kind} {seed}" for seed, kind in PATIENTS], height)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_image(given.out, sheet, quality=82)
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} kB")


def real_frames(data: Path) -> list[torch.Tensor]:
    """Four real frames, cut to their round picture."""
    sinus = sorted(data.glob("sinus/*/*/*.jpg"))
    lap = [f for i, f in enumerate(read_video(data / "laparoscopy" / "endo.mp4")) if i in (5, 125)]
    found = []
    for picture in (read_image(sinus[0]), read_image(sinus[-1]), *lap):
        bright = picture.numpy().max(-1) > 30
        rows, columns = np.flatnonzero(bright.mean(1) > 0.05), np.flatnonzero(bright.mean(0) > 0.05)
        found.append(picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return found


if __name__ == "__main__":
    main()
