"""How long ``depthscope --help`` and ``depthscope depth`` of one image take, as whole processes, and what help imports.

python benchmarks/startup.py --out DIR [--runs 15] [--image FILE]

Beside the image's depth, in turn with it, stands ``import torch`` alone: the least that it can take.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CALL = "import sys; from depthscope.cli import main; code = main(['--help']); "
LIST = "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'tyro', 'cv2', 'lightning_fabric'}))"


def main() -> None:
    """Times the calls and writes ``startup.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--image", type=Path, help="a frame; its depth is timed too")
    given = parser.parse_args()
    seconds = [timed([sys.executable, "-c", CALL + "sys.exit(code)"])[0] for _ in range(given.runs + 1)]
    listed = subprocess.run([sys.executable, "-c", CALL + LIST], check=True, capture_output=True, text=True)
    heavy = listed.stdout.splitlines()[-1]
    record = {"median_s": statistics.median(seconds[1:]), "all_s": seconds[1:], "heavy_imports": heavy}
    print(f"depthscope --help: median {record['median_s']:.3f} s over {given.runs} runs, heavy imports {heavy}")
    if given.image is not None:
        record |= first_map(given.image, given.runs)
        print(
            "depthscope depth IMAGE: median {first_map_cpu_s:.2f} CPU s ({first_map_s:.2f} s by the clock), of which "
            "import torch {torch_cpu_s:.2f} CPU s ({torch_s:.2f})".format(**record)
        )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "startup.json").write_text(json.dumps(record, indent=2))


def first_map(image: Path, runs: int) -> dict[str, float]:
    """Medians of the depth of one image, and of PyTorch's import, in turn."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "depth"
        for _ in range(runs + 1):
            line = [sys.executable, "-m", "depthscope", "depth", str(image), "--out", str(out)]
            rows.append((*timed(line), *timed([sys.executable, "-c", "import torch"])))
            shutil.rmtree(out)
    names = ("first_map_s", "first_map_cpu_s", "torch_s", "torch_cpu_s")
    return dict(zip(names, map(statistics.median, zip(*rows[1:], strict=True)), strict=True))


def timed(line: list[str]) -> tuple[float, float]:
    """Seconds by the clock and of the processor that a process takes."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(line, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


if __name__ == "__main__":
    main()
