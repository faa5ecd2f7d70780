"""Which convention of poses two paths would have to be read by to fit: told, never applied."""

from collections.abc import Callable

from depthscope.agreement import turned_axes, w_first, w_last
from depthscope.errors import BadInputError
from depthscope.evaluation.path import PathError, path_error
from depthscope.geometry import RigidMotion

BETTER = 0.3
"""Another convention is named if it leaves less than this share of an error."""

OFF_EXTENT, OFF_DEG = 0.05, 10.0
"""Paths that fit better than this are not asked: share of the extent, and degrees."""

OTHER_DIRECTION: dict[str, Callable[[RigidMotion], RigidMotion]] = {
    "the poses of one of them are stored the other way round (camera_from_world for world_from_camera)": (
        lambda motions: motions.inverse()
    ),
}
OTHER_ROTATION: dict[str, Callable[[RigidMotion], RigidMotion]] = {
    "one of them has OpenGL's camera axes (y up, z back)": turned_axes,
    "one of them stores w first in its quaternions and was read as w last": w_first,
    "one of them stores w last in its quaternions and was read as w first": w_last,
}
"""These leave the camera's centres where they are."""


def path_warnings(estimate: RigidMotion, truth: RigidMotion) -> tuple[str, ...]:
    """What two paths of the same frames would fit better by.

    Args:
        estimate: ``camera_from_world`` of each frame, batch shape (frames,).
        truth: The true ones.
    """
    try:
        as_read = path_error(estimate, truth, ())
    except BadInputError:
        return ()
    warnings = []
    if as_read.ate_of_extent > OFF_EXTENT:
        warnings += _better(estimate, truth, OTHER_DIRECTION, as_read, lambda error: error.ate)
    if as_read.rotation_deg > OFF_DEG and not as_read.collinear:  # else the turn about the line is not known
        warnings += _better(estimate, truth, OTHER_ROTATION, as_read, lambda error: error.rotation_deg)
    return tuple(warnings)


def _better(
    estimate: RigidMotion,
    truth: RigidMotion,
    others: dict[str, Callable[[RigidMotion], RigidMotion]],
    as_read: PathError,
    measure: Callable[[PathError], float],
) -> list[str]:
    """The convention under which the paths fit best, if they fit clearly better."""
    found = {}
    for name, other in others.items():
        for pair in ((other(estimate), truth), (estimate, other(truth))):
            try:
                error = path_error(*pair, ())
            except BadInputError:
                continue
            if name not in found or measure(error) < measure(found[name]):
                found[name] = error
    best = min(found, key=lambda name: measure(found[name]), default="")
    if not best or measure(found[best]) >= BETTER * measure(as_read):
        return []
    return [
        f"the paths fit badly ({as_read.ate_of_extent:.0%} of the extent, {as_read.rotation_deg:.1f} degrees), and "
        f"well ({found[best].ate_of_extent:.1%}, {found[best].rotation_deg:.1f} degrees) if {best}"
    ]
