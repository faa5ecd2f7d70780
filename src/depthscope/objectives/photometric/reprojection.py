"""From the errors of several sources to one loss of the target: the least of them, or their sum."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from depthscope.geometry.depth import Maps
from depthscope.objectives.consistency import masked_mean

TIE = 1e-5
"""Errors closer than this are equal: in float32 SSIM of even regions rounds so far."""

PerSource = Float[Tensor, "batch sources height width"]
ValidPerSource = Bool[Tensor, "batch sources height width"]
Logits = Float[Tensor, "batch sources 2 rows columns"]


@dataclass(frozen=True, eq=False)
class Reprojected:
    """What the sources say of a target.

    Attributes:
        loss: Of each sample, shape (batch,).
        kept: Share of the pixels that any source sees from which the loss has a gradient, shape (batch,).
        penalty: Of the explainability masks, with its weight lambda_e, shape (batch,); None where there are none. It
            says nothing about images, so what weighs the photometric loss does not weigh it.
    """

    loss: Float[Tensor, " batch"]
    kept: Float[Tensor, " batch"]
    penalty: Float[Tensor, " batch"] | None = None


@dataclass(frozen=True)
class MinimumReprojection:
    """Per-pixel minimum over the sources, and auto-masking (Godard et al. 2019, eq. 4 and 5).

    The minimum leaves a pixel to the source that sees it best, so that occlusion in one of them costs nothing. The
    auto-mask leaves out pixels that an unwarped source already explains: a camera at rest, or an object that moves with
    it. Both are the subject of US patent 11,082,681; the recipes in endoscopy that are on by default use neither (see
    docs/photometric.md, "Licences and patents").

    Attributes:
        auto_mask: Compare with the unwarped sources. A tie goes to them, without noise: identical frames keep nothing.
    """

    auto_mask: bool = True

    def __call__(
        self,
        errors: PerSource,
        valid: ValidPerSource,
        still: PerSource | None = None,
        known: ValidPerSource | None = None,
    ) -> Reprojected:
        """The loss from the errors of all sources.

        Args:
            errors: Of the warped sources.
            valid: Where they say something.
            still: Errors of the unwarped sources, for the auto-mask.
            known: Where these say something.
        """
        best = _least(errors, valid)
        counted = valid.any(1)
        moving = counted
        if self.auto_mask and still is not None and known is not None:
            rest = _least(still, known).detach()
            moving = counted & (best.detach() < rest - TIE)
            best = torch.where(moving, best, rest)
        return Reprojected(masked_mean(best, counted), masked_mean(moving.to(best), counted))


@dataclass(frozen=True)
class EverySource:
    """The sum over the sources, each a mean over the pixels that it sees (Zhou et al. 2017, eq. 1 and 3).

    Attributes:
        explainability: lambda_e, the weight of the regulariser that keeps the predicted mask from vanishing; None for
            no mask. The paper has a mask; its code reports better numbers without (weight 0 there means no mask).
    """

    explainability: float | None = None

    def __call__(self, errors: PerSource, valid: ValidPerSource, logits: Logits | None = None) -> Reprojected:
        """The loss from the errors of all sources.

        Args:
            errors: Of the warped sources.
            valid: Where they say something.
            logits: Of the explainability masks, at any size; the second of two says how well a pixel is explained.
        """
        penalty = None
        if self.explainability is not None and logits is not None:
            penalty = self.explainability * explainability_penalty(logits)
            size = errors.shape[-2:]
            if logits.shape[-2:] != size:
                logits = functional.interpolate(logits.flatten(1, 2), size=size, mode="bilinear").unflatten(1, (-1, 2))
            errors = logits.softmax(2)[:, :, 1] * errors
        total = masked_mean(errors.flatten(0, 1), valid.flatten(0, 1)).unflatten(0, valid.shape[:2]).sum(1)
        return Reprojected(total, masked_mean(valid.any(1).to(errors), torch.ones_like(valid[:, 0])), penalty)


def explainability_penalty(logits: Logits) -> Float[Tensor, " batch"]:
    """Cross entropy of the masks with 1, a mean over the pixels and a sum over the sources; log 2 for equal logits."""
    return -logits.log_softmax(2)[:, :, 1].mean((-1, -2)).sum(1)


def _least(errors: PerSource, valid: ValidPerSource) -> Maps:
    """The least error of each pixel over the valid sources; infinite where there is none."""
    return torch.where(valid, errors, torch.inf).min(1).values


Reprojection = MinimumReprojection | EverySource
