"""What a training step costs: pairs per second, memory, and the share of time spent waiting for data.

    python benchmarks/training_step.py --out DIR [--rounds 7] [--steps 5] [--device cuda]

Every variant is timed against the plain version of the same step (fp32, eager, contiguous images, one pass of the
network for each frame) in the same process, in turns A B A B, and the ratio of the medians is reported: machines are
noisy, ratios less so. A step is draw, transfer, augmentation, forward, losses, backward, clipping, optimiser, average.
Memory is what the backward pass keeps (counted by hooks) and, on a GPU, the peak of the allocator.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from depthscope.networks import FCDenseNet, NetworkOptions, RedNet, ResUNet, as_prediction
from depthscope.networks.depth_head import DepthPrediction
from depthscope.recipes import FAST, PAPER_2018, TMI_2020, Recipe
from depthscope.runs import prepared
from depthscope.simulation import Tube, simulate
from depthscope.supervision import Holdout
from depthscope.training import PairDraws, SiameseDepth
from depthscope.training.draws import batches


@dataclasses.dataclass(frozen=True)
class Case:
    """A network at a resolution."""

    name: str
    network: NetworkOptions
    recipe: Recipe
    size_px: tuple[int, int]
    batch: int


CASES = (
    Case("ResUNet 16, 192x160 (FAST losses)", ResUNet(), FAST, (192, 160), 4),
    Case("ResUNet 16, 256x224 (FAST losses)", ResUNet(), FAST, (256, 224), 4),
    Case("ResUNet 32, 320x256 (FAST losses)", ResUNet(width=32, widest=256), FAST, (320, 256), 4),
    Case("RED-Net, 256x224 (paper's losses)", RedNet(), PAPER_2018, (256, 224), 2),
    Case("FC-DenseNet-57, 192x160 (2020 losses)", FCDenseNet(), TMI_2020, (192, 160), 2),
)


class OneByOne(nn.Module):
    """A network that is called once for each frame of a pair, as the public code does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> DepthPrediction:
        """The predictions of both halves of the batch, one after the other."""
        parts = [as_prediction(self.network(part)) for part in images.chunk(2)]
        return DepthPrediction(torch.cat([part.log_depth for part in parts]))


def main() -> None:
    """Times all cases and writes ``training_step.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="also time the compiled network")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        sequence = simulate(Tube(frames=12), Path(scratch) / "clip")
        rows = []
        for case in CASES:
            rows += timed(case, sequence, Path(scratch), given)
            for row in rows[-(3 if given.compile else 2) :]:
                print(shown(row), flush=True)
    record = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if given.device == "cuda" else "cpu",
        "date": time.strftime("%Y-%m-%d"),
        "rounds": given.rounds,
        "steps_per_round": given.steps,
        "rows": rows,
    }
    (given.out / "training_step.json").write_text(json.dumps(record, indent=2))


def timed(case: Case, sequence, scratch: Path, given: argparse.Namespace) -> list[dict]:
    """The plain and the optimised step of a case, in turns."""
    supervision = dataclasses.replace(case.recipe.supervision, size_px=case.size_px, holdout=Holdout(points=0.0))
    recipe = dataclasses.replace(case.recipe, network=case.network, supervision=supervision)
    clips, _ = prepared([sequence], recipe, scratch / "store")
    draws = PairDraws(clips, seed=0)
    variants: dict[str, Callable[[], dict]] = {
        "plain fp32": stepper(case, recipe, draws, given, precision="fp32", plain=True),
        "optimised": stepper(case, recipe, draws, given, precision="bf16", plain=False),
    }
    if given.compile:
        variants["optimised, compiled"] = stepper(case, recipe, draws, given, "bf16", plain=False, compiled=True)
    for run in variants.values():
        run()  # warm-up: allocations, kernels, compilation
    rounds: dict[str, list[dict]] = {name: [] for name in variants}
    for _ in range(given.rounds):
        for name, run in variants.items():
            rounds[name].append(run())
    return [summary(case, name, rounds, given) for name in variants]


def stepper(
    case: Case,
    recipe: Recipe,
    draws: PairDraws,
    given: argparse.Namespace,
    precision: str,
    plain: bool,
    compiled: bool = False,
) -> Callable[[], dict]:
    """A function that does some training steps and tells what they took."""
    torch.manual_seed(0)
    device = torch.device(given.device)
    network = recipe.network.build().to(device)
    if not plain:
        network = network.to(memory_format=torch.channels_last)
    model = OneByOne(network) if plain else torch.compile(network) if compiled else network
    task = SiameseDepth(network, recipe.objective, recipe.augmentation, channels_last=not plain)
    optimiser = recipe.training.optimiser.build(network.parameters())
    stream = batches(draws, 0, 1_000_000, case.batch, 0, 1, 0)

    def forward(images: torch.Tensor) -> DepthPrediction:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return as_prediction(model(images))

    def step() -> tuple[float, int]:
        asked = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter() - asked
        kept = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            loss = task.loss(forward, batch.to(device))["loss"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        return waited, kept

    def run() -> dict:
        if device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start, waited, kept = time.perf_counter(), 0.0, 0
        for _ in range(given.steps):
            wait, kept = step()
            waited += wait
        if device.type == "cuda":
            torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        return {"seconds": time.perf_counter() - start, "waited": waited, "kept": kept, "peak": peak}

    return run


def summary(case: Case, name: str, rounds: dict[str, list[dict]], given: argparse.Namespace) -> dict:
    """Medians over the rounds, and the ratio to the plain step."""
    seconds = [r["seconds"] for r in rounds[name]]
    plain = [r["seconds"] for r in rounds["plain fp32"]]
    ratios = [a / b for a, b in zip(plain, seconds, strict=True)]
    pairs = given.steps * case.batch
    return {
        "case": case.name,
        "variant": name,
        "batch": case.batch,
        "pairs_per_second": pairs / statistics.median(seconds),
        "speed_over_plain": statistics.median(plain) / statistics.median(seconds),
        "speed_over_plain_best": min(plain) / min(seconds),
        "speed_over_plain_range": [min(ratios), max(ratios)],
        "data_wait": sum(r["waited"] for r in rounds[name]) / sum(seconds),
        "kept_mb_per_pair": rounds[name][-1]["kept"] / case.batch / 1e6,
        "peak_mb": rounds[name][-1]["peak"] / 1e6,
        "seconds": seconds,
    }


def shown(row: dict) -> str:
    """A row for the eye."""
    low, high = row["speed_over_plain_range"]
    return (
        f"{row['case']:40s} {row['variant']:20s} {row['pairs_per_second']:6.1f} pairs/s  "
        f"x{row['speed_over_plain']:.2f} ({low:.2f}-{high:.2f})  data wait {row['data_wait']:.1%}  "
        f"kept {row['kept_mb_per_pair']:.0f} MB/pair"
    )


if __name__ == "__main__":
    main()
