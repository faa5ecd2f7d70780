"""What looks wrong about the intrinsics of a file: another image size, or the other convention of pixels.

Intrinsics are often copied without the size that they are for, and from programs that call the centre of the first
pixel (0, 0), as OpenCV does, to programs that call it (0.5, 0.5), as COLMAP and this package do, or back.
"""

import math

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, NoDistortion
from depthscope.geometry.camera import Distortion

MIDDLE = (0.6, 1.67)
"""A principal point whose place, as a share of the middle of the frame, lies outside of this is of another size."""

ALIKE = 0.12
"""How far the shares across and down may differ for one factor to explain both."""

MOST_OFF_CENTRE, MOST_OBLONG = 0.25, 1.1
"""Share of a side that the principal point may lie off the middle, and the ratio of focal lengths, without a remark."""

EXACT_PX = 1e-3
"""A centre that is given for the very middle of the frame, to this."""


def camera_for(
    size_px: tuple[int, int],
    focal_px: tuple[float, float],
    centre_px: tuple[float, float],
    where: str,
    lens: Distortion | None = None,
    source: str = "",
) -> Camera:
    """A camera from a file that does not name the size its intrinsics are for.

    Args:
        size_px: (width, height) of the frames.
        focal_px: As read.
        centre_px: As read, in this package's convention of pixels.
        where: The file, for the text.
        lens: Its distortion; None for none.
        source: Where the numbers came from, in words.

    Raises:
        BadInputError: The numbers make no camera, or both coordinates of the principal point are off the middle by one
            and the same factor, as those of another image size are.
    """
    factor = other_size(size_px, centre_px)
    if factor is not None:
        (width, height), (cx, cy) = size_px, centre_px
        raise BadInputError(
            f"{where} puts the principal point of {width} x {height} frames at ({cx:.1f}, {cy:.1f})",
            f"one near ({width / 2:g}, {height / 2:g}): these intrinsics seem to be for frames of about "
            f"{width * factor:.0f} x {height * factor:.0f} pixels",
            "use the frames as published, or put a camera.yaml for these beside them",
        )
    try:
        return Camera(size_px, focal_px, centre_px, lens or NoDistortion(), source)
    except BadInputError as error:
        raise BadInputError(f"{where}: {error.found}", error.expected, error.remedy) from None


def other_size(size_px: tuple[int, int], centre_px: tuple[float, float]) -> float | None:
    """How many times larger the frames are that a principal point seems to be for; None where it fits these."""
    across, down = (2 * centre / side for centre, side in zip(centre_px, size_px, strict=True))
    if not min(across, down) > 0:
        return None
    factor = math.sqrt(across * down)
    alike = abs(math.log(across / down)) < ALIKE
    return factor if alike and not MIDDLE[0] < factor < MIDDLE[1] else None


def remarks_on_camera(camera: Camera) -> tuple[str, ...]:
    """What looks wrong about the numbers of a camera file: its principal point, or the shape of its pixels."""
    remarks = list(remarks_on_centre(camera))
    off = [abs(centre / side - 0.5) for centre, side in zip(camera.centre_px, camera.size_px, strict=True)]
    if max(off) > MOST_OFF_CENTRE:
        remarks.append(
            f"the principal point ({camera.centre_px[0]:g}, {camera.centre_px[1]:g}) is far from the middle "
            f"({camera.size_px[0] / 2:g}, {camera.size_px[1] / 2:g}): check that it is for frames of this size, not "
            "cut or resized since"
        )
    ratio = max(camera.focal_px) / min(camera.focal_px)
    if ratio > MOST_OBLONG:
        remarks.append(
            f"the focal lengths {camera.focal_px[0]:g} and {camera.focal_px[1]:g} px differ by {ratio - 1:.0%}: pixels "
            "would not be square; check that the frames were not squeezed"
        )
    return tuple(remarks)


def remarks_on_centre(camera: Camera) -> tuple[str, ...]:
    """What to say about a principal point that lies off the very middle of the frame by exactly half a pixel.

    Nobody measures that: somebody wrote the middle in the other convention of pixels, or it was converted twice.
    """
    off = [centre - side / 2 for centre, side in zip(camera.centre_px, camera.size_px, strict=True)]
    for shift, said in ((-0.5, "as if the first pixel's centre were (0, 0)"), (0.5, "as if converted twice")):
        if all(abs(value - shift) < EXACT_PX for value in off):
            return (
                f"the principal point ({camera.centre_px[0]:g}, {camera.centre_px[1]:g}) is half a pixel off the "
                f"middle of the frame both ways, {said}; here that centre is (0.5, 0.5), and the middle "
                f"({camera.size_px[0] / 2:g}, {camera.size_px[1] / 2:g})",
            )
    return ()
