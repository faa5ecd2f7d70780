"""``depthscope convert``: a sequence in another layout."""

import time
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from depthscope.errors import BadInputError
from depthscope.formats import PoseDirection, write_clip
from depthscope.sequence import Sequence
from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder


def convert(
    sequence: Annotated[Positional[Path], arg(metavar="SEQUENCE")],
    destination: Annotated[Positional[Path | None], arg(metavar="DST")] = None,
    *,
    to: Literal["colmap", "colmap-text", "jhu", "nerfstudio", "tum"],
    out: Path | None = None,
    pose_direction: PoseDirection = "auto",
) -> int:
    """Write a sequence in another layout, with its images.

    Args:
        sequence: Folder of frames with their structure from motion, in any known layout.
        destination: The same as --out.
        to: The layout: colmap (binary files), colmap-text, jhu, nerfstudio, or tum (the poses alone).
        out: New folder to write.
        pose_direction: How the poses are to be read where the layout leaves that open; auto asks the images.

    Returns:
        Exit code: 0.
    """
    started = time.monotonic()
    if (destination is None) == (out is None):
        given = "no folder" if out is None else f"both {destination} and --out {out}"
        raise BadInputError(f"{given} to write", "one new folder", "give it as --out")
    destination = destination or out
    assert destination is not None
    with writing_folder(destination, inputs=(sequence,)) as folder:
        clip, notes = write_clip(sequence, folder, to, pose_direction)
        points = len(clip.points) if isinstance(clip, Sequence) else 0
        observations = len(clip.observations) if isinstance(clip, Sequence) else 0
        write_result(
            folder,
            {
                "to": to,
                "pose_direction": clip.pose_direction,
                "registered": len(clip),
                "points": points,
                "observations": observations,
                "notes": [*clip.notes, *notes],
            },
        )
        write_provenance(
            folder,
            options={"sequence": sequence, "to": to, "pose_direction": pose_direction},
            inputs={str(sequence): content_hash(sequence)},
            seconds=time.monotonic() - started,
        )
    print(f"{destination}: {len(clip)} frames, {points} points, {observations} observations as {to}")
    for note in (*clip.notes, *notes):
        print(f"  {note}")
    return 0
