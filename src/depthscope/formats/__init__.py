"""Sequence folders as other programs lay them out, one module for each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from depthscope.errors import BadInputError
from depthscope.formats import (
    c3vd,
    colmap,
    endoslam,
    hamlyn,
    jhu,
    kitti,
    kitti_depth,
    nerfstudio,
    scared,
    servct,
    simcol3d,
    tum,
)
from depthscope.formats.jhu.direction import PoseDirection, UndecidedDirectionError
from depthscope.ground_truth import GroundTruth, with_points
from depthscope.memory import array_bytes, once, unchanged
from depthscope.reading import leads_out, reader
from depthscope.sequence import Sequence
from depthscope.video import IMAGE_ENDINGS, VIDEO_ENDINGS

__all__ = [
    "FORMATS",
    "Format",
    "PoseDirection",
    "UndecidedDirectionError",
    "TRUTH_FORMATS",
    "TruthFormat",
    "is_truth",
    "kitti",
    "layouts",
    "read_sequence",
    "read_truth",
    "recognised",
    "write_clip",
    "write_sequence",
]


Clip = TypeVar("Clip", Sequence, GroundTruth)


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


@dataclass(frozen=True)
class TruthFormat:
    """How one layout with dense depth is recognised and read.

    Attributes:
        title: What it is called.
        recognises: Whether a folder is laid out like this, complete or not.
        read: Reads it.
        needs: The files it consists of, in words.
    """

    title: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], GroundTruth]
    needs: str


TRUTH_FORMATS: dict[str, TruthFormat] = {
    "c3vd": TruthFormat(
        "C3VD", c3vd.recognises, c3vd.read, "*_color.png and *_depth.tiff, or rgb/ and depth/; pose.txt"
    ),
    "simcol3d": TruthFormat(
        "SimCol3D", simcol3d.recognises, simcol3d.read, "FrameBuffer_*.png, Depth_*.png; SavedPosition_*.txt above"
    ),
    "scared": TruthFormat(
        "SCARED", scared.recognises, scared.read, "Left_Image.png, left_depth_map.tiff, endoscope_calibration.yaml"
    ),
    "servct": TruthFormat(
        "SERV-CT", servct.recognises, servct.read, "Left_rectified, Ground_truth_CT/DepthL, Rectified_calibration"
    ),
    "hamlyn": TruthFormat("Hamlyn", hamlyn.recognises, hamlyn.read, "image01, depth01, intrinsics.txt"),
    "endoslam": TruthFormat("EndoSLAM", endoslam.recognises, endoslam.read, "Frames, Poses/*.csv, camera.yaml"),
    "nerfstudio": TruthFormat("nerfstudio", nerfstudio.recognises, nerfstudio.read, "transforms.json and its files"),
    "kitti": TruthFormat(
        "KITTI raw", kitti_depth.recognises, kitti_depth.read, "image_02/data, velodyne_points/data or proj_depth"
    ),
}
"""The layouts of datasets with dense depth, tried after those with points."""

WRITERS: dict[str, Callable[[Sequence, Path], tuple[str, ...]]] = {
    "colmap": colmap.write,
    "colmap-text": lambda sequence, folder: colmap.write(sequence, folder, text=True),
    "jhu": jhu.write,
    "nerfstudio": nerfstudio.write,
    "tum": tum.write,
}

DENSE_WRITERS: dict[str, Callable[[GroundTruth, Path], tuple[str, ...]]] = {
    "nerfstudio": nerfstudio.write,
    "tum": tum.write,
}
"""The layouts that hold dense depth, or poses alone, so that no points need to be drawn."""


def layouts() -> str:
    """Every layout with what it needs, in one line."""
    known = (*FORMATS.values(), *TRUTH_FORMATS.values())
    return "; or ".join(f"{layout.title} ({layout.needs})" for layout in known)


@reader("a folder that may be listed")
def recognised(folder: Path) -> bool:
    """Whether a folder is laid out like one of the formats, with points or with dense depth."""
    folder = Path(folder)
    return folder.is_dir() and (_with_points(folder) is not None or _dense(folder) is not None)


@reader("a folder that may be listed")
def is_truth(folder: Path) -> bool:
    """Whether a folder is laid out like a dataset with dense depth, and not like a sequence with points."""
    folder = Path(folder)
    return folder.is_dir() and _with_points(folder) is None and _dense(folder) is not None


@reader("a sequence folder")
def read_sequence(folder: Path, pose_direction: PoseDirection = "auto") -> Sequence:
    """Reads a sequence folder of any known layout; for a dataset with dense depth, points are drawn from the depth.

    Args:
        folder: The folder.
        pose_direction: How the poses are to be read where the layout leaves that open (JHU).

    Raises:
        BadInputError: No layout fits, or the one that does is incomplete or contradicts itself.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(*_not_a_folder(folder))
    return once(
        f"sequence {pose_direction}",
        folder,
        lambda: _read_sequence(folder, pose_direction),
        size=lambda sequence: array_bytes(sequence.points) + array_bytes(sequence.observations.frame),
        copy=unchanged,
    )


def _read_sequence(folder: Path, pose_direction: PoseDirection) -> Sequence:
    layout = _with_points(folder)
    if layout is not None:
        return _with_links_told(layout.read(folder, pose_direction), folder)
    if _dense(folder) is not None:
        return with_points(read_truth(folder), progress=_shown)
    raise _unknown(folder)


@reader("a dataset folder with dense depth")
def read_truth(folder: Path) -> GroundTruth:
    """Reads a dataset folder with dense depth.

    Raises:
        BadInputError: No layout fits, or the one that does is incomplete or contradicts itself.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(*_not_a_folder(folder))
    layout = _dense(folder)
    if layout is None:
        raise _unknown(folder)
    return _with_links_told(layout.read(folder), folder)


def write_clip(
    source: Path, folder: Path, to: str, pose_direction: PoseDirection
) -> tuple[Sequence | GroundTruth, tuple]:
    """Reads a folder of any layout and writes it in the layout `to`; returns the clip and what was decided, in words.

    Raises:
        BadInputError: As `read_sequence` and `write_sequence`.
    """
    if is_truth(source) and to in DENSE_WRITERS:
        truth = read_truth(source)
        return truth, DENSE_WRITERS[to](truth, folder)
    sequence = read_sequence(source, pose_direction)
    return sequence, write_sequence(sequence, folder, to)


def _with_links_told(clip: Clip, folder: Path) -> Clip:
    """The clip with a note where its frames are links to files outside of its folder."""
    outside = [p for p in clip.images if leads_out(folder if p.is_relative_to(folder) else p.parent, p)]
    if not outside:
        return clip
    note = f"{len(outside)} frames lie outside {folder}, behind links: {outside[0].name} is {outside[0].resolve()}"
    return replace(clip, notes=(*clip.notes, note))


def _with_points(folder: Path) -> Format | None:
    return next((layout for layout in FORMATS.values() if layout.recognises(folder)), None)


def _dense(folder: Path) -> TruthFormat | None:
    return next((layout for layout in TRUTH_FORMATS.values() if layout.recognises(folder)), None)


def _shown(frames: list[int]) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    return track(frames, "points from depth", console=Console(stderr=True), transient=True)


def _unknown(folder: Path) -> BadInputError:
    return BadInputError(
        f"{folder} {_seems(folder)}",
        layouts(),
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


TRACES = (
    ("*_color.png", "C3VD without pose.txt and *_depth.tiff"),
    ("*_depth.tif*", "C3VD without *_color.png and pose.txt"),
    ("FrameBuffer_*.png", "SimCol3D without Depth_*.png and SavedPosition_*.txt"),
    ("Frames_*", "SimCol3D: give one of its Frames_* folders, with Depth_*.png in it"),
    ("Left_Image.png", "SCARED without left_depth_map.tiff and endoscope_calibration.yaml"),
    ("left_depth_map.tiff", "SCARED without Left_Image.png"),
    ("Ground_truth_*", "SERV-CT without Left_rectified"),
    ("Experiment_*", "SERV-CT: give one of its Experiment_* folders, with Left_rectified in it"),
    ("image01", "Hamlyn without depth01 and intrinsics.txt"),
    ("depth01", "Hamlyn without image01"),
    ("Poses", "EndoSLAM without Frames"),
    ("Pixelwise Depths", "EndoSLAM without Frames and Poses"),
    ("keyframe_*", "SCARED: give one of its keyframe_* folders, unpacked"),
)
"""What a folder that no reader takes may still be, by one kind of file in it."""


def _not_a_folder(path: Path) -> tuple[str, str, str]:
    if not path.exists():
        return f"{path} does not exist", "a sequence folder", "check the path"
    kind = "a video" if path.suffix.lower() in VIDEO_ENDINGS else "a file"
    return f"{path} is {kind}", "a sequence folder: frames with their structure from motion", "reconstruct it first"


def _seems(folder: Path) -> str:
    """What a folder that is no sequence holds, in words."""
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and recognised(p)]
    if inner:
        names = ", ".join(p.name for p in inner[:3]) + (", ..." if len(inner) > 3 else "")
        return f"is no sequence itself but holds {len(inner)} of them ({names})"
    for pattern, guess in TRACES:
        traces = sum(1 for _ in folder.glob(pattern))
        if traces:
            return f"looks like {guess}: it holds {traces} {pattern}, and nothing else of it"
    images = sum(p.suffix.lower() in IMAGE_ENDINGS for place in (folder, folder / "images") for p in _files(place))
    if images:
        return f"holds {images} images and no structure from motion"
    videos = sum(p.suffix.lower() in VIDEO_ENDINGS for p in _files(folder))
    if videos:
        return f"holds {videos} videos and no structure from motion"
    return "is empty" if not any(folder.iterdir()) else "is laid out like nothing known here"


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
