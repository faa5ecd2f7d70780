"""Sequence folders as other programs lay them out, one module for each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depthscope.errors import BadInputError
from depthscope.formats import colmap, jhu
from depthscope.formats.jhu.direction import PoseDirection
from depthscope.sequence import Sequence
from depthscope.video import IMAGE_ENDINGS, VIDEO_ENDINGS

__all__ = ["FORMATS", "Format", "PoseDirection", "read_sequence", "recognised", "write_sequence"]


@dataclass(frozen=True)
class Format:
    """How one layout is recognised and read.

    Attributes:
        title: What it is called.
        recognises: Whether a folder is laid out like this, complete or not.
        read: Reads it; the second argument is how the poses are to be read, where the layout leaves that open.
        needs: The files it consists of, in words.
    """

    title: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, PoseDirection], Sequence]
    needs: str


FORMATS: dict[str, Format] = {
    "jhu": Format(
        "JHU", jhu.recognises, jhu.read, "motion.yaml, structure.ply, view_indexes_per_point and what belongs to them"
    ),
    "colmap": Format(
        "COLMAP",
        colmap.recognises,
        lambda folder, _: colmap.read(folder),
        "sparse/0/{cameras,images,points3D}.bin or .txt",
    ),
}
"""The layouts in the order in which they are tried: a JHU folder may keep the COLMAP model it was made from."""

WRITERS: dict[str, Callable[[Sequence, Path], tuple[str, ...]]] = {
    "colmap": colmap.write,
    "colmap-text": lambda sequence, folder: colmap.write(sequence, folder, text=True),
    "jhu": jhu.write,
}


def recognised(folder: Path) -> bool:
    """Whether a folder is laid out like one of the formats."""
    return Path(folder).is_dir() and any(layout.recognises(Path(folder)) for layout in FORMATS.values())


def read_sequence(folder: Path, pose_direction: PoseDirection = "auto") -> Sequence:
    """Reads a sequence folder of any known layout.

    Args:
        folder: The folder.
        pose_direction: How the poses are to be read where the layout leaves that open (JHU).

    Raises:
        BadInputError: No layout fits, or the one that does is incomplete or contradicts itself.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(*_not_a_folder(folder))
    for layout in FORMATS.values():
        if layout.recognises(folder):
            return layout.read(folder, pose_direction)
    raise BadInputError(
        f"{folder} {_seems(folder)}",
        "; or ".join(f"{f.title} ({f.needs})" for f in FORMATS.values()),
        "run structure from motion first, or give the folder that holds its result",
    )


def write_sequence(sequence: Sequence, folder: Path, to: str = "colmap") -> tuple[str, ...]:
    """Writes a sequence in the layout `to`, one of `WRITERS`; returns what was decided, in words.

    Raises:
        BadInputError: There is no such layout, or it cannot hold this sequence.
    """
    if to not in WRITERS:
        raise BadInputError(f"no layout '{to}'", f"one of {', '.join(WRITERS)}")
    return WRITERS[to](sequence, Path(folder))


def _not_a_folder(path: Path) -> tuple[str, str, str]:
    if not path.exists():
        return f"{path} does not exist", "a sequence folder", "check the path"
    kind = "a video" if path.suffix.lower() in VIDEO_ENDINGS else "a file"
    return f"{path} is {kind}", "a sequence folder: frames with their structure from motion", "reconstruct it first"


def _seems(folder: Path) -> str:
    """What a folder that is no sequence holds, in words."""
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and any(f.recognises(p) for f in FORMATS.values())]
    if inner:
        names = ", ".join(p.name for p in inner[:3]) + (", ..." if len(inner) > 3 else "")
        return f"is no sequence itself but holds {len(inner)} of them ({names})"
    images = sum(p.suffix.lower() in IMAGE_ENDINGS for place in (folder, folder / "images") for p in _files(place))
    if images:
        return f"holds {images} images and no structure from motion"
    videos = sum(p.suffix.lower() in VIDEO_ENDINGS for p in _files(folder))
    if videos:
        return f"holds {videos} videos and no structure from motion"
    return "is empty" if not any(folder.iterdir()) else "is laid out like nothing known here"


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
