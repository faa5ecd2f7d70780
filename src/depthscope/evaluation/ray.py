"""Whether a depth map holds distances along the ray in place of z: told by how it fits another map."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation.depth import spread
from depthscope.evaluation.protocols import MapPair

BETTER, AT_LEAST = 0.6, 0.002
"""Distances are named if they leave less than the first share of the error, and the second less of it."""

Samples = tuple[Tensor, Tensor, Tensor]
"""Predictions, truths, and distances along the ray over z, at some points of one frame."""

MOST_FRAMES = 10

LEAST_PIXELS = 50


@dataclass(frozen=True)
class AlongRay:
    """How maps fit, as the median of |ln(prediction / truth)| after each frame's own scale; None without any pixel.

    Attributes:
        as_read: Both as z.
        prediction_along_ray: The prediction taken as distance along the ray.
        truth_along_ray: The truth taken so.
    """

    as_read: float | None
    prediction_along_ray: float | None
    truth_along_ray: float | None

    @property
    def warning(self) -> str:
        """What to say where a distance fits clearly better than z, else ""."""
        if self.as_read is None or self.prediction_along_ray is None or self.truth_along_ray is None:
            return ""
        first = self.prediction_along_ray <= self.truth_along_ray
        which, value = ("PREDICTION", self.prediction_along_ray) if first else ("TRUTH", self.truth_along_ray)
        if value >= BETTER * self.as_read or self.as_read - value < AT_LEAST:
            return ""
        return (
            f"{which} fits better as distance along the ray than as depth along the axis ({value:.2%} against "
            f"{self.as_read:.2%}): divide it by the length of the ray of each pixel"
        )


def along_ray(pairs: Iterable[MapPair], lengths: Callable[[str], Float[Tensor, "height width"]]) -> AlongRay:
    """Compares some frames as z, and with either map as distance along the ray.

    Args:
        pairs: Names, predictions and truths of frames, of one size, 0 where unknown; gone through once.
        lengths: Distance along the ray over z at the pixels of a frame, as `depthscope.agreement.ray_lengths`.

    Raises:
        BadInputError: The lengths are of another size than the maps.
    """

    def samples() -> Iterator[Samples]:
        for name, prediction, truth in islice(pairs, MOST_FRAMES):
            ray = lengths(name)
            if ray.shape != truth.shape:
                raise BadInputError(
                    f"the truth of {name} has {truth.shape[1]} x {truth.shape[0]} pixels",
                    f"{ray.shape[1]} x {ray.shape[0]} as its camera",
                    "take both from the same release",
                )
            known = (prediction > 0) & (truth > 0)
            yield prediction[known], truth[known], ray[known]

    return along_ray_at(samples())


def along_ray_at(samples: Iterable[Samples]) -> AlongRay:
    """The same at single points of some frames.

    Args:
        samples: For each frame its predictions, truths, and distances along the ray over z, at the same points.
    """
    errors = []
    for prediction, truth, ray in islice(samples, MOST_FRAMES):
        if len(truth) < LEAST_PIXELS:
            continue
        ratio, turn = (prediction.double() / truth.double()).log(), ray.double().log()
        errors.append([float(spread(ratio + sign * turn)) for sign in (0.0, -1.0, 1.0)])
    if not errors:
        return AlongRay(None, None, None)
    return AlongRay(*torch.tensor(errors, dtype=torch.float64).mean(0).tolist())
