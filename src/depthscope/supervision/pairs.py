"""Which two frames of a clip to train on together."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Lens, RigidMotion
from depthscope.sequence import Sequence
from depthscope.supervision.sparse_depth import SparsePoints


@dataclass(frozen=True)
class PairRule:
    """What makes two frames a pair.

    Attributes:
        min_gap: Fewest registered frames from one to the other.
        max_gap: Most.
        min_points: Fewest points that both saw.
        min_parallax_deg: Smallest median angle at those points between the rays to the two cameras; below it, depth
            hardly moves the image, and a frame gap alone does not tell (the camera may dwell).
    """

    min_gap: int = 1
    max_gap: int = 30
    min_points: int = 10
    min_parallax_deg: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.min_gap <= self.max_gap:
            raise BadInputError(f"pairs {self.min_gap} to {self.max_gap} frames apart", "1 <= min_gap <= max_gap")
        if self.min_points < 1:
            raise BadInputError(f"pairs.min_points {self.min_points}", "1 or more")
        if not 0 <= self.min_parallax_deg < 90:
            raise BadInputError(f"pairs.min_parallax_deg {self.min_parallax_deg}", "0 to 90 degrees")


def pair_table(
    sequence: Sequence, rule: PairRule
) -> tuple[Int[Tensor, "pairs 2"], Int[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """All pairs within the gaps of the rule: frames (j, k), points that both saw, their median parallax in degrees."""
    pairs, shared, parallax = [], [], []
    centres = sequence.camera_centres
    for gap in range(rule.min_gap, min(rule.max_gap, len(sequence) - 1) + 1):
        both = sequence.seen[:-gap] & sequence.seen[gap:]
        for j in range(len(both)):
            points = sequence.points[both[j]]
            pairs.append((j, j + gap))
            shared.append(len(points))
            if not len(points):
                parallax.append(0.0)
                continue
            a = torch.nn.functional.normalize(points - centres[j], dim=-1)
            b = torch.nn.functional.normalize(points - centres[j + gap], dim=-1)
            angle = 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))
            parallax.append(float(torch.rad2deg(angle.median())))
    return (
        torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
        torch.tensor(shared, dtype=torch.long),
        torch.tensor(parallax),
    )


def pairs_to_draw(sequence: Sequence, rule: PairRule) -> Int[Tensor, "pairs 2"]:
    """The pairs (j, k), j < k, that fulfil the rule.

    Raises:
        BadInputError: There are none.
    """
    pairs, shared, parallax = pair_table(sequence, rule)
    good = (shared >= rule.min_points) & (parallax >= rule.min_parallax_deg)
    if not bool(good.any()):
        most = (
            f"the best pair shares {int(shared.max())} points at {float(parallax[shared.argmax()]):.2f} degrees"
            if len(shared)
            else "it has no pair"
        )
        raise BadInputError(
            f"{sequence.name}: no two frames see enough of the same points ({most})",
            f"{rule.min_points} points at {rule.min_parallax_deg} degrees of parallax",
            "use a clip in which the camera moves, or lower supervision.pairs.min_points or min_parallax_deg",
        )
    return pairs[good]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """A batch of training pairs; axis 1 holds the two frames j and k.

    Attributes:
        images: What the network sees, shape (pairs, 2, 3, height, width), sRGB 0..1; bytes until they are augmented.
        mask: True where a frame shows tissue to learn from, shape (pairs, 2, height, width).
        camera: Camera of each pair at network size, batch shape (pairs,).
        k_from_j: Motion of each pair, in units where the sequence's median depth is 1.
        points: Sparse points of both frames, batch shape (pairs, 2).
        draws: Number of each draw, shape (pairs,).
        content: What the network is shown, black elsewhere, shape as `mask`; None where that is the mask.
    """

    images: Float[Tensor, "pairs 2 3 height width"] | UInt8[Tensor, "pairs 2 3 height width"]
    mask: Bool[Tensor, "pairs 2 height width"]
    camera: Lens
    k_from_j: RigidMotion
    points: SparsePoints
    draws: Int[Tensor, " pairs"]
    content: Bool[Tensor, "pairs 2 height width"] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "PairBatch":
        """The batch on another device."""
        names = ("images", "mask", "camera", "k_from_j", "points", "draws")
        content = None if self.content is None else self.content.to(device)
        return PairBatch(*(getattr(self, name).to(device) for name in names), content=content)

    @property
    def shown(self) -> Bool[Tensor, "pairs 2 height width"]:
        """Where the network is shown the image."""
        return self.mask if self.content is None else self.content
