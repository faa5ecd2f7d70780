"""Surfaces without cameras and without a scale: how often `register` accepts them, and how far off those lie.

    python benchmarks/unscaled.py [--seeds 4 5] [--patches 3] [--turbinates]

Patches of the wall of simulated noses, with noise on points and normals and at a scale drawn from 0.03 to 30, are
registered to the CT of their own patient, of another one, and to the mirrored CT. Prints one line for each: the true
error, the ratio of scales, the odds, the confidence, and why it was refused. With `--turbinates` patches lie about what
bulges farthest into the air, and are small: the case in which a surface once shrank onto a wall.
"""

import argparse
import math
import time
from dataclasses import replace

import numpy as np
import torch

from depthscope.errors import DepthscopeError
from depthscope.formats.ct import extracted_surface
from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.geometry.rotation import rotation_from_vector
from depthscope.registration import Registration, Search, Target, register, register_unscaled
from depthscope.simulation.anatomy import patient
from depthscope.simulation.ct import Scanner, scanned

QUICK = Registration(search=Search(step_mm=4.5, turn_deg=25.0, rays=32, kept=24), coarse=200, middle=400, fine=500)
"""Coarser than the default, so that a run fits in a minute of a core."""


CANDIDATES, BULGE_MM = 200, 6.0
"""Points of the wall of which the one that bulges most is taken, and within which radius."""


def wall(seed: int) -> Surface:
    """The surface of a patient's CT."""
    return extracted_surface(scanned(patient(seed, "nasal", spacing_mm=1.0), Scanner(voxel_mm=(1.0, 1.0, 1.0))))


def patch(
    surface: Surface, radius_mm: float, noise_mm: float, draw: np.random.Generator, bulging: bool = False
) -> tuple[Surface, Similarity]:
    """Oriented points within a ball about a point of the wall, in a frame and unit of their own, and the truth."""
    assert surface.normals is not None
    points, normals = surface.points.double(), surface.normals.double()
    candidates = draw.integers(len(points), size=CANDIDATES if bulging else 1).tolist()
    middle = points[max(candidates, key=lambda row: bulge(points, points[row], normals[row]))]
    rows = ((points - middle).norm(dim=-1) < radius_mm).nonzero()[:, 0]
    rows = rows[torch.from_numpy(draw.permutation(len(rows))[:4000])]
    points = points[rows] + noise_mm * torch.from_numpy(draw.standard_normal((len(rows), 3)))
    normals = normals[rows] + 0.17 * torch.from_numpy(draw.standard_normal((len(rows), 3)))
    axis = draw.normal(size=3)
    turn = rotation_from_vector(torch.from_numpy(1.5 * axis / np.linalg.norm(axis)))
    scale = torch.tensor(math.exp(draw.uniform(math.log(0.03), math.log(30))), dtype=torch.float64)
    own = Similarity(scale, RigidMotion(turn, torch.from_numpy(draw.normal(0, 5, 3))))
    normals = torch.nn.functional.normalize(normals, dim=-1) @ turn.T
    return Surface(own.apply(points), normals), own.inverse()


def bulge(points: torch.Tensor, at: torch.Tensor, normal: torch.Tensor) -> float:
    """How far the wall falls away on average within `BULGE_MM` of a point: positive where it stands out."""
    near = points[(points - at).norm(dim=-1) < BULGE_MM]
    return -float(((near - at) @ normal).mean())


def mirrored(surface: Surface) -> Surface:
    """The left of it at the right."""
    assert surface.normals is not None and surface.faces is not None
    flip = surface.points.new_tensor([-1.0, 1.0, 1.0])
    return replace(surface, points=surface.points * flip, normals=surface.normals * flip, faces=surface.faces.flip(1))


def main() -> None:
    """Runs all scenes and sums up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[4, 5])
    parser.add_argument("--patches", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="the plain register, for comparison")
    parser.add_argument("--turbinates", action="store_true", help="patches about what bulges most, 8 to 18 mm")
    parser.add_argument("--targets", nargs="+", default=["own", "other", "mirrored"])
    options = parser.parse_args()
    solve = register if options.plain else register_unscaled
    walls = {seed: wall(seed) for seed in options.seeds}
    targets: dict[tuple[str, int], Target] = {}
    counts: dict[str, list[int]] = {}
    for seed in options.seeds:
        draw = np.random.default_rng(seed)
        for number in range(options.patches):
            radius, noise = draw.uniform(*((8, 18) if options.turbinates else (12, 40))), draw.uniform(0.1, 0.6)
            source, truth = patch(walls[seed], radius, noise, draw, options.turbinates)
            for kind in options.targets:
                other = options.seeds[(options.seeds.index(seed) + 1) % len(options.seeds)]
                at = (kind if kind == "mirrored" else "", other if kind == "other" else seed)
                if at not in targets:
                    targets[at] = Target(mirrored(walls[seed]) if kind == "mirrored" else walls[at[1]])
                began, told = time.process_time(), ""
                try:
                    found = solve(source, targets[at], QUICK)
                    away = found.target_from_source.apply(source.points) - truth.apply(source.points)
                    error = float(away.norm(dim=-1).mean()) if kind == "own" else math.nan
                    accepted = not found.ambiguous
                    verdict = "ACCEPTED" if accepted else "; ".join(found.reasons)
                    told = (
                        f"error {error:6.2f} mm, scale x{found.scale / float(truth.scale):6.3f}, odds "
                        f"{found.evidence.log_odds:5.1f}, confidence {found.confidence:.2f}, halves "
                        f"{found.evidence.halves_apart_mm:5.1f} mm, inliers {found.evidence.inlier_share:.2f}, cost "
                        f"{found.evidence.cost:.2f}, open {found.evidence.predicted_tre_mm:.1f} mm, {verdict}"
                    )
                    wrong = accepted and not error < 2
                except DepthscopeError as failure:
                    accepted, wrong, told = False, False, str(failure)
                row = counts.setdefault(kind, [0, 0, 0])
                row[0] += 1
                row[1] += accepted
                row[2] += wrong
                seconds = time.process_time() - began
                print(f"{seed} patch {number} of {radius:.0f} mm, {kind}: {told} ({seconds:.0f} s)", flush=True)
    for kind, (runs, accepted, wrong) in counts.items():
        print(f"{kind}: {runs} runs, {accepted} accepted, {wrong} of them wrong", flush=True)


if __name__ == "__main__":
    main()
