"""How well classes are found: Dice, recall, and the agreement of borders."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from depthscope.video.class_masks import UNKNOWN

Masks = UInt8[Tensor, "frames height width"]


@dataclass(frozen=True, eq=False)
class Tally:
    """Pixels of each class over some frames, where the truth is known.

    Attributes:
        both: Found and true.
        found: Found.
        true: True.
    """

    both: Int[Tensor, " classes"]
    found: Int[Tensor, " classes"]
    true: Int[Tensor, " classes"]

    @property
    def present(self) -> Bool[Tensor, " classes"]:
        """Classes that the truth shows."""
        return self.true > 0

    @property
    def recall(self) -> Float[Tensor, " classes"]:
        """Share of each class's true pixels that were found; 0 for a class that is absent."""
        return self.both.double() / self.true.clamp_min(1)

    @property
    def dice(self) -> Float[Tensor, " classes"]:
        """Twice the shared pixels over those of both; 0 for a class that is in neither."""
        return 2 * self.both.double() / (self.found + self.true).clamp_min(1)

    def mean_dice(self, leave_out: tuple[int, ...]) -> float:
        """Over the classes that the truth shows, but for some; NaN where none is left."""
        counted = self.present.clone()
        counted[[number for number in leave_out if number < len(counted)]] = False
        return float(self.dice[counted].mean()) if bool(counted.any()) else float("nan")


def tallied(found: Masks, true: Masks, classes: int) -> Tally:
    """Counts the pixels of each class; those whose truth is unknown are left out."""
    known = true != UNKNOWN
    a, b = found[known].long(), true[known].long()
    return Tally(
        torch.bincount(a[a == b], minlength=classes),
        torch.bincount(a[a < classes], minlength=classes),
        torch.bincount(b, minlength=classes),
    )


def boundary_f(found: Masks, true: Masks, number: int, within_px: float) -> float:
    """F1 of the border pixels of a class: shares of each mask's border that lie near the other's (Perazzi et al. 2016).

    Args:
        found: Masks.
        true: Masks.
        number: The class.
        within_px: How near.

    Returns:
        The mean over frames that truly show the class; NaN where none does.
    """
    values = []
    for one, other in zip(found.numpy(), true.numpy(), strict=True):
        if not (other == number).any():
            continue
        known = (other != UNKNOWN).astype(np.uint8)
        borders = [_border(mask == number) & (known > 0) for mask in (one, other)]
        if not borders[0].any() or not borders[1].any():
            values.append(0.0)
            continue
        shares = []
        for here, there in (borders, borders[::-1]):
            away = cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            shares.append(float((away[here] <= within_px).mean()))
        values.append(2 * shares[0] * shares[1] / max(shares[0] + shares[1], 1e-9))
    return float(np.mean(values)) if values else float("nan")


def _border(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask beside others; the frame's sides are no border."""
    return mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) == 0)
