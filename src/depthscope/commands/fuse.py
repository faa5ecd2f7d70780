"""``depthscope fuse PREDICTION SEQUENCE --out DIR``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.pipeline.fusion import fuse_folder


def fuse(
    prediction: Annotated[Positional[Path], arg(metavar="PREDICTION")],
    sequence: Annotated[Positional[Path], arg(metavar="SEQUENCE")],
    /,
    out: Path,
    voxel: float | None = None,
    hole_voxels: int = 2,
    least_share: float = 0.02,
    most_blocks: int = 60_000,
    masks: Path | None = None,
) -> int:
    """Fuses the depth maps of a clip into one surface, in the world and the unit of its sequence.

    Every map is first brought to its sparse points, smoothly over the clip.

    Args:
        prediction: Folder written by depthscope predict.
        sequence: Folder of the same frames with their structure from motion.
        out: Folder for surface.ply.
        voxel: Side of a voxel in the sequence's unit; by default what two pixels cover at the median depth.
        hole_voxels: Holes up to about this wide are closed.
        least_share: Pieces with less than this share of the largest piece's area are dropped.
        most_blocks: Bound of the memory (14 KB each); voxels double in size rather than exceed it.
        masks: Folder of masks called as the frames, with classes.yaml: what is not tissue stays out of the surface.
    """
    return fuse_folder(
        prediction,
        sequence,
        out,
        voxel=voxel,
        hole_voxels=hole_voxels,
        least_share=least_share,
        most_blocks=most_blocks,
        masks=masks,
    )
