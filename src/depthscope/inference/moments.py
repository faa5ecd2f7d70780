"""Moments of a video with sound: the nearest ones in either sense."""

import csv
from pathlib import Path

import torch

NEAREST = 30
"""Moments that are listed for a query."""


def light(sounding):
    """A moment without its picture and map, to be kept for all of a long video."""
    from dataclasses import replace

    frame = replace(sounding.frame, image=torch.zeros(1, 1, 3, dtype=torch.uint8))
    return replace(sounding, frame=frame, heat=torch.zeros(1, 1))


def write_neighbours(path: Path, found: list, query_time: float, name_of) -> None:
    """Frames nearest to the sound of a moment, and sounds nearest to its frame, the nearest first."""
    asked = min(found, key=lambda one: abs(one.time_s - query_time))
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["of", "rank", "time_s", "frame", "distance"])
        for kind, mine, theirs in (("frame of this sound", "heard", "seen"), ("sound of this frame", "seen", "heard")):
            query = getattr(asked, mine)
            away = [(float((getattr(one, theirs) - query).norm()), one) for one in found]
            away.sort(key=lambda pair: pair[0])
            for rank, (distance, one) in enumerate(away[:NEAREST], 1):
                table.writerow([kind, rank, f"{one.time_s:.3f}", name_of(one.frame.index), f"{distance:.4f}"])
