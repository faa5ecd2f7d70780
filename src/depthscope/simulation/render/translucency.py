"""Light that spreads below the surface before it comes out, which softens the edges of what the lamps draw."""

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from depthscope.simulation.render.view import RenderView


def within_tissue(
    view: RenderView, depth: Float[Tensor, "height width"], arrives: Float[Tensor, "height width"], reach_mm: float
) -> Float[Tensor, "height width 3"]:
    """What changes in the light on the tissue when it spreads below the surface before it comes out, by channel.

    The spread is over the picture, of light freed from its fall with distance, so that near folds do not shine onto
    what lies behind them.
    """
    z = depth.float().numpy()
    known = (z > 0).astype(np.float32)
    square = np.where(z > 0, z * z, 0)
    even = arrives.numpy() * square
    focal = min(view.camera.focal_px)
    sigmas = (0.6, 1.2, 2.4, 4.8, 9.6)
    layers = [even, *(_blurred(even, known, sigma) for sigma in sigmas)]
    change = np.zeros((*z.shape, 3), np.float32)
    for channel, share in enumerate((1.0, 0.4, 0.25)):
        sigma = share * reach_mm * focal / np.where(z > 0, z, 1)
        level = np.log2(np.maximum(sigma, 0.3) / 0.3).clip(0, len(sigmas) - 1e-3)
        low = level.astype(int)
        stack = np.stack(layers)
        below, beyond = (np.take_along_axis(stack, (low + k)[None], 0)[0] for k in (0, 1))
        change[..., channel] = below + (level - low) * (beyond - below) - even
    return torch.from_numpy(change / np.where(z > 0, square, 1)[..., None])


def _blurred(values: NDArray[np.float32], known: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """A Gaussian blur that the unknown surroundings take no part in."""
    share = cv2.GaussianBlur(known, (0, 0), sigma)
    return np.where(known > 0, cv2.GaussianBlur(values * known, (0, 0), sigma) / np.maximum(share, 1e-6), 0)
