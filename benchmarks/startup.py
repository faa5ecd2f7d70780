"""How long ``depthscope --help`` takes, as a whole process, and what it imports.

python benchmarks/startup.py --out DIR [--runs 15]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

CALL = "import sys; from depthscope.cli import main; code = main(['--help']); "
LIST = "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'tyro', 'cv2', 'lightning_fabric'}))"


def main() -> None:
    """Times the call and writes ``startup.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=15)
    given = parser.parse_args()
    seconds = []
    for _ in range(given.runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", CALL + "sys.exit(code)"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    listed = subprocess.run([sys.executable, "-c", CALL + LIST], check=True, capture_output=True, text=True)
    heavy = listed.stdout.splitlines()[-1]
    record = {"median_s": statistics.median(seconds[1:]), "all_s": seconds[1:], "heavy_imports": heavy}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "startup.json").write_text(json.dumps(record, indent=2))
    print(f"depthscope --help: median {record['median_s']:.3f} s over {given.runs} runs, heavy imports {heavy}")


if __name__ == "__main__":
    main()
