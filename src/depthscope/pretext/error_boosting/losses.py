"""Weighted cross-entropy and soft Dice, over the pixels whose class is known."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from depthscope.video.class_masks import UNKNOWN

Logits = Float[Tensor, "batch classes height width"]
Labels = UInt8[Tensor, "batch height width"]


def weighted_cross_entropy(logits: Logits, labels: Labels, weights: Float[Tensor, " classes"]) -> Float[Tensor, ""]:
    """The mean of -log p over known pixels, each weighing as its class does; 0 where nothing is known."""
    known = labels != UNKNOWN
    target = torch.where(known, labels, 0).long()
    surprise = functional.cross_entropy(logits.float(), target, reduction="none")
    counted = torch.where(known, weights.to(surprise)[target], 0.0)
    return (counted * surprise).sum() / counted.sum().clamp_min(1e-6)


def soft_dice_loss(logits: Logits, labels: Labels) -> Float[Tensor, ""]:
    """1 - ``2 sum p g / (sum p + sum g)`` over the batch, averaged over the classes that it shows.

    The sums in the denominator are those of Dice's coefficient (Sudre et al. 2017). Milletari et al. 2016 have sums of
    squares there, ``sum p^2 + sum g^2``. The two agree where every p is 0 or 1; where p is 0.5 on all pixels of a class
    and 0 elsewhere, the loss of that class is 1/3 here and 1/5 there.
    """
    known = (labels != UNKNOWN)[:, None]
    classes = logits.shape[1]
    truth = functional.one_hot(torch.where(known[:, 0], labels, 0).long(), classes).movedim(-1, 1) * known
    probability = logits.float().softmax(1) * known
    shared = (probability * truth).sum((0, 2, 3))
    area = truth.sum((0, 2, 3))
    dice = 2 * shared / (probability.sum((0, 2, 3)) + area).clamp_min(1e-6)
    present = area > 0
    return torch.where(present, 1 - dice, 0.0).sum() / present.sum().clamp_min(1)
