"""What lengths are measured in."""

from typing import Literal, get_args

from depthscope.errors import BadInputError

LengthUnit = Literal["relative", "sfm", "mm", "cm", "m", "not told"]
"""Of depth, motion and surfaces.

"relative" is right up to one factor for each frame or network; "sfm" is the reconstruction's own, one factor for a
clip; "not told" is that of a file which does not say. Nothing is in mm without a source of its scale.
"""


def length_unit(name: object, source: object) -> LengthUnit:
    """The unit that a file names.

    Args:
        name: What it says.
        source: The file, for the error.

    Raises:
        BadInputError: There is no such unit.
    """
    for unit in get_args(LengthUnit):
        if name == unit:
            return unit
    raise BadInputError(f"{source} is in units of {name!r:.80}", f"one of {', '.join(get_args(LengthUnit))}")
