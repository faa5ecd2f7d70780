"""How good depth maps are: metrics and alignments. A number without its alignment means nothing here."""

from collections.abc import Iterable, Iterator, Sequence as Rows
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Lens
from depthscope.geometry.depth import warped

DELTA = 1.25
"""Base of the thresholds of delta1, delta2 and delta3."""

MOST_PIXELS = 100_000
"""Of each frame that enter the median over all pixels, evenly taken where there are more."""


class NoOverlapError(BadInputError):
    """No frame has a pixel that both prediction and truth know."""


@dataclass(frozen=True)
class DepthMetrics:
    """Mean errors over the valid pixels of one frame, or over frames.

    Attributes:
        abs_rel: mean |d - g| / g.
        sq_rel: mean (d - g)^2 / g, in the unit of depth.
        rmse: root of mean (d - g)^2, in the unit of depth.
        rmse_log: root of mean (log d - log g)^2.
        delta1, delta2, delta3: Share of pixels with max(d/g, g/d) below 1.25, its square, its cube.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    delta1: float
    delta2: float
    delta3: float

    @classmethod
    def of(cls, depth: Float[Tensor, " pixels"], truth: Float[Tensor, " pixels"]) -> "DepthMetrics":
        """Metrics of aligned depths, all positive."""
        difference, e = depth - truth, (depth / truth).log()
        ratio = e.abs().exp()
        return cls(
            float((difference.abs() / truth).mean()),
            float((difference**2 / truth).mean()),
            float((difference**2).mean().sqrt()),
            float((e**2).mean().sqrt()),
            *(float((ratio < DELTA**k).double().mean()) for k in (1, 2, 3)),
        )

    @classmethod
    def mean(cls, metrics: Rows["DepthMetrics"]) -> "DepthMetrics":
        """The mean over frames."""
        names = cls.__dataclass_fields__
        return cls(*(sum(getattr(m, name) for m in metrics) / len(metrics) for name in names))


@dataclass(frozen=True, eq=False)
class ComparedFrame:
    """Predicted and true depth at the same places of one frame.

    Attributes:
        name: The frame's name.
        depth: Predicted depth, positive, shape (pixels,).
        truth: True depth, positive, shape (pixels,).
        scale_from: Pairs of (depth, truth) that decide the frame's scale, or None to use the measured ones.
    """

    name: str
    depth: Float[Tensor, " pixels"]
    truth: Float[Tensor, " pixels"]
    scale_from: tuple[Float[Tensor, " anchors"], Float[Tensor, " anchors"]] | None = None

    @property
    def factor(self) -> float:
        """r_f: ratio of the medians; with anchors, whose places are few and chosen, the median of their ratios."""
        if self.scale_from is None:
            return float(median(self.truth) / median(self.depth))
        depth, truth = self.scale_from
        return float(median(truth.double() / depth.double()))


@dataclass(frozen=True)
class DepthEvaluation:
    """Depth errors of a sequence under both alignments; neither is to be quoted without the other.

    Attributes:
        protocol: What was compared, with its version.
        per_frame_median: Every frame scaled by its own factor: shape only.
        per_sequence: One factor for all frames: shape and consistency of scale.
        median_abs_rel: Median of |d - g| / g over all pixels, per-frame scale.
        scale_drift: Standard deviation of the factors over their median.
        frames: Frames measured.
        skipped: Frames without anything to compare.
        rows: Name, factor and per-frame metrics of every frame.
        metric: Without any scaling, or None where predictions claim no unit.
        scale: The one factor of `per_sequence`, truth over prediction.
    """

    protocol: str
    per_frame_median: DepthMetrics
    per_sequence: DepthMetrics
    median_abs_rel: float
    scale_drift: float
    frames: int
    skipped: tuple[str, ...] = ()
    rows: tuple[tuple[str, float, DepthMetrics], ...] = field(default=(), repr=False)
    metric: DepthMetrics | None = None
    scale: float = 1.0


def evaluated(
    frames: Iterable[ComparedFrame], protocol: str, clamp: tuple[float, float] | None = None, *, metric: bool = False
) -> DepthEvaluation:
    """Metrics of the frames under both alignments.

    Args:
        frames: Gone through twice, one frame at a time; an iterator is kept whole.
        protocol: What was compared, with its version.
        clamp: Where aligned predictions are cut off, or None.
        metric: Also without any alignment.

    Raises:
        BadInputError: No frame has anything to compare.
    """
    frames = list(frames) if isinstance(frames, Iterator) else frames
    known: list[tuple[str, float | None]] = []
    for f in frames:
        usable = len(f.depth) and (f.scale_from is None or len(f.scale_from[0]))
        known.append((f.name, f.factor if usable else None))
    factors = [(name, r) for name, r in known if r is not None]
    if not factors:
        raise NoOverlapError("no frame in which prediction and truth overlap", "frames of the same recording")
    ratios = torch.tensor([r for _, r in factors], dtype=torch.float64)
    common = float(ratios.log().quantile(0.5).exp())
    own, shared, unscaled, errors = [], [], [], []
    for f, (_, factor) in zip(frames, known, strict=True):
        if factor is None:
            continue
        truth = f.truth.double()
        aligned, together, given = (clamped(f.depth.double() * r, clamp) for r in (factor, common, 1.0))
        own.append(DepthMetrics.of(aligned, truth))
        shared.append(DepthMetrics.of(together, truth))
        unscaled += [DepthMetrics.of(given, truth)] if metric else []
        relative = (aligned - truth).abs() / truth
        errors.append(relative[:: max(1, -(-len(relative) // MOST_PIXELS))])
    return DepthEvaluation(
        protocol=protocol,
        per_frame_median=DepthMetrics.mean(own),
        per_sequence=DepthMetrics.mean(shared),
        median_abs_rel=float(median(torch.cat(errors))),
        scale_drift=float(ratios.std(correction=0) / ratios.quantile(0.5)),
        frames=len(factors),
        skipped=tuple(name for name, r in known if r is None),
        rows=tuple((name, r, m) for (name, r), m in zip(factors, own, strict=True)),
        metric=DepthMetrics.mean(unscaled) if metric else None,
        scale=common,
    )


def clamped(depth: Float[Tensor, " pixels"], ends: tuple[float, float] | None) -> Float[Tensor, " pixels"]:
    """Depths cut off at both ends: cut, not left out."""
    return depth if ends is None else depth.clamp(*ends)


def cross_view_difference(
    depth: Float[Tensor, "frames height width"],
    mask: Bool[Tensor, "frames height width"],
    camera_from_world,
    camera: Lens,
    gap: int,
    occlusion_tolerance: float = 0.1,
) -> float:
    """Mean |Z~ - Z| / Z where two frames `gap` apart see the same surface, over all such pairs in both directions.

    A constant depth is nearly consistent: read this beside an error, never alone.

    Args:
        depth: Depth maps in the unit of the motions, divided so that their median is near 1.
        mask: Where they are known.
        camera_from_world: Motion of each frame, batch shape (frames,).
        camera: Camera of all, without a batch.
        gap: Frames from one to the other.
        occlusion_tolerance: As in `depthscope.geometry.depth.warped`.
    """
    differences = []
    one = camera.repeated(1)
    safe = torch.where(mask, depth, 1.0)
    for j in range(len(depth) - gap):
        for far, near in ((j, j + gap), (j + gap, j)):
            near_from_far = camera_from_world[near : near + 1] @ camera_from_world[far : far + 1].inverse()
            warp = warped(
                safe[far : far + 1],
                safe[near : near + 1],
                near_from_far.to(depth.dtype),
                one,
                mask[far : far + 1],
                mask[near : near + 1],
                occlusion_tolerance=occlusion_tolerance,
            )
            if bool(warp.valid.any()):
                differences.append(((warp.depth[0] - depth[near]).abs() / safe[near])[warp.valid[0]].mean())
    if not differences:
        raise BadInputError(f"no two frames {gap} apart that see the same surface", "a clip with overlap")
    return float(torch.stack(differences).mean())


def median(values: Float[Tensor, " values"]) -> Float[Tensor, ""]:
    """The median as NumPy has it (the mean of two for an even count), of any number of values."""
    ordered = values.double().sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def spread(values: Float[Tensor, " values"]) -> Float[Tensor, ""]:
    """Median distance from the median, of any number of values: what is left of an error after the best shift."""
    return median((values - median(values)).abs())


def flat_wall(truth: Float[Tensor, " points"], anchors: Float[Tensor, " anchors"]) -> Float[Tensor, " points"]:
    """The floor: the median depth of the frame everywhere."""
    return torch.full_like(truth, float(anchors.quantile(0.5)))
