"""``depthscope inspect``: is a sequence usable, why, and how are its poses stored?"""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.formats import PoseDirection
from depthscope.pipeline.inspection import inspect_folder


def inspect(
    sequence: Annotated[Positional[Path], arg(metavar="SEQUENCE")],
    out: Path | None = None,
    pose_direction: PoseDirection = "auto",
) -> int:
    """Say whether a sequence folder is usable, why, and how its poses are stored.

    Points and frames that are bad by themselves are left out first, and told; the folder stays as it is.

    Args:
        sequence: Folder of frames with their structure from motion, in any known layout.
        out: Folder for result.json.
        pose_direction: How the poses are to be read where the layout leaves that open; auto asks the images.

    Returns:
        Exit code: 0 accepted, 3 refused or undecided.

    Raises:
        BadInputError: A file is missing or damaged; whatever can be read ends in a verdict.
    """
    return inspect_folder(sequence, out=out, pose_direction=pose_direction)
