"""A real video through the whole of ``depthscope run``, its depth beside another method's by rank.

    python benchmarks/real_case.py VIDEO --out DIR [--colours DEPTH_VIDEO]

The depth video shows the same frames in the jet colours; near is red in it or blue: the sign of the correlation says
which, and is left out. Writes ``real_case.json`` and prints it; what is in --out is not done again.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from depthscope.formats import depth_maps
from depthscope.video import read_video


def main() -> None:
    """Runs, compares, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--colours", type=Path, help="another method's depth of the same frames, in jet colours")
    given = parser.parse_args()
    case = given.out / "case"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = [sys.executable, "-m", "depthscope", "run", str(given.video), "--out", str(case)]
    code = subprocess.run(line, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = {
        "machine": f"{platform.machine()}, {os.environ.get('OMP_NUM_THREADS', 'all')} threads",
        "date": time.strftime("%Y-%m-%d"),
        "exit_code": code,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "stages": {
            path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(case.glob("*/result.json"))
        },
    }
    if given.colours is not None and code == 0:
        record["rank_correlation"] = by_rank(case / "prediction", given.colours)
    (given.out / "real_case.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({key: value for key, value in record.items() if key != "stages"}, indent=1))


def by_rank(prediction: Path, colours: Path) -> dict[str, float]:
    """Rank correlation of each depth map with the colours of the same frame."""
    jet = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1].astype(np.float32)
    maps = {int(name.rsplit("_", 1)[1]): path for name, path in depth_maps.listed(prediction).items()}
    found = []
    for number, image in enumerate(read_video(colours)):
        if number not in maps:
            continue
        depth = depth_maps.read(maps[number]).numpy()
        small = cv2.resize(image.numpy(), depth.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        level = ((small[:, :, None] - jet) ** 2).sum(-1).argmin(-1)
        found.append(abs(float(spearmanr(depth[depth > 0], level[depth > 0]).statistic)))
    return {"median": statistics.median(found), "worst": min(found), "frames": len(found)}


if __name__ == "__main__":
    main()
