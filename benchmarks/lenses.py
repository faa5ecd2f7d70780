"""What wide lenses keep on the recorded frame, and what that costs beside a pinhole.

    python benchmarks/lenses.py --out DIR [--stills 12] [--rounds 7]

1. Share of the recorded content that has depth: by `predict` with a camera of each field, and what undistorting to a
   pinhole of the same size and focal length, as before December 2026, would have kept of it.
2. Depth of simulated stills through random lenses by the weights that ship, on the recorded frame and on the
   undistorted one: AbsRel by zone, each frame at its own scale.
3. A training step of the siamese objective and a prediction, with a fisheye and with a pinhole, in turns: the ratio of
   their CPU seconds, and of the memory that a step keeps for its way back.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, RigidMotion, stacked
from depthscope.geometry.lens import pixel_grid
from depthscope.networks import ResUNet
from depthscope.objectives import Siamese
from depthscope.prediction import DepthModel, Recording, load_model, predict
from depthscope.simulation.stills import stills
from depthscope.supervision import PairBatch, SparsePoints
from depthscope.training import Augmentation, SiameseDepth
from depthscope.video import undistorted

SIZE = (320, 256)
FIELDS_DEG = (100, 120, 140, 160, 170)
ZONES = {"inner half": (0.0, 0.5), "outer half": (0.5, 1.0), "outermost tenth": (0.9, 1.0)}


def main() -> None:
    """Measures all three and writes ``lenses.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stills", type=int, default=12, help="of each of two colons and two bronchi")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    model = load_model("shipped")
    record = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "date": time.strftime("%Y-%m-%d"),
        "kept": kept_by_field(model),
        "cost": cost(model, given.rounds),
        "stills": by_zone(model, given.stills) if given.stills else {},
    }
    (given.out / "lenses.json").write_text(json.dumps(record, indent=2))
    print(json.dumps(record, indent=2))


def equidistant(field_deg: float, size: tuple[int, int] = SIZE) -> tuple[Camera, Tensor]:
    """A fisheye whose disc, as high as the frame, spans a field; and the disc."""
    radius = min(size) / 2 - 1
    focal = radius / math.radians(field_deg / 2)
    camera = Camera(size, (focal, focal), (size[0] / 2, size[1] / 2), KannalaBrandt((0.0, 0.0, 0.0, 0.0)))
    away = pixel_grid(size[1], size[0], torch.zeros(1, dtype=torch.float64)) - torch.tensor(camera.centre_px)
    return camera, away.norm(dim=-1) <= radius


def kept_by_field(model: DepthModel) -> dict[str, dict[str, float]]:
    """Share of the content with depth, now and as it was."""
    barrel = Camera(SIZE, (230.0, 230.0), (160.0, 128.0), Brown((-0.18, 0.02, 0.0, 0.0)))
    lenses = {"barrel 60": (barrel, equidistant(100)[1])}
    lenses |= {f"equidistant {field}": equidistant(field) for field in FIELDS_DEG}
    found = {}
    for name, (camera, content) in lenses.items():
        frame = torch.randint(60, 180, (SIZE[1], SIZE[0], 3), dtype=torch.uint8)  # not blank
        (now,) = predict(model, Recording(("a",), [frame], SIZE, camera, content), full_size=True)
        found[name] = {
            "recorded": float(((now.depth > 0) & content).sum() / content.sum()),
            "undistorted": share_undistorted(camera, content),
        }
    return found


def share_undistorted(camera: Camera, content: Tensor) -> float:
    """Share of the content that falls into the pinhole's frame of the same size, and into the box of the content."""
    pixels = camera.undistorted().project(camera.rays)
    columns, rows = content.any(0).nonzero(), content.any(1).nonzero()
    low = pixels.new_tensor([float(columns.min()), float(rows.min())])
    high = pixels.new_tensor([float(columns.max()) + 1, float(rows.max()) + 1])
    return float((((pixels >= low) & (pixels <= high)).all(-1) & content).sum() / content.sum())


def by_zone(model: DepthModel, count: int) -> dict[str, dict[str, float]]:
    """AbsRel of stills through random lenses by zone of the radius and by field of view."""
    errors: dict[str, dict[str, list[float]]] = {}
    for kind, seed in (("colon", 11000), ("colon", 11001), ("bronchus", 11000), ("bronchus", 11001)):
        for still in stills(kind, seed, 5, count, SIZE):  # type: ignore[arg-type]
            content, z = torch.from_numpy(still.content), torch.from_numpy(still.depth)
            known = content & (z > 0) & ~torch.from_numpy(still.foreign) & ~torch.from_numpy(still.hidden)
            field = 2 * math.degrees(float(angles(still.camera)[content].nan_to_num().max()))
            group = f"field {'up to 120' if field <= 120 else 'above 120'} degrees"
            radius = angles(still.camera) / angles(still.camera)[content].nan_to_num().max()
            image = torch.from_numpy(still.image)
            for way, error, shown in ways(model, image, content, still.camera, z, known):
                zones = errors.setdefault(f"{group}, {way}", {})
                for zone, (low, high) in ZONES.items():
                    inside = shown & known & (radius >= low) & (radius <= high)
                    if int(inside.sum()) >= 50:
                        zones.setdefault(zone, []).append(float(error[inside].mean()))
                zones.setdefault("share of the content", []).append(float((shown & known).sum() / known.sum()))
    return {
        way: {zone: statistics.mean(values) for zone, values in zones.items()}
        | {"frames": float(len(zones["share of the content"]))}
        for way, zones in errors.items()
    }


def angles(camera: Camera) -> Tensor:
    """Angle of every pixel's ray from the axis."""
    return torch.atan2(camera.rays[..., :2].norm(dim=-1), camera.rays[..., 2])


def ways(
    model: DepthModel, image: Tensor, content: Tensor, camera: Camera, z: Tensor, known: Tensor
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Relative errors on the recorded pixels, by maps on the recorded and on the undistorted frame."""
    (now,) = predict(model, Recording(("a",), [image], SIZE, camera, content), full_size=True)
    truth = z if now.kind == "z" else (z / camera.rays[..., 2]).float().nan_to_num()
    yield "recorded", relative(now.depth, truth, known), now.depth > 0
    straight, pinhole, _ = undistorted(image, camera)
    shown = (
        undistorted((content.to(torch.uint8) * 255)[..., None].expand(-1, -1, 3).contiguous(), camera)[0][..., 0] > 254
    )
    if not bool(shown.any()):
        return
    (then,) = predict(model, Recording(("a",), [straight], SIZE, pinhole, shown), full_size=True)
    pixels = pinhole.project(camera.rays)
    inside = ((pixels >= 0.5) & (pixels <= pixels.new_tensor(SIZE) - 0.5)).all(-1)
    at = torch.where(inside[..., None], pixels, 0.5).long()
    depth = torch.where(inside, then.depth[at[..., 1], at[..., 0]], 0.0)
    yield "undistorted", relative(depth, z, known & (depth > 0)), depth > 0


def relative(depth: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """|depth / truth - 1| after the median ratio."""
    ratio = depth / truth.clamp_min(1e-6)
    return (ratio / ratio[known & (depth > 0)].median() - 1).abs()


def cost(model: DepthModel, rounds: int) -> dict[str, float]:
    """Medians of seconds, the memory of a step, and the ratios of fisheye to pinhole, from turns in one process."""
    fish, _ = equidistant(140, (192, 160))
    cameras = {"pinhole": replace(fish, distortion=NoDistortion()), "fisheye": fish}
    torch.manual_seed(0)
    network = ResUNet(rays=True, uncertainty=True).build()
    jobs: dict[str, Callable[[], object]] = {}
    for name, camera in cameras.items():
        batch, objective = pairs(camera), Siamese(flow_weight=1.0, consistency_weight=0.1)
        task = SiameseDepth(network, objective, Augmentation(noise=0.01, flip=True))
        jobs[f"step {name}"] = lambda task=task, batch=batch: task.loss(network, batch)["loss"].backward()
        frames = [torch.randint(0, 256, (160, 192, 3), dtype=torch.uint8) for _ in range(8)]
        recording = Recording(tuple("abcdefgh"), frames, (192, 160), camera)
        jobs[f"prediction {name}"] = lambda recording=recording: list(predict(model, recording))
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):  # the first one warms up
        for name, job in jobs.items():
            began = time.process_time()
            job()
            seconds[name] += [time.process_time() - began] if number else []
    found = {name: statistics.median(values) for name, values in seconds.items()}
    for what in ("step", "prediction"):
        turns = zip(seconds[f"{what} fisheye"], seconds[f"{what} pinhole"], strict=True)
        found[f"{what} ratio"] = statistics.median(one / other for one, other in turns)
    kept = {name: kept_mb(jobs[f"step {name}"]) for name in cameras}
    return (
        found
        | {f"step {name}, MB kept": value for name, value in kept.items()}
        | {"memory ratio": kept["fisheye"] / kept["pinhole"]}
    )


def kept_mb(step: Callable[[], object]) -> float:
    """Memory that a step keeps for its backward pass, each storage once, in MB."""
    kept: dict[int, int] = {}
    alive = []

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)  # so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        step()
    return sum(kept.values()) / 1e6


def pairs(camera: Camera, count: int = 4) -> PairBatch:
    """Random pairs with points, as a training step gets them."""
    width, height = camera.size_px
    pixels = torch.rand(count, 2, 300, 2) * torch.tensor([width - 20.0, height - 20.0]) + 10
    turn = torch.eye(3).expand(count, 3, 3)
    return PairBatch(
        images=torch.randint(0, 256, (count, 2, 3, height, width), dtype=torch.uint8),
        mask=torch.ones(count, 2, height, width, dtype=torch.bool),
        camera=stacked([camera.lens(grid=True).to(torch.float32)] * count),
        k_from_j=RigidMotion(turn, torch.tensor([0.05, 0.02, 0.03]).expand(count, 3)),
        points=SparsePoints(pixels, 0.5 + torch.rand(count, 2, 300), torch.ones(count, 2, 300)),
        draws=torch.arange(count),
    )


if __name__ == "__main__":
    main()
