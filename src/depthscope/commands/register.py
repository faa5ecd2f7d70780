"""``depthscope register SURFACE TARGET --out DIR [--initial FILE]``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from depthscope.formats import ct as ct_files, surfaces
from depthscope.pipeline.registration import register_folder
from depthscope.registration.options import WORKING_MM


def register(
    surface: Annotated[Positional[Path], arg(metavar="SURFACE")],
    target: Annotated[Positional[Path], arg(metavar="TARGET")],
    /,
    out: Path,
    start: Annotated[Path | None, arg(name="initial", aliases=("--start",))] = None,
    sequence: Path | None = None,
    prediction: Path | None = None,
    scale: float | None = None,
    scale_std: float = 0.1,
    working_mm: tuple[float, float] = WORKING_MM,
    air_below: float = ct_files.AIR_BELOW,
    air_seed: tuple[float, float, float] | None = None,
    smoothing_mm: float = 0.0,
    flip: bool = False,
    masks: Path | None = None,
    unit: surfaces.Unit | None = None,
) -> int:
    """Registers a reconstructed surface to a CT: rotation, shift and scale, with no start by hand.

    Ends with exit code 3, results written, where the answer is ambiguous.

    Args:
        surface: Mesh (PLY, STL, OBJ, VTP, VTK) with normals into the air, or a folder of depthscope fuse.
        target: CT (DICOM folder, NIfTI, NRRD, MetaImage) or a surface in LPS with normals into the air.
        out: Folder for the results.
        start: File with a rough 4x4 from the surface to LPS mm; it is tried besides what is found without it.
        sequence: Sequence that the surface was made from: its cameras tell what must be air, and what the first and the
            second half of them saw must come to lie in the same place.
        prediction: Depth maps (of depthscope predict) that the surface was fused from: twenty of them are registered
            jointly in place of the surface. Needs --sequence.
        scale: Millimetres to a unit of the surface, where that is known roughly.
        scale_std: Standard deviation of the logarithm of --scale.
        working_mm: Least and greatest median distance from which the scope was used; without --scale they bound it.
        air_below: Hounsfield units below which the CT is air.
        air_seed: A point (LPS mm) in the air space of the CT that is meant; the largest one in the body otherwise.
        smoothing_mm: Blur of the CT before its surface is taken.
        flip: Turn the target's normals round: a model of the airway has them pointing into the tissue.
        masks: Folder of masks called as the frames, with classes.yaml: of --prediction only what is tissue counts.
        unit: Unit of a TARGET that is a surface: mm, cm or m. Without it the file decides, or mm.
    """
    return register_folder(
        surface,
        target,
        out,
        start=start,
        sequence=sequence,
        prediction=prediction,
        scale=scale,
        scale_std=scale_std,
        working_mm=working_mm,
        air_below=air_below,
        air_seed=air_seed,
        smoothing_mm=smoothing_mm,
        flip=flip,
        masks=masks,
        unit=unit,
    )
