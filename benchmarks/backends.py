"""CPU time of the shipped network by each runtime that is installed, in turn, in one run.

python benchmarks/backends.py --out DIR [--size 192x160] [--batch 8] [--rounds 15]

Each round computes one batch by each runtime; the table has the median over rounds of CPU seconds per frame, the ratio
to PyTorch in the same round, and the largest relative difference in depth from PyTorch. The time to write the ONNX file
and to open it is told beside: what a recording must be long for.
"""

import argparse
import json
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch

from depthscope.backends import with_backend
from depthscope.prediction import load_model
from depthscope.training.devices import Backend


def main() -> None:
    """Times the runtimes and writes ``backends.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", default="shipped")
    parser.add_argument("--size", default="192x160")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    model = load_model(given.run)
    images = torch.rand(given.batch, 5 if model.recipe.network.rays else 3, height, width)
    images = images.contiguous(memory_format=torch.channels_last)
    backends: list[Backend] = ["torch", *(n for n in ("onnxruntime", "openvino") if find_spec(n) is not None)]
    record: dict = {"threads": torch.get_num_threads(), "size_px": [width, height], "batch": given.batch}
    with tempfile.TemporaryDirectory() as cache, torch.inference_mode():
        networks, expected = {}, model.network(images).depth
        for name in backends:
            began = time.process_time()
            networks[name] = with_backend(model, name, "cpu", 1, Path(cache)).network
            found = networks[name](images).depth
            record[name] = {
                "start_cpu_s": time.process_time() - began,
                "largest_difference": float((found / expected - 1).abs().max()),
                "all_ms": [],
            }
        for _ in range(given.rounds):
            for name, network in networks.items():
                began = time.process_time()
                network(images)
                record[name]["all_ms"].append(1e3 * (time.process_time() - began) / given.batch)
    print(f"{'':12} ms of CPU a frame   of PyTorch's   largest difference   start, CPU s")
    for name in backends:
        rows = record[name]
        ratios = [a / b for a, b in zip(rows["all_ms"], record["torch"]["all_ms"], strict=True)]
        rows |= {"median_ms": statistics.median(rows["all_ms"]), "ratio": statistics.median(ratios)}
        print(
            f"{name:12} {rows['median_ms']:17.1f} {rows['ratio']:14.2f} {rows['largest_difference']:20.1g} "
            f"{rows['start_cpu_s']:14.1f}"
        )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "backends.json").write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
