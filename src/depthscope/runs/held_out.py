"""Validation on what was kept from training, or, where nothing was, on what was trained on, which is then said."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from depthscope.geometry.depth import sample
from depthscope.geometry.scale import LogMedian
from depthscope.networks import as_prediction
from depthscope.networks.ray_channels import of_kind, with_rays
from depthscope.supervision import Clip, SnippetClip, SparsePoints
from depthscope.training import VideoDepth
from depthscope.training.snippet_draws import gathered

VALIDATION_FRAMES = 64
"""Most frames of one clip that are looked at in a validation."""

TRUSTED_SHARE = 0.9
"""The score leaves out the worst tenth of the held-out points: some are wrong themselves, and few decide a mean."""


class ValidatedOn(StrEnum):
    """What a validation looks at; on what was trained on it chooses a checkpoint, and is no measure of accuracy."""

    KEPT_POINTS = "points kept from training"
    KEPT_CLIPS = "clips kept from training"
    KEPT_BOTH = "points and clips kept from training"
    TRAINED_POINTS = "points of the clips trained on, as none were kept from training"
    KEPT_SNIPPETS = "snippets kept from training"
    TRAINED_SNIPPETS = "snippets trained on, as none were kept from training"

    @property
    def kept(self) -> bool:
        """Whether it was kept from training."""
        return self not in (ValidatedOn.TRAINED_POINTS, ValidatedOn.TRAINED_SNIPPETS)


@dataclass(frozen=True, eq=False)
class HeldOutPoints:
    """Validation on SfM points that were kept from training: agreement with SfM, not with anatomy.

    Every frame is brought to the points it was trained on, and measured at the others; clips that were kept from
    training as a whole are scaled and measured on all their points. Where nothing was kept, the points that were
    trained on choose the checkpoint, and `looks_at` says so.

    Attributes:
        clips: Clips that were trained on.
        unseen: Clips that were not.
        batch: Frames in one pass.
    """

    clips: tuple[Clip, ...]
    unseen: tuple[Clip, ...] = ()
    batch: int = 8

    @property
    def looks_at(self) -> ValidatedOn:
        """What is measured at."""
        points = any(_has_points(one.held_out) for one in self.clips)
        match points, bool(self.unseen):
            case True, True:
                return ValidatedOn.KEPT_BOTH
            case True, False:
                return ValidatedOn.KEPT_POINTS
            case False, True:
                return ValidatedOn.KEPT_CLIPS
            case _:
                return ValidatedOn.TRAINED_POINTS

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Errors at the measured points; "score" decides which checkpoint is best (smaller is better).

        Returns:
            "score" (mean AbsRel of all but the worst tenth of the points), "abs_rel" (mean over frames of the mean over
            points), "median" (over points), "scale_drift" (standard deviation over median of the frames' scales) and
            "frames".
        """
        errors, per_frame, drifts = [], [], []
        for one, anchors, measured in self._measurements():
            frames = frames_to_look_at(one, measured)
            log_depth = predicted(network, one, frames, self.batch)
            factor = scale_of(log_depth, anchors[frames]).log_factor
            error = relative_errors(log_depth + factor[:, None, None], measured[frames])
            used = measured.weight[frames] > 0
            per_frame += [float(e[u].mean()) for e, u in zip(error, used, strict=True)]
            errors.append(error[used])
            drifts.append(float(factor.exp().std(correction=0) / factor.exp().median()))
        pooled = torch.cat(errors).sort().values
        return {
            "score": float(pooled[: max(1, int(TRUSTED_SHARE * len(pooled)))].mean()),
            "abs_rel": sum(per_frame) / len(per_frame),
            "median": float(pooled.median()),
            "scale_drift": sum(drifts) / len(drifts),
            "frames": float(len(per_frame)),
        }

    def _measurements(self) -> list[tuple[Clip, SparsePoints, SparsePoints]]:
        """Clips with the points that decide their scale and those that are measured."""
        if not self.looks_at.kept:
            return [(one, one.points, one.points) for one in self.clips]
        held = [(one, one.points, one.held_out) for one in self.clips if _has_points(one.held_out)]
        return held + [(one, one.points, one.points) for one in self.unseen]


def _has_points(points: SparsePoints) -> bool:
    return bool((points.weight > 0).any())


def frames_to_look_at(one: Clip, measured: SparsePoints) -> Tensor:
    """Frames with points to measure, evenly spaced where there are many."""
    frames = ((measured.weight > 0).any(1) & (one.points.weight > 0).any(1)).nonzero().flatten()
    return frames[:: max(1, -(-len(frames) // VALIDATION_FRAMES))]


def predicted(network: nn.Module, one: Clip, frames: Tensor, batch: int) -> Tensor:
    """Log depth of frames of a clip, shape (frames, height, width), on the CPU in fp32."""
    device = next(network.parameters()).device
    parts = []
    for some in frames.split(batch):
        images = one.store.frames[some].permute(0, 3, 1, 2).float() / 255 * one.store.mask
        cameras = one.camera.repeated(len(images))
        images = with_rays(network, images, cameras).to(device).contiguous(memory_format=torch.channels_last)
        said = as_prediction(network(images))
        said = of_kind(said, network, cameras.to(device), learned=cameras.kind)
        parts.append(said.log_depth.float().cpu())
    return torch.cat(parts)


def scale_of(log_depth: Tensor, points: SparsePoints):
    """Scale of each frame from its points: the median of the log ratios, every point counted alike."""
    return LogMedian()(points.depth.log() - log_depth_at(log_depth, points), points.binary.weight)


def relative_errors(log_depth: Tensor, points: SparsePoints) -> Tensor:
    """|z - y*| / y* at every point."""
    return (log_depth_at(log_depth, points).exp() - points.depth).abs() / points.depth


def log_depth_at(log_depth: Tensor, points: SparsePoints) -> Tensor:
    """Between pixels, in inverse depth."""
    return -sample((-log_depth).exp()[:, None], points.pixels)[:, 0].log()


@dataclass(frozen=True, eq=False)
class HeldOutSnippets:
    """Validation where there is no structure from motion: how well targets kept from training are synthesised.

    Neighbours of a held-out frame were trained on, and a photometric error is no depth error: it chooses a checkpoint,
    and says nothing of accuracy.

    Attributes:
        task: What is trained.
        clips: Clips that were trained on; their held-out snippets are looked at. Where no snippet and no clip was kept,
            those that were trained on choose the checkpoint, and `looks_at` says so.
        unseen: Clips that were not trained on.
        batch: Snippets in one pass.
    """

    task: VideoDepth
    clips: tuple[SnippetClip, ...]
    unseen: tuple[SnippetClip, ...] = ()
    batch: int = 4

    @property
    def looks_at(self) -> ValidatedOn:
        """What is measured at."""
        kept = bool(self.unseen) or any(len(one.held_out) for one in self.clips)
        return ValidatedOn.KEPT_SNIPPETS if kept else ValidatedOn.TRAINED_SNIPPETS

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Errors of the view synthesis; "score" decides which checkpoint is best (smaller is better).

        Returns:
            "score" (photometric part of the objective), "kept" and "seen" (see `ViewSynthesis`), and "snippets".
        """
        rows = self._rows()
        device = next(network.parameters()).device
        known, whole = self.task.objective.needs_sfm, all(one.whole for one, _ in rows)
        totals, count = {"view": 0.0, "kept": 0.0, "seen": 0.0}, 0
        for first in range(0, len(rows), self.batch):
            some = rows[first : first + self.batch]
            batch = gathered(some, range(first, first + len(some)), known, whole).to(device)
            seen = batch.clean if batch.shown is None else torch.where(batch.shown[:, :, None], batch.clean, 0.0)
            losses = self.task.losses(network, batch, seen)
            totals = {name: total + len(some) * float(losses[name]) for name, total in totals.items()}
            count += len(some)
        means = {name: total / count for name, total in totals.items()}
        return {"score": means["view"], "kept": means["kept"], "seen": means["seen"], "snippets": float(count)}

    def _rows(self) -> list[tuple[SnippetClip, Tensor]]:
        """Clips and frames to look at, evenly spaced where there are many."""
        if self.looks_at.kept:
            rows = [(one, row) for one in self.clips for row in one.held_out]
            rows += [(one, row) for one in self.unseen for row in one.snippets]
        else:
            rows = [(one, row) for one in self.clips for row in one.snippets]
        return rows[:: max(1, -(-len(rows) // VALIDATION_FRAMES))]
