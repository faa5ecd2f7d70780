"""What a training step of Monodepth2 costs: ours against the formulation as it is usually written, in turns.

    python benchmarks/photometric_step.py --out DIR [--rounds 5] [--device cuda]
    python benchmarks/photometric_step.py --out DIR --rounds 1 --size 96 64 --batch 2      (a quick try)

The naive step computes, for each of the four scales and each source, the structural similarity of the warped and of the
unwarped source with the target from nothing, with gradients, one window mean at a time. Ours computes the target's
moments and the unwarped sources' errors once for all scales, and these without gradient. Networks, images, warps and
results are the same (checked before timing). A step is forward, losses, backward and optimiser; the objective alone
(forward and backward) is timed beside it. Medians over the rounds, and their ratio, from turns in one process.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from depthscope.geometry import Pinhole
from depthscope.networks import SnippetPrediction
from depthscope.objectives import ViewSynthesis
from depthscope.objectives.photometric import EdgeAware, synthesised
from depthscope.objectives.photometric.error import C1, C2
from depthscope.objectives.photometric.reprojection import TIE
from depthscope.recipes import MONODEPTH2_M
from depthscope.supervision import SnippetBatch
from depthscope.training import snippet_network


def main() -> None:
    """Times both formulations and writes ``photometric_step.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 192))
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="networks in bf16, for both")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    batch = random_batch(given.batch, *given.size).to(given.device)
    ours = MONODEPTH2_M.objective
    naive = Naive()
    network = snippet_network(MONODEPTH2_M.network, ours).to(given.device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    check(network, batch, ours, naive)
    rounds: dict[str, list[float]] = {}
    for number in range(given.rounds + 1):  # the first one warms up
        for name, objective in (("naive", naive), ("ours", ours)):
            seconds = {
                f"{name} step": step(network, optimiser, batch, objective, given),
                f"{name} objective": objective_alone(network, batch, objective),
            }
            for key, value in seconds.items():
                rounds.setdefault(key, [])
                if number:
                    rounds[key].append(value)
    median = {name: statistics.median(values) for name, values in rounds.items()}
    record = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if given.device.startswith("cuda") else "cpu",
        "date": time.strftime("%Y-%m-%d"),
        "size_px": list(given.size),
        "batch": given.batch,
        "seconds": median,
        "rounds": rounds,
        "step_ratio": median["naive step"] / median["ours step"],
        "objective_ratio": median["naive objective"] / median["ours objective"],
    }
    (given.out / "photometric_step.json").write_text(json.dumps(record, indent=2))
    print("  ".join(f"{name} {value:.3f} s" for name, value in median.items()))
    print(f"ratio of the step {record['step_ratio']:.2f}, of the objective {record['objective_ratio']:.2f}")


def random_batch(count: int, width: int, height: int) -> SnippetBatch:
    """Smooth random pictures, so that the comparison is not of noise; no masks."""
    coarse = torch.rand(count * 3, 3, height // 8, width // 8)
    images = functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    focal, centre = torch.tensor([0.58 * width, 1.92 * height]), torch.tensor([width / 2, height / 2])
    return SnippetBatch(
        images=images.unflatten(0, (count, 3)),
        mask=None,
        camera=Pinhole(focal.expand(count, 3, 2).clone(), centre.expand(count, 3, 2).clone()),
        temporal=None,
        stereo=None,
        points=None,
        mirrored=torch.zeros(count, dtype=torch.bool),
        draws=torch.arange(count),
    )


@dataclasses.dataclass(frozen=True)
class Naive:
    """The same objective, every term from nothing at every scale."""

    smoothness: EdgeAware = dataclasses.field(default_factory=EdgeAware)

    def __call__(self, prediction: SnippetPrediction, batch: SnippetBatch) -> dict[str, Tensor]:
        """The loss alone."""
        assert prediction.motions is not None
        images, motions = batch.clean, prediction.motions.source_from_target
        target, size = images[:, 0], images.shape[-2:]
        total = target.new_zeros(())
        for scale, disparity in enumerate(prediction.disparities):
            enlarged = functional.interpolate(disparity[:, None], size=size, mode="bilinear")[:, 0]
            errors, seen, still = [], [], []
            for number in range(images.shape[1] - 1):
                source = images[:, 1 + number]
                view = synthesised(source, 1 / enlarged, motions[:, number], batch.camera[:, 0], batch.camera[:, 0])
                errors.append(photometric(view.image, target))
                touched = functional.pad((~view.valid)[:, None].float(), (1, 1, 1, 1), mode="reflect")
                seen.append(functional.max_pool2d(touched, 3, 1)[:, 0] == 0)
                still.append(photometric(source, target))
            warped, where = torch.stack(errors, 1), torch.stack(seen, 1)
            best = torch.where(where, warped, torch.inf).min(1).values
            rest = torch.stack(still, 1).min(1).values
            best, counted = torch.where(best < rest - TIE, best, rest), where.any(1)
            kept = torch.where(counted, best, 0.0).sum((-1, -2)) / counted.sum((-1, -2)).clamp_min(1)
            small = functional.interpolate(target, size=disparity.shape[-2:], mode="area")
            smooth = self.smoothness(disparity, small).mean() * self.smoothness.weight / 2**scale
            total = total + (kept.mean() + smooth) / len(prediction.disparities)
        return {"loss": total}


def photometric(image: Tensor, target: Tensor) -> Tensor:
    """0.85 of the structural dissimilarity and 0.15 of the absolute difference, written out."""
    a, b = (functional.pad(one, (1, 1, 1, 1), mode="reflect") for one in (image, target))

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, 3, 1)

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    below = (mean_a**2 + mean_b**2 + C1) * (var_a + var_b + C2)
    dissimilar = ((1 - above / below) / 2).clamp(0, 1).mean(1)
    return 0.85 * dissimilar + 0.15 * (image - target).abs().mean(1)


def check(network, batch: SnippetBatch, ours: ViewSynthesis, naive: Naive) -> None:
    """Both formulations must give one loss and one gradient."""
    found = []
    for objective in (ours, naive):
        network.zero_grad()
        network.eval()
        loss = objective(network(batch.clean[:, 0], batch.clean[:, 1:]), batch)["loss"]
        loss.backward()
        gradient = network.depth.decoder.heads[-1].outputs.weight.grad.clone()
        found.append((loss.detach(), gradient))
    (a, da), (b, db) = found
    difference = (da - db).norm() / db.norm()
    if not torch.allclose(a, b, 1e-4) or not float(difference) < 1e-2:
        raise SystemExit(f"the two formulations differ: losses {a} and {b}, gradients by {difference:.2g}")


def step(network, optimiser, batch: SnippetBatch, objective, given: argparse.Namespace) -> float:
    """Seconds of a whole step."""
    network.train()
    device = torch.device(given.device)
    synchronised(device)
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=given.bf16):
        seen = batch.clean[:, 0].contiguous(memory_format=torch.channels_last)
        prediction = network(seen, batch.clean[:, 1:])
    loss = objective(prediction, batch)["loss"]
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    synchronised(device)
    return time.perf_counter() - start


def objective_alone(network, batch: SnippetBatch, objective) -> float:
    """Seconds of the objective, forward and back to the disparities and motions."""
    with torch.no_grad():
        found = network.eval()(batch.clean[:, 0], batch.clean[:, 1:])
    maps = tuple(one.clone().requires_grad_() for one in found.disparities)
    motions = found.motions._replace(translation=found.motions.translation.clone().requires_grad_())
    synchronised(maps[0].device)
    start = time.perf_counter()
    objective(found._replace(disparities=maps, motions=motions), batch)["loss"].backward()
    synchronised(maps[0].device)
    return time.perf_counter() - start


def synchronised(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
