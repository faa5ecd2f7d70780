"""Matches between real frames by feature, at growing gaps, against a published motion: how many, how many right.

    python benchmarks/feature_matches.py --sequence FOLDER [--features sift,xfeat] [--gaps 1,5,10,20] [--pairs 3]

The frames of a sequence with published poses, as structure from motion sees them (half a million pixels, contrast
evened out). Matches are each other's nearest; one is right where it lies within 2 working pixels of the epipolar line
of the published motion (Sampson distance). Chance alone makes some right, so shares count beside numbers.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from depthscope.formats import read_sequence
from depthscope.reconstruction.joining.appearance import Appearance
from depthscope.sequence import Sequence

WITHIN_PX = 2.0


def sampson_px(sequence: Sequence, one: int, other: int, pixels: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Distance of matches from the epipolar geometry of the poses, pixels of the frames.

    Args:
        sequence: With cameras that have rays for pixels.
        one: A frame.
        other: Another one.
        pixels: Of the matches in each.
    """
    cameras = sequence.cameras[one], sequence.cameras[other]
    planes = []
    for camera, places in zip(cameras, pixels, strict=True):
        rays = camera.unproject(torch.from_numpy(places))
        planes.append(rays / rays[:, 2:])
    motion = sequence.camera_from_world[other] @ sequence.camera_from_world[one].inverse()
    x, y, z = motion.translation.tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    essential = cross @ motion.rotation
    line, back = planes[0] @ essential.T, planes[1] @ essential
    off = (planes[1] * line).sum(1).abs()
    return (off / (line[:, :2].square().sum(1) + back[:, :2].square().sum(1)).sqrt() * cameras[0].focal_px[0]).numpy()


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequence", type=Path, required=True)
    parser.add_argument("--features", default="sift,xfeat")
    parser.add_argument("--gaps", default="1,5,10,20")
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    sequence = read_sequence(given.sequence)
    mask = None if sequence.mask is None else sequence.mask.numpy().astype(np.uint8)
    print("| features | gap, frames | matches | right | share | CPU s a frame | CPU s a pair |")
    print("|---" * 7 + "|")
    for name in given.features.split(","):
        match = Appearance(mask, "" if name == "sift" else name)
        factor = match.front_end.working_size(sequence.size_px)[0] / sequence.size_px[0]
        match.features(sequence.images[0])  # loads the network
        for gap in map(int, given.gaps.split(",")):
            starts = np.linspace(0, len(sequence) - 1 - gap, given.pairs).round().astype(int).tolist()
            spent, fresh, rows = 0.0, 0.0, []
            for start in starts:
                images = sequence.images[start], sequence.images[start + gap]
                before, known = time.process_time(), len(match.kept)
                for image in images:
                    match.features(image)
                fresh += (time.process_time() - before) / max(1, len(match.kept) - known)
                before = time.process_time()
                pixels = match(*images)
                spent += time.process_time() - before
                near = sampson_px(sequence, start, start + gap, pixels) * factor < WITHIN_PX
                rows.append((len(near), int(near.sum())))
            count, right = np.median(rows, 0).astype(int).tolist()
            print(
                f"| {name} | {gap} | {count} | {right} | {right / max(count, 1):.0%} | {fresh / len(starts):.2f} "
                f"| {spent / len(starts):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
