"""Does the registered camera see what it saw? The target is looked at along the source's own rays."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.geometry import Similarity
from depthscope.registration.residuals import SATURATION, placed, robust
from depthscope.registration.target import Target
from depthscope.registration.view import PointNoise, Samples


@dataclass(frozen=True, eq=False)
class Sight:
    """What the target shows along the samples' rays.

    Attributes:
        coverage: Weighted share of the rays that end where the source says, within two standard deviations.
        nearer: Share that tissue stops before: the line of sight is violated.
        further: Share that go on, or end nowhere: the source floats.
        air_violation: Share of the cameras that stand in tissue.
        cost: Mean robust energy of distances and normals along the rays.
    """

    coverage: Float[Tensor, " starts"]
    nearer: Float[Tensor, " starts"]
    further: Float[Tensor, " starts"]
    air_violation: Float[Tensor, " starts"]
    cost: Float[Tensor, " starts"]


def sighted(samples: Samples, target: Target, at: Similarity, noise: PointNoise) -> Sight:
    """Casts the rays of all samples from their registered cameras."""
    count, size = len(at.scale), len(samples)
    centres = placed(at, samples.centres)
    starts = centres[:, samples.view]
    ends = placed(at, samples.position)
    ways = ends - starts
    hits = target.caster.cast(starts.reshape(-1, 3), ways.reshape(-1, 3))
    found = hits.found.reshape(count, size)
    share = torch.where(found, hits.distance.reshape(count, size), 10.0).clamp_min(1e-3)
    normal = target.face_normals[hits.face.clamp_min(0)].reshape(count, size, 3)
    expected = torch.einsum("bij,nj->bni", at.motion.rotation, samples.normal)
    slope = (normal * torch.nn.functional.normalize(ways, dim=-1)).sum(-1).abs().clamp_min(0.15)
    # Where the surface is seen obliquely, its own error and that across the ray act along the ray.
    length = ways.norm(dim=-1)
    sideways = (samples.across * at.scale[:, None]) ** 2 * (1 / slope**2 - 1)
    variance = (samples.along * at.scale[:, None]) ** 2 + (noise.surface_mm / slope) ** 2 + sideways
    deviation = (share - 1) * length / variance.sqrt()
    apart = (1 - (normal * expected).sum(-1)) * samples.kappa
    energy = torch.where(found, robust(0.5 * deviation**2 + apart), SATURATION)
    weight = samples.weight
    rooms = target.signed_distance(centres.reshape(-1, 3))[0].reshape(centres.shape[:2])
    return Sight(
        ((deviation.abs() < 2) & found).to(weight) @ weight,
        ((deviation < -2) & found).to(weight) @ weight,
        ((deviation > 2) | ~found).to(weight) @ weight,
        (rooms < 0).to(weight).mean(-1),
        energy @ weight,
    )
