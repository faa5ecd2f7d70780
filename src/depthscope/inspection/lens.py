"""Self-calibration pull: do the images want another focal length?"""

import math
from dataclasses import replace

import torch

from depthscope.geometry import RigidMotion
from depthscope.inspection.adjustment import Adjusted, Bundle, adjusted
from depthscope.inspection.check import Check, at_most, cannot_tell
from depthscope.inspection.evidence import Evidence

MOST_PULL = 0.1
LEAST_DROP = 0.04
"""Share by which the cost has to fall before a pull is believed: a nearly free focal length follows any small error."""

STARTS = (-0.18, 0.18)
FEWEST = 60
FEWEST_FRAMES = 6


def self_calibration(evidence: Evidence) -> Check:
    """How far a free focal length (with k1) runs from the given one, and what the fit gains by it.

    A change of focal length is nearly made up for by depths and turns (bas-relief; Belhumeur et al. 1999), so the
    adjustment also starts from two such stretched scenes.
    """
    given = evidence.with_given_lens
    if len(given.bundle.points) < FEWEST or len(given.bundle.camera_from_world.translation) < FEWEST_FRAMES:
        return cannot_tell(MOST_PULL, "at most", "too few tracks of our own to calibrate by")
    best = freed(given.bundle)
    before, after = given.bundle.cost, best.bundle.cost
    drop = 1 - after / max(before, 1e-9)
    change = math.expm1(best.bundle.log_focal)
    sure = drop > LEAST_DROP
    word = "longer" if change > 0 else "shorter"
    found = (
        f"the images want a focal length about {abs(change):.0%} {word} (standard deviation {best.log_focal_sd:.1%}), "
        f"which lowers the cost by {drop:.0%}"
    )
    if not sure and abs(change) > MOST_PULL:
        return cannot_tell(
            MOST_PULL, "at most", "these images leave the focal length open", standard_error=best.log_focal_sd
        )
    return at_most(
        abs(change),
        MOST_PULL,
        found,
        f"the focal length is wrong by about {abs(change):.0%}, or distortion was not removed; calibrate the scope",
        unit="%",
        null=0.0,
        standard_error=best.log_focal_sd,
    )


def freed(bundle: Bundle) -> Adjusted:
    """The best of several starts, focal length and k1 free."""
    long = torch.bincount(bundle.track, minlength=len(bundle.points))
    kept = torch.zeros_like(long, dtype=torch.bool)
    kept[torch.argsort(long, descending=True)[:250]] = True
    some = bundle.of_tracks(kept)
    tries = [adjusted(some, intrinsics=True, steps=12)]
    tries += [adjusted(stretched(some, start), intrinsics=True, steps=12) for start in STARTS]
    best = min(tries, key=lambda result: result.bundle.cost).bundle
    found = replace(bundle, camera_from_world=best.camera_from_world, log_focal=best.log_focal, k1=best.k1)
    points = adjusted(found, poses=False, steps=5).bundle
    return adjusted(points, intrinsics=True, steps=5)


def stretched(bundle: Bundle, log_focal: float) -> Bundle:
    """The scene that looks nearly the same through a lens of another focal length."""
    factor = math.exp(log_focal)
    first = bundle.camera_from_world[:1]
    camera_from_first = bundle.camera_from_world @ first.inverse()
    stretch = torch.tensor([1.0, 1.0, factor], dtype=torch.float64)
    w, x, y, z = camera_from_first.quaternion_wxyz.unbind(-1)
    turned = torch.stack([w, x / factor, y / factor, z], -1)  # tilts look smaller through a longer lens, rolls do not
    motion = RigidMotion.from_quaternion(turned, camera_from_first.translation * stretch)
    return replace(
        bundle,
        points=first.apply(bundle.points) * stretch,
        camera_from_world=motion,
        log_focal=bundle.log_focal + log_focal,
    )
