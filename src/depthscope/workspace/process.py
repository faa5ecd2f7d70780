"""Which process something belongs to, whether that process still lives, and children that do not outlive theirs."""

import ctypes
import hashlib
import os
import platform
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

PR_SET_PDEATHSIG = 1
PARENT_POLL_S = 0.5

UNKNOWN = "0"
"""Start time of a process where the system does not tell it."""


def owner() -> str:
    """This process in a file's name: machine, process number and start time, as ``HOST-PID-START``."""
    pid = os.getpid()
    return f"{_machine()}-{pid}-{_start_time(pid)}"


def is_dead(name: str) -> bool:
    """Whether an owner has ended for certain; one on another machine may live."""
    machine, pid, start = name.split("-")
    if machine != _machine():
        return False
    return not _exists(int(pid)) or _start_time(int(pid)) not in (start, UNKNOWN)


def die_with_parent(parent: int) -> None:
    """Ends this process when its parent does, however that ends: an orphan would go on writing.

    Args:
        parent: Process number of the parent.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:  # where the system does not do it by itself
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os._exit(1)

    if sys.platform != "linux":
        threading.Thread(target=watch, daemon=True).start()


@lru_cache(maxsize=1)
def _machine() -> str:
    """The machine, and in it the name space in which process numbers mean something, as 8 hexadecimal digits."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _start_time(pid: int) -> str:
    """When a process started, with the boot it belongs to; `UNKNOWN` where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8")
    except OSError:
        return UNKNOWN
    if fields[0] in ("Z", "X"):  # ended, and not yet collected by its parent
        return "ended"
    return f"{hashlib.sha256(boot.encode()).hexdigest()[:4]}{int(fields[19]):x}"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
