"""Runs the child process: reads its progress, and ends it at its limits of time and memory.

Whatever becomes of the child (crash, hang, nonsense on its output), the parent gets a sentence and the end of its log.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthscope.reconstruction.job import Job, write_job

PROGRESS, LOG, JOB, REPORT = "progress.jsonl", "log.txt", "job.json", "report.json"
SECOND = "second_run"
"""Folder of the child's second model, where one was asked for."""

POLL_S = 0.1
PATIENCE_S = 5.0
"""Between asking the child to end and ending it."""

TAIL_LINES = 12

TOLD = "[progress] "
"""Before lines of progress in the log."""


class StoppedError(Exception):
    """The user stopped the run while the child worked."""


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Time in which it waits for a processor that other processes use does not count: a busy machine comes to the same.

    Attributes:
        seconds: Of the clock, all in all.
        silent_seconds: Without any progress.
        memory_bytes: Resident.
        attempt_seconds: Of the processor, after which no further attempt is begun; None for no such limit.
    """

    seconds: float = 7200.0
    silent_seconds: float = 1800.0
    memory_bytes: int = 16 << 30
    attempt_seconds: float | None = None


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        problem: What went wrong, in words; "" if nothing did.
        report: What it left, also of attempts before it failed; None if there is nothing that can be read.
        log_tail: The last lines of its log.
        peak_bytes: Most memory that was seen.
    """

    problem: str
    report: dict[str, Any] | None
    log_tail: str
    peak_bytes: int


def run_child(
    job: Job,
    limits: Limits,
    stop: threading.Event | None = None,
    command: Sequence[str] | None = None,
    log: Path | None = None,
) -> Ended:
    """Runs one job in a process of its own and waits for it.

    Args:
        job: What to do; its folder must exist.
        limits: When to give up.
        stop: Set by another thread to stop at once.
        command: Another program in the child's place, for tests.
        log: File that grows while the child works: what COLMAP writes, and how far each stage is; by default `LOG` in
            the job's folder.

    Raises:
        StoppedError: `stop` was set; the child was ended.
    """
    folder = Path(job.folder)
    path = write_job(job, folder / JOB)
    line = [*(command or (sys.executable, "-m", "depthscope.reconstruction.child")), str(path), str(os.getpid())]
    log = log or folder / LOG
    began_at = log.stat().st_size if log.is_file() else 0
    with log.open("ab") as written:
        child = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=written,
            stdin=subprocess.DEVNULL,
            env=_environment(job),
            process_group=0,
        )
        listener = _Listener(child, folder / PROGRESS, log)
        try:
            problem, peak = _watch(child, listener, limits, stop)
            tail = _tail(log, began_at)  # before the child is asked to end, which it would tell about at length
        finally:
            _end(child)
            listener.join(PATIENCE_S)
    report = _report(folder / REPORT)
    if not problem and child.returncode < 0:
        problem = f"structure from motion crashed ({_signal_name(-child.returncode)})"
    elif not problem and child.returncode:
        problem = f"structure from motion ended with an error (exit code {child.returncode})"
    elif not problem and (report is None or not report.get("finished")):
        problem = "structure from motion ended without a report that can be read"
    return Ended(problem, report, tail, peak)


def memory_limit(workers: int) -> int:
    """Most of the machine's memory, shared between so many children."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        total = 8 << 30
    return int(0.8 * total / max(workers, 1))


def resident_bytes(process: int) -> int:
    """Memory that a process holds; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/statm").read_text("utf-8").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        pass
    if Path("/proc/self/statm").exists() or not shutil.which("ps"):
        return 0  # it has ended, or there is no way to know
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=False)
    return int(told.stdout.strip() or 0) * 1024


class _Listener(threading.Thread):
    """Copies the child's progress into a file that any process can look at; other output is left out."""

    def __init__(self, child: subprocess.Popen, path: Path, log: Path) -> None:
        super().__init__(daemon=True)
        self.child, self.path, self.log, self.heard = child, path, log, time.monotonic()
        self.start()

    def run(self) -> None:
        assert self.child.stdout is not None
        last = ""
        with self.path.open("w") as copy, self.log.open("a") as log:
            for line in self.child.stdout:
                step = read_step(line)
                if step is not None:
                    self.heard = time.monotonic()
                    copy.write(json.dumps(step) + "\n")
                    copy.flush()
                    if step["stage"] != last or step["done"] == step["total"]:
                        log.write(f"{TOLD}{time.strftime('%H:%M:%S')} {step['stage']} {step['done']}/{step['total']}\n")
                        log.flush()
                    last = step["stage"]


def read_step(line: bytes | str) -> dict[str, Any] | None:
    """A line of progress, or None if it is none."""
    try:
        step = json.loads(line)
        return {"stage": str(step["stage"]), "done": int(step["done"]), "total": int(step["total"])}
    except (ValueError, TypeError, KeyError):
        return None


class OwnTime:
    """A process's time of the clock without the time in which it waited for a processor, as the kernel counts that.

    Where the kernel does not tell (``schedstat``), all time counts.

    Args:
        process: Its number.
    """

    def __init__(self, process: int) -> None:
        self._tasks = Path(f"/proc/{process}/task")
        self._last, self._waits = time.monotonic(), self._waited()
        self._own = 0.0

    def seconds(self) -> float:
        """Since this was made; to be asked often."""
        now, waits = time.monotonic(), self._waited()
        passed = now - self._last
        longest = max((wait - self._waits.get(task, 0.0) for task, wait in waits.items()), default=0.0)
        self._own += passed - min(max(longest, 0.0), passed)
        self._last, self._waits = now, waits
        return self._own

    def _waited(self) -> dict[str, float]:
        """Seconds that each of its threads has waited so far."""
        found = {}
        for place in self._tasks.glob("*/schedstat"):
            with suppress(OSError, ValueError, IndexError):
                found[place.parent.name] = int(place.read_text("utf-8").split()[1]) / 1e9
        return found


def _watch(
    child: subprocess.Popen, listener: _Listener, limits: Limits, stop: threading.Event | None
) -> tuple[str, int]:
    """Waits for the end; what was exceeded, if anything was, and the most memory seen."""
    own, peak, heard, heard_at = OwnTime(child.pid), 0, listener.heard, 0.0
    while child.poll() is None:
        if stop is not None and stop.is_set():
            raise StoppedError
        now = own.seconds()
        if listener.heard != heard:
            heard, heard_at = listener.heard, now
        peak = max(peak, resident_bytes(child.pid))
        if peak > limits.memory_bytes:
            return f"structure from motion took more than {limits.memory_bytes / 1e9:.1f} GB of memory", peak
        if now > limits.seconds:
            return f"structure from motion did not end within {limits.seconds:.0f} s", peak
        if now - heard_at > limits.silent_seconds:
            return f"structure from motion made no progress for {limits.silent_seconds:.0f} s", peak
        time.sleep(POLL_S)
    return "", peak


def _end(child: subprocess.Popen) -> None:
    """Ends the child and what it started, first by asking."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        try:
            os.killpg(child.pid, sign)
        except (ProcessLookupError, PermissionError):
            child.kill()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            continue


def _environment(job: Job) -> dict[str, str]:
    """That of this process, with this package first and as many threads as the job has.

    COLMAP logs to standard error alone: its log files among the system's temporary ones would outlive a killed child.
    """
    source = str(Path(__file__).resolve().parents[2])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(job.threads), "GLOG_logtostderr": "1"}
    return os.environ | own


def _report(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"attempts", "best", "support"} <= set(found) else None


def _tail(path: Path, began_at: int) -> str:
    """The last lines of a log from one child on, without progress and the frames of a stack."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(began_at)
        lines = stream.read().decode(errors="replace").splitlines()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith(("@ ", "***", TOLD))]
    return "\n".join(lines[-TAIL_LINES:])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
