"""The siamese objective (Liu et al. 2018, Eq. 5): one network, two frames of a clip, supervised by its SfM."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Lens, RigidMotion
from depthscope.geometry.depth import rays, sample, warped
from depthscope.geometry.scale import ScaleEstimator, TrimmedLogMean
from depthscope.networks import DepthPrediction
from depthscope.objectives.consistency import Absolute, ConsistencyResidual, Normalised
from depthscope.objectives.flow import sparse_flow_loss
from depthscope.objectives.prior import gradient_difference
from depthscope.objectives.sparse import robust_scale_invariant_loss, scale_agreement, scale_invariant_loss
from depthscope.supervision import PairBatch, SparsePoints


@dataclass(frozen=True)
class Siamese:
    """Options of the objective; the defaults are the paper's.

    Attributes:
        sparse_weight: Weight of Eq. 3.
        robust_width: If given, Eq. 3 grows slowly beyond this residual in log depth, about the scaling layer's factor.
        consistency_weight: omega of Eq. 5.
        early_consistency_weight: Its value for the first `early_draws` pairs of a run, before depth has a shape.
        early_draws: See there.
        consistency: Residual of Eq. 4.
        flow_weight: Weight of the sparse flow loss (0 in the paper, which does not have it).
        agreement_weight: Weight of the disagreement of scale between the frames of a pair (0 in the paper).
        prior_weight: Weight of what the network keeps of the weights it started from, where it started from any
            (`depthscope.objectives.prior`; 0 in the paper, which starts from random ones).
        scale: Estimator of the scaling layer.
        soft_mask: False replaces the soft masks by binary ones (an ablation).
        nearest_pixel: Read predictions at the pixel that holds the point, as Eq. 1 is printed, not between pixels.
        occlusion_tolerance: See `depthscope.geometry.depth.warped`.
        detach_position: Likewise.
    """

    sparse_weight: float = 1.0
    robust_width: float | None = None
    consistency_weight: float = 2e-4
    early_consistency_weight: float = 0.0
    early_draws: int = 0
    consistency: ConsistencyResidual = field(default_factory=Absolute)
    flow_weight: float = 0.0
    agreement_weight: float = 0.0
    prior_weight: float = 0.0
    scale: ScaleEstimator = field(default_factory=TrimmedLogMean)
    soft_mask: bool = True
    nearest_pixel: bool = False
    occlusion_tolerance: float = float("inf")
    detach_position: bool = False

    def __post_init__(self) -> None:
        for name in (
            "sparse_weight",
            "consistency_weight",
            "early_consistency_weight",
            "flow_weight",
            "agreement_weight",
            "prior_weight",
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise BadInputError(f"objective.{name} {getattr(self, name)}", "a weight of 0 or more")
        for name in ("robust_width", "occlusion_tolerance"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadInputError(f"objective.{name} {value}", "more than 0")

    def __call__(
        self,
        prediction: DepthPrediction,
        batch: PairBatch,
        prior: Float[Tensor, "frames height width"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Losses of a batch, each a mean over the pairs with points in both frames; "loss" is their sum (Eq. 5).

        Args:
            prediction: Of the frames j of all pairs, then the frames k: shape (2 * pairs, height, width).
            batch: The pairs.
            prior: Log depth of the same frames by the weights that training started from.

        Returns:
            "loss", the terms that have a weight, and as diagnostics "scale_spread", "trimmed", "overlap" (share of the
            content that was compared in Eq. 4) and "unsupported" (share of frames without points).
        """
        frames = _Frames.of(batch)
        points = frames.points if self.soft_mask else frames.points.binary
        log_depth, log_sparse = prediction.log_depth, points.depth.log()
        at_points = self._at(log_depth, points)
        scale = self.scale(log_sparse - at_points, points.weight)
        scaled = (log_depth + scale.log_factor[:, None, None]).exp()  # scaling layer: Z = sigma Y

        supported = _both(scale.supported).all(1)

        def per_pair(losses: Tensor) -> Tensor:
            """The sum over the two frames of a pair, then the mean over the supported pairs."""
            sums = torch.where(supported, _both(losses).sum(1), 0.0)
            return sums.sum() / supported.sum().clamp_min(1)

        terms: dict[str, Tensor] = {}
        overlap = log_depth.new_zeros(())
        if self.sparse_weight:
            log_std = None if prediction.log_std is None else self._at_in_log(prediction.log_std, points)
            terms["sparse"] = per_pair(self._sparse(at_points, log_sparse, points.weight, scale.log_factor, log_std))
        if self.consistency_weight or self.early_consistency_weight:
            losses, overlap = self._consistency(scaled, scale.supported, frames)
            terms["consistency"] = per_pair(losses)
        if self.flow_weight:
            depth = (at_points + scale.log_factor[:, None]).exp()
            losses, _ = sparse_flow_loss(
                depth, points.depth, points.pixels, points.weight, frames.right_from_left, frames.camera, frames.size_px
            )
            terms["flow"] = per_pair(losses)
        if self.agreement_weight:
            terms["agreement"] = per_pair(scale_agreement(scale.log_factor, _swapped(scale.log_factor)) / 2)
        if self.prior_weight and prior is not None:
            terms["prior"] = gradient_difference(log_depth - prior, frames.mask)

        total = log_depth.new_zeros(())
        for name, term in terms.items():
            total = total + self._weight(name, batch) * term  # Eq. 5
        return {
            "loss": total,
            **terms,
            "scale_spread": scale.spread.mean(),
            "trimmed": scale.trimmed.mean(),
            "overlap": overlap,
            "unsupported": 1 - scale.supported.to(log_depth).mean(),
        }

    def _weight(self, name: str, batch: PairBatch) -> Tensor | float:
        if name == "consistency" and self.early_draws:
            early = batch.draws.min() < self.early_draws
            return torch.where(early, self.early_consistency_weight, self.consistency_weight)
        return getattr(self, f"{name}_weight")

    def _at(self, log_depth: Tensor, points: SparsePoints) -> Tensor:
        """Log depth at points: of the pixel that holds them, or between pixels in inverse depth (exact on planes)."""
        if self.nearest_pixel:
            return _nearest(log_depth, points.pixels)
        return -sample((-log_depth).exp()[:, None], points.pixels)[:, 0].log()

    def _at_in_log(self, log_std: Tensor, points: SparsePoints) -> Tensor:
        return _nearest(log_std, points.pixels) if self.nearest_pixel else sample(log_std[:, None], points.pixels)[:, 0]

    def _sparse(self, at_points, log_sparse, weight, log_factor, log_std) -> Tensor:
        """Eq. 3 of every frame, or its robust form."""
        if self.robust_width is None and log_std is None:
            return scale_invariant_loss(at_points, log_sparse, weight)
        width = 0.02 if self.robust_width is None else self.robust_width
        return robust_scale_invariant_loss(at_points, log_sparse, weight, log_factor, width, log_std)

    def _consistency(self, scaled: Tensor, supported: Tensor, frames: "_Frames") -> tuple[Tensor, Tensor]:
        """Eq. 4 in both directions at once: every frame is warped onto the other frame of its pair."""
        near, near_mask = _swapped(scaled), _swapped(frames.mask)
        warp = warped(
            scaled,
            near,
            frames.right_from_left,
            frames.camera,
            frames.mask,
            near_mask,
            occlusion_tolerance=self.occlusion_tolerance,
            detach_position=self.detach_position,
        )
        valid = warp.valid & (supported & _swapped(supported))[:, None, None]
        match self.consistency:
            case Normalised() as residual:
                ray_l1 = rays(near.shape[-2], near.shape[-1], frames.camera).abs().sum(-1)
                losses = residual(warp.depth, near, valid, ray_l1)
            case residual:
                losses = residual(warp.depth, near, valid)
        return losses, valid.sum() / near_mask.sum().clamp_min(1)


@dataclass(frozen=True, eq=False)
class _Frames:
    """The frames of a batch in the network's order: all frames j, then all frames k."""

    mask: Bool[Tensor, "frames height width"]
    points: SparsePoints
    right_from_left: RigidMotion
    camera: Lens
    size_px: tuple[int, int]

    @classmethod
    def of(cls, batch: PairBatch) -> "_Frames":
        k_from_j, j_from_k = batch.k_from_j, batch.k_from_j.inverse()
        height, width = batch.mask.shape[-2:]
        points = (
            t.transpose(0, 1).flatten(0, 1) for t in (batch.points.pixels, batch.points.depth, batch.points.weight)
        )
        return cls(
            mask=batch.mask.transpose(0, 1).flatten(0, 1),
            points=SparsePoints(*points),
            right_from_left=RigidMotion(
                torch.cat([k_from_j.rotation, j_from_k.rotation]),
                torch.cat([k_from_j.translation, j_from_k.translation]),
            ),
            camera=batch.camera[[*range(len(batch))] * 2],
            size_px=(width, height),
        )


def _both(values: Tensor) -> Tensor:
    """Values of all frames as shape (pairs, 2)."""
    return values.unflatten(0, (2, -1)).transpose(0, 1)


def _swapped(values: Tensor) -> Tensor:
    """For every frame the value of the other frame of its pair."""
    return values.roll(len(values) // 2, 0)


def _nearest(maps: Tensor, pixels: Tensor) -> Tensor:
    height, width = maps.shape[-2:]
    x, y = pixels[..., 0].long().clamp(0, width - 1), pixels[..., 1].long().clamp(0, height - 1)
    return maps.flatten(1).gather(1, y * width + x)
