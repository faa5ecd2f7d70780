"""How often one run opens and decodes what it has: frames, depth maps, the SfM model, ``result.json``.

    python benchmarks/io_counts.py INPUT --out DIR [--ct FILE] [--camera FILE] [--steps 10]

Runs ``depthscope run`` with a recorder in it and in all of its child processes: every file that is opened for reading
or by OpenCV, and every image that is decoded. Prints a table and writes ``io_counts.json``. Opens for hashing are
counted by themselves.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

RECORDER = """
import os, sys, threading
_last = threading.local()
_log = os.open(os.environ["IO_COUNTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_root = os.environ["IO_COUNTS_ROOT"]


def _write(kind, path):
    os.write(_log, f"{os.getpid()}\\t{kind}\\t{path}\\n".encode())


def _hashing():
    frame = sys._getframe(2)
    for _ in range(4):
        if frame is None:
            return False
        if frame.f_code.co_name.endswith("content_hash"):
            return True
        frame = frame.f_back
    return False


def _hook(event, values):
    if event != "open" or not isinstance(values[0], (str, bytes)):
        return
    path = os.fsdecode(values[0])
    mode, flags = values[1], values[2] if len(values) > 2 else 0
    writes = (isinstance(mode, str) and mode[:1] in "wax") or bool(flags & (os.O_WRONLY | os.O_RDWR))
    if writes or _root not in os.path.abspath(path) or os.path.isdir(path):
        return
    _last.path = path
    if not (mode is None and flags & os.O_CLOEXEC and _flushing()):
        _write("hash" if _hashing() else "open", path)


def _flushing():
    frame = sys._getframe(2)
    for _ in range(3):
        if frame is None:
            return False
        if frame.f_code.co_name == "flush":
            return True
        frame = frame.f_back
    return False


sys.addaudithook(_hook)


def _wrap(cv2):
    decode, read = cv2.imdecode, cv2.imread

    def imdecode(*values, **named):
        _write("decode", getattr(_last, "path", "?"))
        return decode(*values, **named)

    def imread(path, *values, **named):
        if _root in os.path.abspath(path):
            _write("open", path)
            _write("decode", path)
        return read(path, *values, **named)

    cv2.imdecode, cv2.imread = imdecode, imread


class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "cv2":
            return None
        sys.meta_path.remove(self)
        import importlib.util
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            _wrap(sys.modules["cv2"])

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
"""

KINDS = (
    ("keyframe, this process", re.compile(r"^main .*sequence/(.*/)?images/[^/]+\.(png|jpg|jpeg)$")),
    ("keyframe, SfM's child", re.compile(r"^child .*sequence/(.*/)?images/[^/]+\.(png|jpg|jpeg)$")),
    ("depth map", re.compile(r"prediction/(.*/)?depth/[^/]+\.tiff$")),
    ("std map", re.compile(r"prediction/(.*/)?std/[^/]+\.tiff$")),
    ("preview", re.compile(r"prediction/(.*/)?preview/[^/]+\.png$")),
    ("model file", re.compile(r"sequence/(.*/)?colmap/[^/]+\.bin$")),
    ("sequence result.json", re.compile(r"sequence/result\.json$")),
    ("network store", re.compile(r"run/store/")),
    ("checkpoint", re.compile(r"\.pt$")),
)


def main() -> None:
    """Runs, counts, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--camera", type=Path)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--accept-rejected", action="store_true")
    given = parser.parse_args()
    out, case = given.out.resolve(), given.out.resolve() / "case"
    recorder, log = out / "recorder", out / "opens.tsv"
    recorder.mkdir(parents=True, exist_ok=True)
    (recorder / "sitecustomize.py").write_text(RECORDER)
    log.unlink(missing_ok=True)
    paths = [str(recorder), os.environ.get("PYTHONPATH", "")]
    settings = {"IO_COUNTS_LOG": str(log), "IO_COUNTS_ROOT": str(out)}
    settings["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    line = [sys.executable, "-m", "depthscope", "run", str(given.input.resolve()), "--out", str(case)]
    line += ["--steps", str(given.steps)]
    line += ["--ct", str(given.ct)] if given.ct else []
    line += ["--camera", str(given.camera)] if given.camera else []
    line += ["--accept-rejected"] if given.accept_rejected else []
    began = time.perf_counter()
    code = subprocess.run(line, env={**os.environ, **settings}).returncode
    figures = {"code": code, "seconds": round(time.perf_counter() - began, 1), "kinds": counted(log)}
    (out / "io_counts.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(f"{'':<24}{'files':>7}{'opens':>8}{'hashed':>8}{'decoded':>9}   for each file")
    for kind, row in figures["kinds"].items():
        files = max(row["files"], 1)
        each = "".join(f"{row[what] / files:8.1f}" for what in ("open", "hash", "decode"))
        print(f"{kind:<24}{row['files']:7}{row['open']:8}{row['hash']:8}{row['decode']:9}{each}")


def counted(log: Path) -> dict[str, dict[str, int]]:
    """Opens, hashes and decodes of each kind of file, and how many different files there were.

    A file that moves is one file: those of a kind are told apart by the number in their names.
    """
    found = {kind: Counter() for kind, _ in KINDS}
    names: dict[str, set[str]] = {kind: set() for kind, _ in KINDS}
    rows = [line.split("\t", 2) for line in log.read_text("utf-8").splitlines()]
    for process, what, path in rows:
        place = f"{'main' if process == rows[0][0] else 'child'} {path}"
        for kind, pattern in KINDS:
            if pattern.search(place):
                found[kind][what] += 1
                number = re.search(r"(\d+)\.\w+$", path)
                names[kind].add(str(int(number[1])) if number else Path(path).name)
    return {
        kind: {"files": len(names[kind]), **{what: found[kind][what] for what in ("open", "hash", "decode")}}
        for kind in found
    }


if __name__ == "__main__":
    main()
