"""Poses as files store them, quaternion and translation, checked before they become motions."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion

TOLERANCE = 1e-2
"""How far the norm of a quaternion may be from 1: printed digits explain less than this, a wrong column more."""


def motions_of(
    quaternion_wxyz: Float[Tensor, "frames 4"], translation: Float[Tensor, "frames 3"], names: list[str], path: Path
) -> RigidMotion:
    """The motions, quaternions normalised.

    Args:
        quaternion_wxyz: Hamilton, w first.
        translation: In the unit of the file.
        names: What to call each pose in an error.
        path: The file they come from.

    Raises:
        BadInputError: A quaternion is not finite or far from unit length, or a translation is not finite; it names the
            first.
    """
    norms, finite = quaternion_wxyz.norm(dim=-1), translation.isfinite().all(-1)
    for name, norm, placed in zip(names, norms.tolist(), finite.tolist(), strict=True):
        if not abs(norm - 1) <= TOLERANCE:  # NaN also comes here
            raise BadInputError(
                f"{path}: the quaternion of {name} has norm {norm:.4g}",
                "a finite one of norm 1",
                "export the poses again, or leave this frame out",
            )
        if not placed:
            raise BadInputError(
                f"{path}: the position of {name} is not finite",
                "three numbers",
                "export the poses again, or leave this frame out",
            )
    return RigidMotion.from_quaternion(quaternion_wxyz, translation)
