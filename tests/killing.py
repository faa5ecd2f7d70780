"""Ends commands at random moments, does them again, and compares the result with that of a command left alone.

Commands run in processes forked from this one, which has imported everything already, or for some rounds as
``python -m depthscope``. A fault comes at a random file-system event (an audit hook counts them) or at a random share
of the processor time that the command takes. What is far dearer than writing it, and a function of its arguments alone
(the anatomy and CT of a phantom, the verdict on a sequence), is computed once.
"""

import dataclasses
import errno
import hashlib
import importlib
import io
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depthscope import cli
from depthscope.recipes import to_yaml
from depthscope.training import LAST
from depthscope.workspace import is_temporary
from depthscope.workspace.atomic import remove_drafts
from tiny_runs import TINY, TUBE, tiny, tube_clip

COMMANDS = {"train": 40, "predict": 44, "run": 8, "simulate": 5, "reconstruct": 3}
"""How many of a hundred rounds each command gets: the fewer the longer it takes."""

SIGNALS = {"SIGKILL": 50, "SIGTERM": 20, "SIGINT": 20, "ENOSPC": 10}
"""How many of a hundred rounds end in each way; the last is a disk that is full from a moment on."""

AGAIN, AT_EVENT, REAL = 0.2, 0.6, 0.015
"""Shares of the rounds in which the second call is ended as well, of faults at an event, and of real processes."""

WRITING = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.symlink")
MODES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

TIMES = {"seconds", "cpu_seconds", "pairs_per_second", "frames_per_second", "data_wait", "peak_memory_mb"}
TIMES |= {"frames_made", "bytes", "stage_seconds", "stage_cpu_seconds"}
"""Figures of a result that two calls of the same command need not share."""

UNLIKE = {"provenance.yaml", "speed.csv", "log.txt", "index.html"}
"""Files that tell times or paths; all that is asked is that they are there."""

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Fault:
    """How a command is ended: by a signal (or a full disk), at a share of its events or of its processor time."""

    sign: str
    at_event: bool
    share: float


@dataclass(frozen=True)
class Round:
    """A command and what befalls its first calls, one after the other; a last one is left alone."""

    number: int
    command: str
    faults: tuple[Fault, ...]
    real: bool


@dataclass(frozen=True)
class Left:
    """What a command left alone made and took.

    Attributes:
        code: Its exit code.
        files: A hash of each file.
        events: Writes to the file system that Python knows of.
        seconds: Of processor time; of the clock where processes of its own do the work.
    """

    code: int
    files: dict[str, str]
    events: int
    seconds: float


def drawn(seed: int, number: int, commands: dict[str, int] | None = None) -> Round:
    """The round of this number: a function of both."""
    dice = random.Random(f"{seed} {number}")
    commands = COMMANDS if commands is None else commands
    command = dice.choices(list(commands), list(commands.values()))[0]
    real = dice.random() < REAL and command not in ("simulate", "reconstruct")
    faults = []
    while not faults or (dice.random() < AGAIN and len(faults) < 3):
        sign = dice.choices(list(SIGNALS), list(SIGNALS.values()))[0]
        at_event = (dice.random() < AT_EVENT or sign == "ENOSPC") and not real
        faults.append(Fault("SIGKILL" if real else sign, at_event, dice.random()))
    return Round(number, command, tuple(faults), real)


class Campaign:
    """Rounds in one folder, one after another.

    Args:
        folder: For inputs, references and the round at hand.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.inputs, self.work, self.memo = (self.folder / name for name in ("inputs", "work", "memo"))
        self.out, self.told, self.tmp = self.work / "out", self.folder / "told.txt", self.work / "tmp"
        self.known: dict[str, Any] = {}
        self.references: dict[str, Left] = {}
        _reap_orphans()

    def prepare(self) -> None:
        """Makes the inputs, where they are not there yet."""
        if not (self.inputs / "ready").is_file():
            shutil.rmtree(self.inputs, ignore_errors=True)
            tube_clip(self.inputs / "clip", dataclasses.replace(TUBE, frames=6))
            steps = {"steps": 4, "save_every": 1, "validate_every": 2, "log_every": 2}
            (self.inputs / "tiny.yaml").write_text(to_yaml(tiny(**steps)))
            self.work.mkdir(parents=True, exist_ok=True)
            told = self._forked(lambda: self._verb("train", out=self.inputs / "run"), None)
            assert told == 0, self.told.read_text("utf-8")
            (self.inputs / "ready").touch()

    def reference(self, command: str) -> Left:
        """What the command makes when it is left alone."""
        if command not in self.references:
            for _ in range(2):  # the second one finds all that is computed once
                self._clear()
                began = _cpu_s(), time.monotonic()
                code = self._forked(lambda: self._verb(command), None, count=True)
                self._remember()
                seconds = time.monotonic() - began[1] if command == "reconstruct" else _cpu_s() - began[0]
            events = int((self.folder / "events.txt").read_text("utf-8"))
            assert code == (3 if command == "reconstruct" else 0), self.told.read_text("utf-8")
            self.references[command] = Left(code, dict(_hashes(self.out)), events, seconds)
            shutil.rmtree(self.folder / "reference" / command, ignore_errors=True)
            shutil.copytree(self.out, self.folder / "reference" / command)
        return self.references[command]

    def play(self, one: Round) -> dict[str, Any]:
        """Does a round; the row has what was wrong, in words, as ``problems``."""
        reference, problems, landed = self.reference(one.command), [], 0
        self._clear()
        for fault in one.faults:
            before = self._left_behind()  # by a SIGKILL; a call that ends before it writes does not sweep
            self.told.unlink(missing_ok=True)
            code = self._ended(one, fault, reference)
            landed += code != reference.code
            problems += [f"{fault.sign}: {problem}" for problem in self._after(fault, code, reference, before)]
        code = self._forked(lambda: self._verb(one.command), None) if not one.real else self._real(one.command, None)
        told = self.told.read_text("utf-8")
        if code != reference.code or "Traceback" in told:
            problems.append(f"the last call ended with {code}: {told[-2000:]}")
        problems += [f"left behind: {path}" for path in self._left_behind()]
        if code == reference.code:
            problems += _unlike(dict(_hashes(self.out)), reference.files)
            problems += self._json_differences(one.command) if problems else []
        return {**dataclasses.asdict(one), "landed": landed, "problems": problems}

    def _after(self, fault: Fault, code: int, reference: Left, before: list[str]) -> Iterator[str]:
        """What is wrong after a call that was ended, with what had been left before it."""
        told = self.told.read_text("utf-8") if self.told.is_file() else ""
        survivors = _survivors()
        if survivors:
            yield f"{survivors} processes outlived it"
        if fault.sign == "SIGKILL":
            return
        expected = 2 if fault.sign == "ENOSPC" else 130
        # Before the program takes the signal, and after all is done, it acts as by default.
        by_default = code == -getattr(signal, fault.sign, 0)
        outside = by_default and (not told or not _unlike(dict(_hashes(self.out)), reference.files))
        if code not in (expected, reference.code) and not outside:
            yield f"it ended with {code}: {told[-2000:]}"
        if "Traceback" in told:
            yield f"traceback: {told[-3000:]}"
        for path in self._left_behind():
            if path not in before:
                yield f"left behind at once: {path}"

    def _ended(self, one: Round, fault: Fault, reference: Left) -> int:
        if one.real:
            return self._real(one.command, fault.share * (reference.seconds + 6.0))
        event = 1 + int(fault.share * reference.events) if fault.at_event else None
        after = None if fault.at_event else fault.share * reference.seconds
        return self._forked(lambda: self._verb(one.command), fault, event=event, after_s=after, command=one.command)

    def _verb(self, command: str, out: Path | None = None) -> int:
        """The call of a command, in the process that does it; as the user would give it again."""
        out = out or self.out
        clip = self.inputs / "clip"
        match command:
            case "train":
                return _command("train")((clip,), out, self._recipe(), resume=(out / LAST).is_file())
            case "predict":
                return _command("predict")(self.inputs / "run", clip, out, sequence=clip, clouds=3, video=False)
            case "run":
                return _command("run")(clip, out, config=self.inputs / "tiny.yaml", accept_rejected=True)
            case "simulate":
                size = {"frames": 3, "size": "32x32", "board_frames": 1}
                return _command("simulate")(out, preset="clean", dicom=False, workers=1, **size)
            case "reconstruct":
                return _command("reconstruct")(clip / "images", out, threads=1)
        raise AssertionError(command)

    def _line(self, command: str) -> list[str]:
        """The same as arguments of the command line."""
        clip, config = str(self.inputs / "clip"), ["--config", str(self.inputs / "tiny.yaml")]
        again = ["--resume"] if (self.out / LAST).is_file() else config
        given = {
            "train": ["train", clip, *again],
            "predict": ["predict", str(self.inputs / "run"), clip, "--sequence", clip, "--clouds", "3", "--no-video"],
            "run": ["run", clip, *config, "--accept-rejected"],
        }[command]
        return [*given, "--out", str(self.out)]

    def _recipe(self):
        from depthscope.recipes import read_recipe

        return read_recipe(self.inputs / "tiny.yaml", TINY)

    def _real(self, command: str, after_s: float | None) -> int:
        """The command line in a process of its own."""
        with self.told.open("w") as told:
            environment = os.environ | {"TMPDIR": str(self.tmp), "OMP_NUM_THREADS": "1"}
            line = [sys.executable, "-m", "depthscope", *self._line(command)]
            process = subprocess.Popen(line, stdout=told, stderr=told, env=environment)
            _kill_at(process.pid, signal.SIGKILL, after_s, clock=False)
            return process.wait(PATIENCE_S)

    def _forked(
        self,
        work: Callable[[], int],
        fault: Fault | None,
        *,
        event: int | None = None,
        after_s: float | None = None,
        command: str = "",
        count: bool = False,
    ) -> int:
        """The exit code of `work` as the only verb of the command line, in a forked process."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(self._child(work, fault, event, count))
            finally:
                os._exit(99)
        if fault is not None and after_s is not None:
            _kill_at(pid, getattr(signal, fault.sign), after_s, clock=command == "reconstruct")
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status)

    def _child(self, work: Callable[[], int], fault: Fault | None, event: int | None, count: bool) -> int:
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.tmp)
        told = os.open(self.told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(told, 1)
        os.dup2(told, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w"), line_buffering=True) for n in (1, 2))
        torch.set_num_threads(1)
        for module, name in ONCE:
            self._once(module, name)
        seen = _watch(self.work, event, None if fault is None else fault.sign) if event or count else None
        cli.run = lambda verb, arguments: work()
        code = None
        try:
            code = cli.main(["run"])
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # the command has ended
        except BaseException:
            if code is None:
                traceback.print_exc()
                code = 98
        remove_drafts()  # as at the end of a program, which this process leaves by another door
        if count and seen is not None:
            (self.folder / "events.txt").write_text(str(seen[0]))
            (self.folder / "modules.txt").write_text("\n".join(sys.modules))
        return code

    def _once(self, module: str, name: str) -> None:
        """Has a function's values read back where they were computed before."""
        place = importlib.import_module(module)
        compute = getattr(place, name)

        def known(*arguments: Any, **options: Any) -> Any:
            plain = [a for a in arguments if isinstance(a, int | float | str)]
            key = f"{name} {plain}"
            if key not in self.known:
                self.known[key] = compute(*arguments, **options)
                self.memo.mkdir(exist_ok=True)
                file = self.memo / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.pickle"
                with suppress(TypeError, pickle.PicklingError):  # what cannot be kept is computed each time
                    file.write_bytes(pickle.dumps((key, self.known[key])))
            return self.known[key]

        setattr(place, name, known)

    def _remember(self) -> None:
        """Takes what a forked process has computed and imported into this one, where the next ones find it."""
        for name in (self.folder / "modules.txt").read_text("utf-8").splitlines():
            with suppress(Exception):
                importlib.import_module(name)
        for file in self.memo.glob("*.pickle"):
            key, value = pickle.loads(file.read_bytes())
            self.known.setdefault(key, value)

    def _left_behind(self) -> list[str]:
        found = [p for p in self.work.rglob("*") if is_temporary(p) or ".partial" in p.name]
        mine = [p for p in self.tmp.iterdir() if not p.name.startswith("torchinductor")]  # a cache of PyTorch's own
        return [str(path.relative_to(self.work)) for path in (*found, *mine)]

    def _json_differences(self, command: str) -> list[str]:
        """What differs in the tables of figures."""
        expected = self.folder / "reference" / command
        found = []
        for path in sorted(expected.rglob("*.json")):
            other = self.out / path.relative_to(expected)
            if other.is_file() and path.name not in UNLIKE:
                pair = (_timeless(json.loads(p.read_text("utf-8"))) for p in (other, path))
                found += [f"{path.name}{line}" for line in _differences(*pair)]
        return found

    def _clear(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.tmp.mkdir(parents=True)


ONCE = (
    ("depthscope.simulation.anatomy", "patient"),
    ("depthscope.simulation.ct", "scanned"),
    ("depthscope.inspection", "inspect_cleaned"),
)
"""What is computed once."""


def preload() -> None:
    """Imports what the commands import, so that forked processes need not."""
    names = ["train", "predict", "run", "simulate", "reconstruct", "inspect", "fuse", "report"]
    for name in names:
        importlib.import_module(f"depthscope.commands.{name}")
    for name in ("runs", "fusion", "formats.ct", "simulation.clip_files", "simulation.render", "pictures"):
        importlib.import_module(f"depthscope.{name}")
    importlib.import_module("torch.utils.tensorboard")
    importlib.import_module("rich.progress")


def _command(name: str) -> Callable[..., int]:
    return getattr(importlib.import_module(f"depthscope.commands.{name}"), name)


def _watch(folder: Path, at: int | None, sign: str | None) -> list[int]:
    """Counts the writes in a folder from now on, and does the fault at one of them."""
    seen, root, own = [0], str(folder), os.getpid()

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            if not (flags & MODES or (mode and set(mode) & set("wax+"))):
                return
        elif event in WRITING:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike) or not str(path).startswith(root) or os.getpid() != own:
            return
        seen[0] += 1
        if at is None or seen[0] < at:
            return
        if sign == "ENOSPC":
            if event in ("open", "os.mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        elif seen[0] == at:
            os.kill(own, getattr(signal, sign or ""))

    sys.addaudithook(hook)
    return seen


def _kill_at(pid: int, sign: int, after_s: float | None, *, clock: bool) -> None:
    """Signals a process once it has worked so long, unless it has ended before."""
    began = time.monotonic()
    while after_s is not None:
        if _ended(pid):
            return
        try:
            done = time.monotonic() - began if clock else time.clock_gettime((~pid << 3) | 2)  # of that process
        except OSError:
            return
        if done >= after_s:
            os.kill(pid, sign)
            return
        time.sleep(min(max(after_s - done, 0.0005), 0.005))


def _ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _cpu_s() -> float:
    """Processor time of this process's children."""
    times = os.times()
    return times.children_user + times.children_system


def _reap_orphans() -> None:
    """Has what the commands leave running become this process's own, where it is seen."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _survivors(patience_s: float = 10.0) -> int:
    """How many processes of a command still run a while after it has ended; they are ended."""
    until = time.monotonic() + patience_s
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid == 0 and time.monotonic() > until:
            break
        time.sleep(0 if pid else 0.01)
    own = f" {os.getpid()} "
    living = [
        int(p.parent.name) for p in Path("/proc").glob("[0-9]*/stat") if own in p.read_text("utf-8").split(")")[1][:20]
    ]
    for pid in living:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(living)


def _hashes(out: Path) -> Iterator[tuple[str, str]]:
    """A hash of what must be equal in each file."""
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_dir() or "tensorboard/" in name:
            continue
        if path.name in UNLIKE:
            content = b"there"
        elif path.suffix == ".json":
            content = json.dumps(_timeless(json.loads(path.read_text("utf-8"))), sort_keys=True).encode()
        elif path.name == "figures.csv":  # every figure of every result, a line each: file, key, value
            lines = path.read_text("utf-8").splitlines()
            content = "\n".join(line for line in lines if TIMES.isdisjoint(re.split(r"\W", line))).encode()
        elif path.name == LAST:
            content = _bits(torch.load(path, weights_only=True))
        else:
            content = path.read_bytes()
        yield name, hashlib.sha256(content).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _bits(value: Any) -> bytes:
    """All of a checkpoint but how long it took."""
    if isinstance(value, dict):
        return b"".join(str(key).encode() + _bits(item) for key, item in value.items() if key not in TIMES)
    if isinstance(value, list | tuple):
        return b"".join(_bits(item) for item in value)
    if isinstance(value, torch.Tensor):
        return value.contiguous().numpy().tobytes()
    return repr(value).encode()


def _differences(found: Any, expected: Any, place: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict) and found.keys() == expected.keys():
        for key in found:
            yield from _differences(found[key], expected[key], f"{place}.{key}")
    elif found != expected:
        yield f"{place}: {str(found)[:200]}, not {str(expected)[:200]}"


def _unlike(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    told = (("missing", missing), ("not in the reference", more), ("different", other))
    return [f"{what}: {', '.join(names[:8])}" for what, names in told if names]
