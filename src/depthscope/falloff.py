"""What light tells of distance: the lamp sits at the camera, so that near tissue is bright and far tissue dark.

Brightness also falls from the middle of a picture to its rim, through the lamp's cone, slanted walls and vignetting,
and distance has an order from middle to rim as well: the walls of a tube are near at the rim, those of a hollow seen
from within are as far there as in the middle. So what the angle from the axis explains is taken out of both first.
"""

import numpy as np
from jaxtyping import Float

FEWEST, LEAST_SPREAD = 20, 0.12
"""Points of a frame, and the 10 to 90 % range of the logarithm of their distance, for light to tell anything."""


def falloff_of_frame(
    points: Float[np.ndarray, "points 3"], light: Float[np.ndarray, " points"]
) -> tuple[float, float] | None:
    """Brightness against distance in one frame, at equal angles from the axis.

    Args:
        points: In front of the camera, in its coordinates, in any unit.
        light: Logarithm of their linear brightness, all finite.

    Returns:
        Partial rank correlation of brightness and distance given the angle from the optical axis, and the slope of log
        brightness on log distance (-2 for a lamp at the camera) beside log cosine of that angle; None where the points
        are too few or equally far.
    """
    if len(points) < FEWEST:
        return None
    distance = np.log(np.linalg.norm(points, axis=1))
    if float(np.ptp(np.quantile(distance, (0.1, 0.9)))) < LEAST_SPREAD:
        return None
    cosine = np.log(points[:, 2]) - distance
    near, bright = (_without(_ranks(values), _ranks(cosine)) for values in (distance, light))
    size = float(np.linalg.norm(near) * np.linalg.norm(bright))
    away, lit = (_without(values, cosine) for values in (distance, light))
    square = float(away @ away)
    return (float(near @ bright) / size if size else 0.0), (float(away @ lit) / square if square else 0.0)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(np.float64)


def _without(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Residuals of a line through the values over what is known."""
    values, known = values - values.mean(), known - known.mean()
    square = float(known @ known)
    return values - known * (float(values @ known) / square) if square else values
