"""A run: a recipe and sequences become a trained network in a folder."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from depthscope.errors import BadInputError
from depthscope.geometry.depth import sample
from depthscope.geometry.scale import LogMedian
from depthscope.networks import as_prediction
from depthscope.recipes import Recipe, to_yaml
from depthscope.sequence import Sequence
from depthscope.supervision import Clip, SparsePoints, clip, network_size
from depthscope.training import PairDraws, SiameseDepth, TrainingResult, check_resumable, train

VALIDATION_FRAMES = 64
"""Most frames of one clip that are looked at in a validation."""

TRUSTED_SHARE = 0.9
"""The score leaves out the worst tenth of the held-out points: some are wrong themselves, and few decide a mean."""


@dataclass(frozen=True, eq=False)
class HeldOutPoints:
    """Validation on SfM points that were kept from training: agreement with SfM, not with anatomy.

    Every frame is brought to the points it was trained on, and measured at the others; clips that were kept from
    training as a whole are scaled and measured on all their points.

    Attributes:
        clips: Clips that were trained on.
        unseen: Clips that were not.
        batch: Frames in one pass.
    """

    clips: tuple[Clip, ...]
    unseen: tuple[Clip, ...] = ()
    batch: int = 8

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
        held = [(one, one.points, one.held_out) for one in self.clips if bool((one.held_out.weight > 0).any())]
        unseen = [(one, one.points, one.points) for one in self.unseen]
        return held + unseen or [(one, one.points, one.points) for one in self.clips]


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
        images = images.to(device).contiguous(memory_format=torch.channels_last)
        parts.append(as_prediction(network(images)).log_depth.float().cpu())
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


def prepared(sequences: Rows[Sequence], recipe: Recipe, store: Path) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """The clips to train on, and those kept from training as a whole; all at one network size.

    Raises:
        BadInputError: No sequences, two of one name, or one that cannot be learned from.
    """
    if not sequences:
        raise BadInputError("no sequences", "at least one to train on")
    names = [sequence.name for sequence in sequences]
    if len(set(names)) < len(names):
        raise BadInputError(f"two sequences called {max(names, key=names.count)}", "different names", "rename a folder")
    divisor = recipe.network.divisor
    sizes = [network_size(sequence, recipe.supervision, divisor) for sequence in sequences]
    size = sorted(sizes)[len(sizes) // 2]
    clips = [clip(sequence, recipe.supervision, size, store) for sequence in sequences]
    generator = torch.Generator().manual_seed(recipe.supervision.holdout.seed)
    kept = round(recipe.supervision.holdout.sequences * len(clips) + 0.499) if len(clips) > 1 else 0
    order = torch.randperm(len(clips), generator=generator).tolist()
    unseen = set(order[: min(kept, len(clips) - 1)])
    return (
        tuple(one for number, one in enumerate(clips) if number not in unseen),
        tuple(one for number, one in enumerate(clips) if number in unseen),
    )


def train_recipe(
    recipe: Recipe,
    sequences: Rows[Sequence],
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
    store: Path | None = None,
    fabric: Fabric | None = None,
) -> TrainingResult:
    """Trains the recipe's network on the sequences and leaves checkpoints and logs in `out`.

    Args:
        recipe: Everything that decides the run beside the data.
        sequences: SfM sequences.
        out: The run's folder.
        resume: Go on from the checkpoint there.
        quiet: No progress display.
        store: Where frames are kept at network size; ``out/store`` if not given.
        fabric: Devices, where they were launched before.

    Raises:
        BadInputError: See `prepared` and `depthscope.training.train`.
    """
    record = {"recipe": to_yaml(recipe), "sequences": [sequence.name for sequence in sequences]}
    if resume:
        check_resumable(out, record)
    clips, unseen = prepared(sequences, recipe, store or out / "store")
    torch.manual_seed(recipe.training.seed)
    task = SiameseDepth(
        network=recipe.network.build(),
        objective=recipe.objective,
        augmentation=recipe.augmentation,
        seed=recipe.training.seed,
        channels_last=recipe.training.channels_last,
    )
    return train(
        task,
        PairDraws(clips, recipe.training.seed),
        recipe.training,
        out,
        validate=HeldOutPoints(clips, unseen),
        record=record,
        resume=resume,
        fabric=fabric,
        quiet=quiet,
    )
