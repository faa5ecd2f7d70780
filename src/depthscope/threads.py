"""How threads wait and how many there are: set in the environment before torch, NumPy or OpenCV start theirs.

The thread pools under PyTorch and NumPy spin while they wait. On cores of their own that saves microseconds; on cores
that others use too, a spinning thread takes the time that the thread it waits for needs, and everything takes several
times as long. Pools read their settings when their library is loaded, so this must come first; children inherit it.
"""

import os
from collections.abc import Mapping, MutableMapping
from math import ceil
from pathlib import Path

PATIENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # GNU OpenMP, which PyTorch has on Linux
    "KMP_BLOCKTIME": "0",  # Intel's and LLVM's OpenMP, which it has elsewhere
    "OPENBLAS_THREAD_TIMEOUT": "4",  # NumPy: spin for 2^4 cycles, not 2^26
}
"""What makes waiting threads sleep. A value that the user has set stays."""

COUNT = "OMP_NUM_THREADS"

CGROUP = Path("/sys/fs/cgroup")


def wait_patiently(environment: MutableMapping[str, str] | None = None, cores: int | None = None) -> None:
    """Makes the pools of threads that are started later wait asleep, and no more of them than this process has cores.

    The number does not depend on how busy the machine is: another number of threads adds in another order, and a
    resumed run would no longer equal an uninterrupted one.

    Args:
        environment: Of this process, if not given. What is set there already stays.
        cores: That this process may use; found out if not given.
    """
    environment = os.environ if environment is None else environment
    for name, value in PATIENT.items():
        environment.setdefault(name, value)
    own = usable_cores() if cores is None else cores
    if own < (os.cpu_count() or 1):  # else the pools' own choice is right, and launchers share it among processes
        environment.setdefault(COUNT, str(own))


def usable_cores() -> int:
    """Cores that this process may use: those that it is bound to, or fewer where a container gives it less time."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(_texts(CGROUP / "cpu.max", CGROUP / "cpu/cpu.cfs_quota_us", CGROUP / "cpu/cpu.cfs_period_us"))
    return bound if quota is None else max(1, min(bound, ceil(quota)))


def cpu_quota(texts: Mapping[str, str]) -> float | None:
    """Cores' worth of time that a container has, or None for no limit.

    Args:
        texts: Of ``cpu.max`` (cgroup 2), or of ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` (cgroup 1).
    """
    words = texts.get("cpu.max", "").split()
    if not words:
        words = [texts.get("cpu.cfs_quota_us", "-1").strip(), texts.get("cpu.cfs_period_us", "0").strip()]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:  # "max 100000": no limit
        return None
    return quota / period if quota > 0 and period > 0 else None


def _texts(*files: Path) -> dict[str, str]:
    found = {}
    for file in files:
        try:
            found[file.name] = file.read_text("utf-8")
        except OSError:
            continue
    return found
