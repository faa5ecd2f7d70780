"""A picture of what each fault does to a clip: frames 0, 10 and 20 of a typical clip, at full severity.

    python benchmarks/fault_sheet.py --out DIR [--seed 3]

Writes ``faults.jpg``, a row for each fault.
"""

import argparse
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.simulation.anatomy import patient
from depthscope.simulation.clip_files import Take, gains, photographed, scene_of, view_of
from depthscope.simulation.faults import Faults, with_faults
from depthscope.simulation.patch import flat_patch
from depthscope.simulation.path import camera_from_world
from depthscope.simulation.presets import subject

SHOWN = (0, 10, 20)


def main() -> None:
    """Reads the arguments, renders, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", default="", help="names of faults, with commas")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    anatomy, plain = patient(given.seed, "nasal"), subject(given.seed, "nasal")
    scene = scene_of(anatomy, plain.look)
    names = [field.name for field in fields(Faults) if field.name != "wrong_focal"]
    rows = []
    for name in ["none", *names]:
        if given.only and name not in given.only.split(","):
            continue
        drawn = with_faults(plain, Faults() if name == "none" else Faults(**{name: 1.0}))
        motions = camera_from_world(anatomy, 0, SHOWN[-1] + 2, drawn.trajectory)
        texture = replace(scene.texture, look=drawn.look)
        seen = replace(scene, texture=texture)
        if drawn.disturbances.planar:
            view = view_of(drawn.scope.camera, drawn.scope.disc)
            seen = flat_patch(seen, view, motions[0], drawn.disturbances.planar, given.seed)
        take = Take(seen, drawn.scope, motions, given.seed, 0, drawn.disturbances.of_clip(given.seed, 0))
        row = []
        for number in SHOWN:
            gain = gains(take, range(number, number + 1))[0]
            rendered, hidden, shown = photographed(take, number, gain)
            row.append(shown.flip(-1).numpy())
        masks = (rendered.instrument.numpy() * 255, hidden.numpy() * 255, rendered.shadow.numpy() * 110)
        row.append(np.stack([np.uint8(mask) for mask in masks], -1))
        strip = np.ascontiguousarray(np.concatenate(row, 1))
        cv2.putText(strip, name, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        rows.append(strip)
    cv2.imwrite(str(given.out / "faults.jpg"), np.concatenate(rows, 0), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
