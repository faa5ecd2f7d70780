"""The photometric objective: depth and motion are right where the sources, warped by them, look like the target.

Monodepth2 (Godard et al. 2019), SfMLearner (Zhou et al. 2017) and what endoscopy needs are settings of it.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry.depth import MaskMaps
from depthscope.geometry.scale import ScaleEstimator, TrimmedLogMean
from depthscope.networks import KnownMotion, PairPose, SnippetPose, SnippetPrediction
from depthscope.objectives.photometric.agreement import GeometryConsistency, depth_difference
from depthscope.objectives.photometric.error import PhotometricError
from depthscope.objectives.photometric.light import AffineBrightness, Highlights
from depthscope.objectives.photometric.prepared import Level, PreparedSnippet, full_precision
from depthscope.objectives.photometric.reprojection import EverySource, MinimumReprojection, Reprojected
from depthscope.objectives.photometric.smoothness import EdgeAware, SecondOrder
from depthscope.objectives.photometric.synthesis import Synthesis, synthesised
from depthscope.supervision import SnippetBatch, SnippetRule


@dataclass(frozen=True)
class ViewSynthesis:
    """Options of the objective. What is patented (see docs/photometric.md) is off unless a recipe asks for it.

    Attributes:
        snippets: Which frames a target is synthesised from.
        motion: The pose network, or `KnownMotion`.
        error: How much two images differ.
        reprojection: How the sources' errors become one loss.
        smoothness: What is asked of disparity by itself.
        full_resolution: Compare every scale's depth at full size (Godard et al. 2019), not with smaller images.
        average_scales: Mean over the scales (Godard et al. 2019), not their sum (Zhou et al. 2017).
        view_weight: Of the photometric part alone: smoothness and the explainability regulariser have their own.
        brightness: How a source is brought to the target's brightness before they are compared, or None.
        highlights: Mirror images of the lamp that are left out, or None to keep them.
        consistency: Agreement of the depths of target and sources, or None.
        scale: Estimator that brings depth to the sparse points where motions come from structure from motion.
        learn_camera: Correct focal lengths and centre while training; needs rotation in the clips to be known at all.
    """

    snippets: SnippetRule = field(default_factory=SnippetRule)
    motion: PairPose | SnippetPose | KnownMotion = field(default_factory=PairPose)
    error: PhotometricError = field(default_factory=PhotometricError)
    reprojection: EverySource | MinimumReprojection = field(default_factory=EverySource)
    smoothness: EdgeAware | SecondOrder = field(default_factory=EdgeAware)
    full_resolution: bool = False
    average_scales: bool = True
    view_weight: float = 1.0
    brightness: AffineBrightness | None = None
    highlights: Highlights | None = None
    consistency: GeometryConsistency | None = None
    scale: ScaleEstimator = field(default_factory=TrimmedLogMean)
    learn_camera: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.view_weight < float("inf"):
            raise BadInputError(f"objective.view_weight {self.view_weight}", "more than 0")
        wants_mask = isinstance(self.reprojection, EverySource) and self.reprojection.explainability is not None
        if wants_mask != (isinstance(self.motion, SnippetPose) and self.motion.explainability):
            raise BadInputError(
                "an explainability mask that only one of objective.motion and objective.reprojection has",
                "both or neither",
                "set motion.explainability and reprojection.explainability",
            )
        if wants_mask and self.snippets.stereo:
            raise BadInputError("an explainability mask with stereo", "one of them: the mask is of sources in time")
        if self.needs_sfm and self.snippets.stereo:
            raise BadInputError(
                "motions from structure from motion with stereo", "one of them: they come in different units"
            )
        if isinstance(self.motion, KnownMotion) and self.learn_camera:
            raise BadInputError("objective.learn_camera with known motions", "a pose network", "calibrate instead")

    @property
    def needs_sfm(self) -> bool:
        """Whether clips must come with structure from motion."""
        return isinstance(self.motion, KnownMotion) and bool(self.snippets.offsets)

    def __call__(self, prediction: SnippetPrediction, batch: SnippetBatch) -> dict[str, Float[Tensor, ""]]:
        """Losses of a batch, each a mean over samples; "loss" is their sum.

        Args:
            prediction: Of the batch's targets.
            batch: With clean images: changed colours are for the network alone.

        Returns:
            "loss", its terms "view", "smooth" and if asked for "explained" and "consistency"; as diagnostics "kept"
            (share of the seen pixels that carry a gradient), "seen" (share of the pixels that any source sees) and with
            a learned camera "focal" (its factor).
        """
        snippet = PreparedSnippet.of(prediction, batch, self.highlights, self.scale)
        scales = range(len(prediction.disparities))
        views, smooths, penalties, kept, seen = [], [], [], [], []
        full = self._level(snippet, None) if self.full_resolution else None
        finest: list[Synthesis] = []
        for scale in scales:
            disparity = full_precision(prediction.disparities[scale])
            own_size = (disparity.shape[-2], disparity.shape[-1])
            level = full or self._level(snippet, own_size)
            enlarged = disparity
            if own_size != level.size:
                enlarged = functional.interpolate(disparity[:, None], size=level.size, mode="bilinear")[:, 0]
            depth = snippet.scaled(1 / enlarged)
            warps = [level.warp(depth, number, snippet) for number in range(snippet.sources)]
            finest = finest or warps
            reprojected, valid = self._reprojected(warps, level, snippet, scale)
            views.append(reprojected.loss)
            if reprojected.penalty is not None:
                penalties.append(reprojected.penalty)
            kept.append(reprojected.kept)
            seen.append(valid.to(depth).mean((-1, -2)))
            image, mask = snippet.target_at(own_size)
            smooths.append(self.smoothness(disparity, image, mask) * self.smoothness.weight / 2**scale)
        share = 1 / len(scales) if self.average_scales else 1.0
        terms = {
            "view": self.view_weight * share * self._mean(torch.stack(views).sum(0), snippet),
            "smooth": share * self._mean(torch.stack(smooths).sum(0), snippet),
        }
        if penalties:
            terms["explained"] = share * self._mean(torch.stack(penalties).sum(0), snippet)
        if self.consistency is not None and snippet.source_depths is not None:
            losses = self._consistency(finest, snippet)
            terms["consistency"] = self.consistency.weight * self._mean(losses, snippet)
        figures = {"kept": torch.stack(kept).mean(), "seen": torch.stack(seen).mean()}
        if prediction.camera is not None:
            figures["focal"] = prediction.camera[:2].exp().mean()
        return {"loss": torch.stack(list(terms.values())).sum(), **terms, **figures}

    def _level(self, snippet: PreparedSnippet, size: tuple[int, int] | None) -> Level:
        at_rest = isinstance(self.reprojection, MinimumReprojection) and self.reprojection.auto_mask
        return Level.of(snippet, size, self.error, at_rest, self.brightness)

    def _mean(self, losses: Float[Tensor, " batch"], snippet: PreparedSnippet) -> Float[Tensor, ""]:
        """Over the samples whose scale is known."""
        kept = torch.where(snippet.supported, losses, 0.0)
        return kept.sum() / snippet.supported.sum().clamp_min(1)

    def _reprojected(
        self, warps: list[Synthesis], level: Level, snippet: PreparedSnippet, scale: int
    ) -> tuple[Reprojected, MaskMaps]:
        """The photometric loss of one scale, and where any source says something."""
        errors, valid = [], []
        for number, warp in enumerate(warps):
            image = warp.image
            if self.brightness is not None:
                image = torch.where(warp.valid[:, None], self.brightness(image, level.reference.image, warp.valid), 0.0)
            error = self.error(image, level.reference)
            if self.consistency is not None and self.consistency.weighting and number < snippet.offsets:
                depth = snippet.source_depths_at(level.size)[:, number]
                error = error * (1 - depth_difference(warp, depth).detach())
            errors.append(error)
            valid.append(self.error.valid(warp.valid))
        stacked, where = torch.stack(errors, 1), torch.stack(valid, 1)
        match self.reprojection:
            case MinimumReprojection() as minimum:
                return minimum(stacked, where, level.still, level.still_valid), where.any(1)
            case EverySource() as every:
                return every(stacked, where, _at(snippet.explained, scale)), where.any(1)

    def _consistency(self, warps: list[Synthesis], snippet: PreparedSnippet) -> Float[Tensor, " batch"]:
        """Both directions: the target's depth seen from each source, and each source's from the target."""
        assert self.consistency is not None and snippet.source_depths is not None
        target_depth, total = snippet.target_depth, snippet.target_depth.new_zeros(len(snippet.target_depth))
        for number, warp in enumerate(warps[: snippet.offsets]):
            there = snippet.source_depths[:, number]
            back = synthesised(
                there[:, None],
                there,
                snippet.motions[number].inverse(),
                snippet.camera_of(1 + number),
                snippet.camera_of(0),
                snippet.mask_of(1 + number),
                snippet.mask_of(0),
            )
            forward = self.consistency(depth_difference(warp, there), warp.valid)
            backward = self.consistency(depth_difference(back, target_depth), back.valid)
            total = total + (forward + backward) / (2 * snippet.offsets)
        return total


def _at(maps: tuple[Tensor, ...], scale: int) -> Tensor | None:
    return maps[scale] if scale < len(maps) else None
