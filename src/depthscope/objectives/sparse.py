"""Scale-invariant weighted loss on the sparse points (Liu et al. 2018, Eq. 3)."""

import torch

from depthscope.geometry.scale import PerFrame, PerPoint, weighted_mean


def scale_invariant_loss(log_depth: PerPoint, log_sparse: PerPoint, weight: PerPoint) -> PerFrame:
    """Eq. 3 of each frame: the weighted variance of d_i = log y_i - log y*_i.

    ``sum w d^2 / sum w - (sum w d)^2 / (sum w)^2``, computed in two passes so that it is never negative. It does not
    change when either depth map, or the weights, are multiplied by a constant. The code published with the sequel has
    a plus in place of the minus, which is not scale-invariant.

    Args:
        log_depth: Predicted log depth at the points, shape (*batch, points); a flattened map may be used as well.
        log_sparse: Log of the SfM depth there; any finite number where the weight is 0.
        weight: Soft mask W at the points; 0 where there is none.

    Returns:
        Loss of each frame, shape (*batch); exactly 0 with zero gradient for a frame without points.
    """
    difference = torch.where(weight > 0, log_depth - log_sparse, 0.0)
    mean = weighted_mean(difference, weight)
    return weighted_mean((difference - mean[..., None]) ** 2, weight)  # Eq. 3


def robust_scale_invariant_loss(
    log_depth: PerPoint,
    log_sparse: PerPoint,
    weight: PerPoint,
    log_factor: PerFrame,
    width: float,
    log_std: PerPoint | None = None,
) -> PerFrame:
    """Eq. 3 with the square replaced by a function that grows slowly for wrong points; not in the paper.

    The residual about the frame's scale, e = log(sigma y) - log y*, enters as the Charbonnier-like
    ``width^2 (sqrt(1 + (e / width)^2) - 1)``: half its square where small, proportional to its size beyond `width`.
    With a predicted `log_std` s the Laplace likelihood ``|e| / s + log s`` takes its place, so that the network may say
    where it does not know.

    Args:
        log_depth: As in `scale_invariant_loss`.
        log_sparse: Likewise.
        weight: Likewise.
        log_factor: log sigma of each frame from the scaling layer.
        width: Residual in log depth at which a point begins to look wrong.
        log_std: Predicted logarithm of the standard deviation at the points.
    """
    residual = torch.where(weight > 0, log_depth + log_factor[..., None] - log_sparse, 0.0)
    size = width * (torch.sqrt(1 + (residual / width) ** 2) - 1)
    if log_std is None:
        return weighted_mean(width * size, weight)
    return weighted_mean(size * torch.exp(-log_std) + log_std, weight)


def scale_agreement(log_factor: PerFrame, log_factor_of_other: PerFrame) -> PerFrame:
    """Squared difference of the log scales of two frames: what a drift of scale costs; not in the paper.

    Eq. 3 and the scaling layer leave every frame its own scale. Both frames of a pair are measured in the same SfM
    unit, so a network that keeps its scale gives both the same factor.
    """
    return (log_factor - log_factor_of_other) ** 2
