"""Sequence folders joined into maps, each a sequence folder of its own."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from depthscope.errors import BadInputError
from depthscope.formats import camera_file, write_sequence
from depthscope.reconstruction.joining.adjustment import MapAdjustment, adjusted_map
from depthscope.reconstruction.joining.appearance import Appearance
from depthscope.reconstruction.joining.graph import Map, maps_of
from depthscope.reconstruction.joining.joint import Joint
from depthscope.reconstruction.joining.merging import merged
from depthscope.reconstruction.joining.search import Tell, joints_of
from depthscope.sequence import Sequence
from depthscope.workspace import atomic_folder, scratch_folder, write_result


@dataclass(frozen=True, eq=False)
class Joined:
    """What became of several sequences.

    Attributes:
        maps: Which of them lie together, the largest map first.
        sequences: The sequence of each map; that of a map with one member is the member itself.
        joints: What was found between pairs, also what is not believed.
        adjustments: What bundle adjustment did to each map; None for one of a single member.
    """

    maps: tuple[Map, ...]
    sequences: tuple[Sequence, ...]
    joints: dict[tuple[int, int], Joint]
    adjustments: tuple[MapAdjustment | None, ...]


def join(sequences: list[Sequence], seed: int = 0, tell: Tell = lambda done, total: None) -> Joined:
    """Puts sequences that see the same places into one world and one unit of length.

    Args:
        sequences: Of one size of frames; frames of one name must be one frame (`staged` sees to it).
        seed: Of everything random.
        tell: Told how many of how many pairs were looked at.

    Raises:
        BadInputError: Frames of different sizes.
    """
    sizes = {sequence.size_px for sequence in sequences}
    if len(sizes) > 1:
        raise BadInputError(f"sequences of frames of {sorted(sizes)} pixels", "one size", "join those of one recording")
    masks = [sequence.mask.numpy() for sequence in sequences if sequence.mask is not None]
    mask = np.all(masks, 0).astype(np.uint8) if len(masks) == len(sequences) and masks else None
    joints = joints_of(sequences, Appearance.best(mask), seed, tell)
    maps = maps_of(len(sequences), joints, [sequence.median_depth for sequence in sequences])
    found = [
        (sequences[one.members[0]], None)
        if len(one.members) == 1
        else adjusted_map(merged(sequences, one, f"map_{number:03d}", joints), seed)
        for number, one in enumerate(maps)
    ]
    return Joined(maps, tuple(one for one, _ in found), joints, tuple(adjustment for _, adjustment in found))


def staged(sequences: list[Sequence], folder: Path) -> list[Sequence]:
    """The sequences with their images copied into one folder, where one name is one frame.

    Frames of one name are one frame where their files are alike, as where clips of a video overlap; where they differ,
    as in two videos, the later one is called after its sequence too.

    Args:
        sequences: With images that can be read.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, sequence in enumerate(sequences):
        images = []
        for image in sequence.images:
            place = folder / image.name
            if place.exists() and place.read_bytes() != image.read_bytes():
                place = folder / f"{sequence.name}_{number}_{image.name}"
            if not place.exists():
                shutil.copyfile(image, place)
            images.append(place)
        found.append(replace(sequence, images=tuple(images)))
    return found


def write_map(sequence: Sequence, folder: Path) -> dict[str, Any]:
    """Writes a map as a sequence folder, with the camera if it is one for all frames; returns its figures."""
    write_sequence(replace(sequence, unregistered=()), folder)
    if len(set(sequence.cameras)) == 1:
        camera_file.write(sequence.cameras[0], folder / "camera.yaml")
    return {
        "frames": len(sequence),
        "registered": len(sequence),
        "points": len(sequence.points),
        "mean_track_length": len(sequence.observations) / len(sequence.points),
    }


def write_maps(
    sequences: list[Sequence], out: Path, seed: int = 0, tell: Tell = lambda done, total: None
) -> list[dict]:
    """Joins sequences and writes every map of two and more into a folder of its own, ``map_000`` and so on.

    Args:
        sequences: Accepted ones, by names that differ.
        out: Where the folders go.
        seed: Of everything random.
        tell: Told how many of how many pairs were looked at.

    Returns:
        For each map that was written its figures: name, members, joints, and what was left out.
    """
    names = [sequence.name for sequence in sequences]
    rows = []
    with scratch_folder() as place:
        found = join(staged(sequences, place / "images"), seed, tell)
        for one, sequence, adjustment in zip(found.maps, found.sequences, found.adjustments, strict=True):
            if adjustment is None:
                continue
            name = f"map_{len(rows):03d}"
            joints = [
                {"between": [names[a], names[b]], "used": (a, b) in one.joints, **joint.figures()}
                for (a, b), joint in sorted(found.joints.items())
                if a in one.members and b in one.members
            ]
            with atomic_folder(out / name) as draft:
                row = {"name": name, "accepted": True, "outcome": "accepted", "reasons": [], "checks": {}}
                row |= write_map(replace(sequence, name=name), draft)
                row |= {"members": [names[member] for member in one.members], "joints": joints}
                scales = {names[member]: float(one.map_from_member[member].scale) for member in one.members}
                row |= {"adjustment": adjustment.figures()}
                write_result(draft, row | {"scales": scales, "mean_reprojection_px": None, "notes": []})
            rows.append(row)
    return rows
