"""Does fusion keep the shape, how long does it take, and how much memory?

    python benchmarks/fusion.py --out DIR [--frames 200]

A sphere and a tube of known radius are seen from inside at 320 x 256, with exact depth and with 2 % noise in every
pixel; the radius of the fused surface is fitted. Writes ``fusion.json`` and prints the table.
"""

import argparse
import json
import math
import platform
import resource
import time
from pathlib import Path

import torch

from depthscope.fusion import DepthFrame, Fusion, fuse
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.depth import rays

CAMERA = Camera((320, 256), (190.0, 190.0), (160.0, 128.0))
RADIUS_MM, LENGTH_MM = 10.0, 80.0


def looking(yaw: float, pitch: float, place_mm: torch.Tensor) -> RigidMotion:
    """Motion of a camera at a place, turned by two angles in rad."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    about_y = torch.tensor([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]], dtype=torch.float64)
    about_x = torch.tensor([[1, 0, 0], [0, cp, -sp], [0, sp, cp]], dtype=torch.float64)
    rotation = about_x @ about_y
    return RigidMotion(rotation, -rotation @ place_mm.double())


def sphere_motion(number: int, count: int) -> RigidMotion:
    """Near the centre, looking all around."""
    place = 2 * torch.tensor([math.sin(number), math.cos(1.7 * number), math.sin(2.3 * number)])
    return looking(2 * math.pi * 7 * number / count, 1.2 * math.sin(0.37 * number), place)


def tube_motion(number: int, count: int) -> RigidMotion:
    """Forward along z with a look around."""
    place = torch.tensor([2 * math.sin(0.3 * number), 2 * math.cos(0.2 * number), 0.75 * LENGTH_MM * number / count])
    return looking(0.3 * math.sin(0.11 * number), 0.3 * math.sin(0.07 * number), place)


def wall_depth(motion: RigidMotion, quadric: torch.Tensor) -> torch.Tensor:
    """Depth of the inside of x' diag(quadric) x = RADIUS^2 in closed form."""
    width, height = CAMERA.size_px
    world = motion.inverse()
    direction = rays(height, width, CAMERA.pinhole[None])[0] @ world.rotation.T
    start = world.translation
    a, b = (quadric * direction**2).sum(-1), (quadric * direction * start).sum(-1)
    c = (quadric * start**2).sum() - RADIUS_MM**2
    return (-b + (b**2 - a * c).sqrt()) / a


def views(shape: str, count: int, noise: float):
    """Views of a sphere, or of a tube that is looked at up to 40 mm ahead."""
    generator = torch.Generator().manual_seed(0)
    quadric = torch.tensor([1.0, 1.0, 1.0 if shape == "sphere" else 0.0], dtype=torch.float64)
    image = torch.full((256, 320, 3), 180, dtype=torch.uint8)
    for number in range(count):
        motion = sphere_motion(number, count) if shape == "sphere" else tube_motion(number, count)
        depth = wall_depth(motion, quadric).float()
        depth = torch.where(depth < 40, depth, 0.0)
        depth = depth * torch.exp(noise * torch.randn(depth.shape, generator=generator))
        yield DepthFrame(depth, CAMERA, motion, image)


def radius_error(shape: str, surface: Surface) -> tuple[float, float]:
    """Relative error of the mean radius, and the 95th percentile of the distance to the true wall in mm."""
    radius = surface.points[:, : 3 if shape == "sphere" else 2].norm(dim=-1)
    away = (radius - RADIUS_MM).abs()
    return float(radius.mean() / RADIUS_MM - 1), float(torch.quantile(away[:: max(1, len(away) // 1_000_000)], 0.95))


def main() -> None:
    """Runs all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    rows = []
    for shape in ("sphere", "tube"):
        for noise in (0.0, 0.02):
            wall, processor = time.perf_counter(), time.process_time()
            fused = fuse(views(shape, arguments.frames, noise), Fusion(voxel=0.2, unit="mm"))
            mean, p95 = radius_error(shape, fused.surface)
            row = {
                "shape": shape,
                "pixel_noise": noise,
                "frames": arguments.frames,
                "radius_error": mean,
                "distance_p95_mm": p95,
                "vertices": len(fused.surface.points),
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - processor,
                "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            }
            rows.append(row)
            print(
                f"{shape:7s} noise {noise:.0%}: radius {mean:+.3%}, p95 {p95:.3f} mm, {row['seconds']:.0f} s "
                f"({row['cpu_seconds']:.0f} CPU s) for {arguments.frames} frames, peak {row['peak_gib']:.2f} GiB"
            )
    arguments.out.mkdir(parents=True, exist_ok=True)
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    (arguments.out / "fusion.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
