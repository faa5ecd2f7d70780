"""What is asked of a depth map whose true depth is known.

With e = log of predicted over true depth at a pixel, and m its mean over a frame: the mean of |e - m| (as the log
error of Eigen et al. 2014, absolute for its outliers), |m| with a small weight, since the look of tissue says a little
of its distance, and differences of e over 1, 2, 4 and 8 pixels (gradient matching of Li and Snavely 2018), which make
edges edges. The deviation that the network predicts is trained on |e - m| as it comes out, which teaches depth nothing.
"""

import math
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry.scale import weighted_mean
from depthscope.networks import DepthPrediction
from depthscope.objectives.prior import gradient_difference

UNIT_MM = 20.0
"""A log depth of 0 is so far; about the middle of what endoscopes see."""

Maps = Float[Tensor, "batch height width"]


@dataclass(frozen=True)
class TrueDepthLoss:
    """Weights of the terms.

    Attributes:
        scale_weight: Of |m|.
        gradient_weight: Of each of the four differences.
        deviation_weight: Of the likelihood of the told deviation (Laplace, as its errors have long tails).
    """

    scale_weight: float = 0.2
    gradient_weight: float = 0.5
    deviation_weight: float = 0.1

    def __post_init__(self) -> None:
        if min(self.scale_weight, self.gradient_weight, self.deviation_weight) < 0:
            raise BadInputError(f"loss weights {self}", "0 or more")

    def __call__(
        self, prediction: DepthPrediction, depth_mm: Maps, metric: Bool[Tensor, " batch"] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms, each a mean over frames; frames without true depth count for nothing.

        Args:
            prediction: What the network says.
            depth_mm: Depth, 0 where unknown; in another unit where not `metric`.
            metric: Frames whose scale is known (None: all); that of the others is not asked for.
        """
        known = depth_mm > 0
        error = prediction.log_depth - (depth_mm / UNIT_MM).clamp_min(1e-6).log()
        weight = known.to(error.dtype)
        mean = weighted_mean(error.flatten(1), weight.flatten(1))
        centred = error - mean[:, None, None]
        shape = weighted_mean(centred.abs().flatten(1), weight.flatten(1)).mean()
        scale = (mean**2 + 1e-4).sqrt()
        scale = (scale if metric is None else scale * metric).mean()
        gradient = gradient_difference(centred, known)
        losses = {"shape": shape, "scale": scale, "gradient": gradient}
        total = shape + self.scale_weight * scale + self.gradient_weight * gradient
        if prediction.log_std is not None:
            surprise = centred.detach().abs() * math.sqrt(2) * (-prediction.log_std).exp() + prediction.log_std
            losses["deviation"] = weighted_mean(surprise.flatten(1), weight.flatten(1)).mean()
            total = total + self.deviation_weight * losses["deviation"]
        return {"loss": total, **losses}
