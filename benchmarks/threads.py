"""What waiting threads cost: `predict` with threads that spin, that sleep, and with one; alone and beside others.

    python benchmarks/threads.py RUN INPUT --out DIR [--rounds 3] [--busy N]

Each variant is a process of its own, and the variants take turns. "as before" has the pools' own defaults (GNU OpenMP
spins 300,000 times before it sleeps), "waiting asleep" is what importing the package sets. Each is measured as the
machine is, and beside N processes that compute (one if not given). Wall time says what a user waits; processor time
says what the others lose. The load of the machine is written beside each row, since "quiet" is only what it is.

Writes ``threads.json`` and prints the medians.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depthscope.threads import COUNT, PATIENT

BEFORE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "300000", "OPENBLAS_THREAD_TIMEOUT": "26"}
"""The defaults of the pools, which the package would otherwise replace."""

VARIANTS = {"as before": BEFORE, "waiting asleep": dict(PATIENT), "one thread": PATIENT | {COUNT: "1"}}


def main() -> None:
    """Reads the arguments and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("input", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for turn in range(given.rounds):
        for busy in (0, given.busy):
            for name, changes in VARIANTS.items():
                with neighbours(busy):
                    wall, processor, load = timed(given.run, given.input, given.out / "prediction", changes)
                rows.append(
                    {"round": turn, "variant": name, "busy": busy, "wall_s": wall, "cpu_s": processor, "load": load}
                )
                print(
                    f"{name:15s} beside {busy}: {wall:6.1f} s, {processor:6.1f} s of processors (load {load:.1f})",
                    flush=True,
                )
                record = {"cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
                (given.out / "threads.json").write_text(json.dumps(record, indent=1))
    for busy in (0, given.busy):
        for name in VARIANTS:
            own = [row for row in rows if (row["variant"], row["busy"]) == (name, busy)]
            wall, processor = (statistics.median(row[key] for row in own) for key in ("wall_s", "cpu_s"))
            print(f"median of {len(own)}, beside {busy}: {name:15s} {wall:6.1f} s, {processor:6.1f} s of processors")


def timed(run: Path, source: Path, out: Path, changes: dict[str, str]) -> tuple[float, float, float]:
    """Wall time, processor time and the load before it, of one `predict`."""
    shutil.rmtree(out, ignore_errors=True)
    environment = {k: v for k, v in os.environ.items() if k not in {*BEFORE, *PATIENT, COUNT}} | changes
    load, before = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    call = [sys.executable, "-m", "depthscope", "predict", str(run), str(source), "--out", str(out)]
    subprocess.run(call, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, load


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that compute meanwhile."""
    children = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10_000))"]) for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


if __name__ == "__main__":
    main()
