"""A slice of the fuzzing campaign, and that the campaign finds what it is there to find."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import depthscope
from fuzz.campaign import GOOD, Finding, drawn, findings, prepared, table
from fuzz.targets import Target, targets

QUICK = (
    "camera.yaml",
    "recipe",
    "result.json",
    "transform a.json",
    "transform a.yaml",
    "surface a.ply",
    "surface a.vtp",
)
QUICK += ("picture a.png", "picture a.jpg", "tracks", "trajectory", "checkpoint", "encoder", "depth map")


def campaign(chosen: tuple[Target, ...], inputs: int, place: Path, seed: int = 5) -> list[Finding]:
    (place / "work").mkdir()
    seeds = prepared(chosen, place)
    (place / "work").chmod(0o777)
    return list(findings(chosen, drawn(chosen, inputs), seed, place, seeds))


def bad(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.outcome not in GOOD]


def test_a_slice_of_the_campaign(tmp_path: Path) -> None:
    chosen = tuple(target for target in targets() if target.name in QUICK)
    assert len(chosen) == len(QUICK)
    found = campaign(chosen, 200, tmp_path)
    assert not bad(found)
    counts = Counter(finding.outcome for finding in found)
    assert counts["refused"] > 80 and counts["read"] > 10


@pytest.mark.slow
def test_a_larger_slice_over_all_readers_and_verbs(tmp_path: Path) -> None:
    """In a process of its own, as ``make fuzz`` does: shapes and types are checked in the tests alone."""
    line = [sys.executable, "-m", "fuzz", "--inputs", "1500", "--seed", "6", "--out", str(tmp_path)]
    tests, source = Path(__file__).resolve().parent, Path(depthscope.__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tests, source))), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and " 0 findings, seed 6" in done.stdout, done.stdout + done.stderr


def seed_of_one(folder: Path) -> None:
    (folder / "a.txt").write_text("1 2 3\n")


def test_the_campaign_finds_tracebacks_crashes_hangs_and_lines_that_name_nothing(tmp_path, monkeypatch) -> None:
    from depthscope.errors import BadInputError

    def waits(_: Path) -> None:
        until = time.process_time() + 30
        while time.process_time() < until:
            pass

    def refuses(_: Path) -> None:
        raise BadInputError("something is wrong")

    monkeypatch.setattr("fuzz.campaign.HANG_S", 0.3)
    chosen = (
        Target("traceback", seed_of_one, lambda _: 1 / 0),  # type: ignore[arg-type]
        Target("crash", seed_of_one, lambda _: os.kill(os.getpid(), signal.SIGSEGV)),
        Target("hang", seed_of_one, waits),
        Target("no line", seed_of_one, refuses),
        Target("read", seed_of_one, lambda _: None),
    )
    found = campaign(chosen, 5, tmp_path)
    assert [finding.outcome for finding in found] == [target.name for target in chosen]
    assert "| all | 5 | 1 | 0 | 1 | 1 | 1 | 0 | 1 |" in table(found)


def test_inputs_follow_from_the_seed(tmp_path: Path) -> None:
    def raises(folder: Path) -> None:
        path = folder / "a.txt"
        raise ValueError(path.read_bytes() if path.is_file() and path.stat().st_mode & 0o400 else path.is_symlink())

    chosen = (Target("bytes", seed_of_one, raises),)
    told = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        told.append([(one.how, one.told) for one in campaign(chosen, 20, tmp_path / name)])
    assert told[0] == told[1] and len(set(told[0])) > 10


@pytest.mark.slow
def test_every_seed_is_read_where_it_is_whole(tmp_path: Path) -> None:
    for target in targets():
        if target.name.startswith(("verb", "words")):
            continue
        folder = tmp_path / target.name
        folder.mkdir()
        target.seed(folder)
        target.read(folder)
