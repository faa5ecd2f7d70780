"""The campaign: inputs by number, each a pure function of the seed, read in processes that may die.

A process reads many inputs one after the other. It runs as an ordinary user, as root may read what others may not. If
it dies, the input that it was at is the finding, and another goes on behind it.
"""

import contextlib
import ctypes
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from depthscope.errors import DepthscopeError
from fuzz.mutations import laid_out, misplaced, mutated
from fuzz.targets import VERBS, Target, damaged_words, run_verb

NOBODY = 65534
HANG_S = 20.0
"""Of processor time, so that a busy machine is no finding."""

WALL_S = 240.0
"""Of the clock, for readers that wait."""

MOST_BYTES = 2 << 30
"""Resident, for a file under 1 MB."""

LONGEST_LINE = 2500


@dataclass(frozen=True)
class Finding:
    """What became of one input.

    Attributes:
        target: The reader.
        number: Of the input.
        outcome: "read", "refused", or what must not be: "traceback", "crash", "hang", "memory", "no line".
        how: How the input was damaged.
        told: The line, or where it was raised.
        seconds: Of processor time.
        megabytes: Most that was resident.
    """

    target: str
    number: int
    outcome: str
    how: str = ""
    told: str = ""
    seconds: float = 0.0
    megabytes: int = 0


GOOD = ("read", "refused")


def drawn(targets: tuple[Target, ...], inputs: int) -> list[tuple[int, int]]:
    """(target, number) of so many inputs, by the targets' shares."""
    whole = sum(target.weight for target in targets)
    return [(t, n) for t, target in enumerate(targets) for n in range(max(1, round(inputs * target.weight / whole)))]


def one(target: Target, number: int, seed: int, seeds: Path, work: Path) -> Finding:
    """Makes one input and reads it."""
    random = Random(f"{seed} {target.name} {number}")
    folder = work / "input"
    laid_out(seeds / target.name, folder)
    os.chdir(folder)
    how, words = _damaged(target, folder, random)
    began, outcome, told = time.process_time(), "read", ""
    _forget_peak()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            found = run_verb(words) if words else target.read(folder)
        if isinstance(found, str) and found.startswith("exit "):
            outcome = "read" if found == "exit 0" else "refused"
            told = _last_line(said.getvalue())
            if "Traceback (most recent call last)" in said.getvalue():
                outcome = "traceback"
    except DepthscopeError as error:
        outcome, told = "refused", str(error)
        if "\n" in told or len(told) > LONGEST_LINE or not _named(told, target, words):
            outcome = "no line"
    except BaseException as error:  # noqa: B902 - whatever it is, it is the finding
        outcome, told = "traceback", f"{type(error).__name__}: {error}"[:200] + " | " + _site(error)
    seconds, megabytes = time.process_time() - began, _peak_megabytes()
    if megabytes * (1 << 20) > MOST_BYTES and outcome in GOOD:
        outcome = "memory"
    return Finding(target.name, number, outcome, how, told[:600], round(seconds, 2), megabytes)


def _damaged(target: Target, folder: Path, random: Random) -> tuple[str, list[str]]:
    """Damages an input; how, and the words of a command if those were damaged instead."""
    if target.name == "words":
        command, _, _ = VERBS[random.choice(list(VERBS))]
        return "words", damaged_words(command, random)
    patterns = target.victims or ("**/*",)
    files = [path for path in sorted(folder.glob(random.choice(patterns))) if path.is_file()]
    files = files or [path for path in sorted(folder.rglob("*")) if path.is_file()]
    how = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        path = random.choice(files)
        with contextlib.suppress(OSError):  # a second mutation of what the first has locked
            if path.is_symlink() or not path.is_file():
                continue
            how.append((misplaced if random.random() < 0.12 else mutated)(path, random) + f" {path.name}")
    return ", ".join(how), []


def _named(told: str, target: Target, words: list[str]) -> bool:
    """Whether a line names something of the input."""
    return bool(words) or "input" in told or target.name.startswith("verb")


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _site(error: BaseException) -> str:
    """Where in the package it was raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "depthscope" in frame.filename]
    frames = frames or traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}" if frames else ""


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_megabytes() -> int:
    """Of this process since it was asked to forget, or of the largest child it had."""
    own = 0
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        own = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)


def prepared(targets: tuple[Target, ...], place: Path) -> Path:
    """Writes the seed of every target, as the user whom the readers will be."""
    seeds, written = place / "seeds", {}
    seeds.mkdir()
    for target in targets:
        if target.seed in written:
            shutil.copytree(written[target.seed], seeds / target.name)
            continue
        written[target.seed] = seeds / target.name
        (seeds / target.name).mkdir()
        target.seed(seeds / target.name)
    if os.geteuid() == 0 and python_is_open():
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    return seeds


def python_is_open() -> bool:
    """Whether an ordinary user may run this Python, import from its library and start it again."""
    real = Path(os.path.realpath(sys.executable))
    return all(path.stat().st_mode & 0o001 for path in (real, *real.parents))


def without_rights() -> None:
    """Remains root by name, but what its permissions do not allow is denied, also to processes that are started."""
    libc = ctypes.CDLL(None, use_errno=True)
    for right in range(64):
        libc.prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP
    head, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(head, none):
        raise OSError(ctypes.get_errno(), "capset")


def as_ordinary_user() -> None:
    """Gives up root's rights, where they are held: as nobody, or in name alone where nobody may not run this Python."""
    if os.geteuid() == 0 and not python_is_open():
        without_rights()
    elif os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is this process's own again
    os.environ["HOME"] = os.environ["TMPDIR"] = "/tmp"


def _worker(
    targets: tuple[Target, ...], chunk: list[tuple[int, int]], seed: int, seeds: Path, work: Path, out: int
) -> None:
    """Reads a chunk of inputs and reports on each, before and after."""
    as_ordinary_user()
    work.mkdir()
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * resource.getpagesize() + (6 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    for t, n in chunk:
        os.write(out, f"begin {t} {n}\n".encode())
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        signal.setitimer(signal.ITIMER_REAL, WALL_S)
        finding = one(targets[t], n, seed, seeds, work)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(out, (json.dumps(asdict(finding)) + "\n").encode())
        os.chdir("/")
        _removed(work / "input")


def _removed(folder: Path) -> None:
    """Removes a folder, also where something in it is locked."""
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        folder.rename(folder.with_name(f"left-{time.monotonic_ns()}"))


def findings(
    targets: tuple[Target, ...], todo: list[tuple[int, int]], seed: int, place: Path, seeds: Path
) -> Iterator[Finding]:
    """What became of each input, in one process after another."""
    sys.stdout.flush()
    while todo:
        chunk, todo = todo[:400], todo[400:]
        while chunk:
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.close(reading)
                    null = os.open(os.devnull, os.O_RDWR)
                    for stream in (0, 1, 2):
                        os.dup2(null, stream)
                    _worker(targets, chunk, seed, seeds, place / "work" / str(os.getpid()), writing)
                    code = 0
                finally:
                    os._exit(code)
            os.close(writing)
            at: tuple[int, int] | None = None
            done = 0
            with os.fdopen(reading) as lines:
                for line in lines:
                    if line.startswith("begin "):
                        _, t, n = line.split()
                        at = int(t), int(n)
                    else:
                        at, done = None, done + 1
                        yield Finding(**json.loads(line))
            _, status = os.waitpid(child, 0)
            if at is None and done == 0:
                raise RuntimeError(f"a worker could not begin (status {status})")
            if at is not None:
                died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                hung = died in (signal.SIGPROF, signal.SIGALRM)
                what = signal.Signals(died).name if died else f"exit {os.waitstatus_to_exitcode(status)}"
                yield Finding(targets[at[0]].name, at[1], "hang" if hung else "crash", "", what)
                done += 1
            chunk = chunk[done:]


def table(found: list[Finding]) -> str:
    """Counts by reader as Markdown."""
    names = list(dict.fromkeys(finding.target for finding in found))
    lines = [
        "| reader | inputs | read | refused | tracebacks | crashes | hangs | over 2 GB | no line | most MB |",
        "|---|" + "---:|" * 9,
    ]
    kinds = ("read", "refused", "traceback", "crash", "hang", "memory", "no line")
    for name in (*names, "all"):
        own = [finding for finding in found if name in (finding.target, "all")]
        counts = Counter(finding.outcome for finding in own)
        numbers = [len(own), *(counts[kind] for kind in kinds), max(finding.megabytes for finding in own)]
        lines.append(f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return "\n".join(lines)
