"""Folders of results: one process for each, files whole or not at all, and nothing left of killed processes."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from depthscope import workspace
from depthscope.errors import BadInputError
from depthscope.workspace import (
    atomic_file,
    atomic_folder,
    content_hash,
    holding,
    is_temporary,
    owner,
    scratch_folder,
    sweep,
    temporary,
    write_bytes,
    write_result,
    write_text,
    writing_folder,
)

SOURCE = Path(workspace.__file__).resolve().parents[2]


def started(code: str, *arguments: object) -> subprocess.Popen:
    """A process that does `code`, once it has said that it is ready."""
    line = [sys.executable, "-c", f"import sys, time\nfrom pathlib import Path\n{code}", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


HOLDS = """
from depthscope.workspace import holding
with holding(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.readline()
"""

WRITES = """
from depthscope.workspace import atomic_file, atomic_folder, scratch_folder
place = Path(sys.argv[1])
with atomic_folder(place / "folder") as folder, atomic_file(place / "file.txt") as file, scratch_folder():
    (folder / "half").touch()
    file.touch()
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_second_process_is_refused_in_one_line_until_the_first_ends_however_it_ends(tmp_path):
    out = tmp_path / "deep" / "out"
    first = started(HOLDS, out)
    with pytest.raises(BadInputError, match="another depthscope process") as refused, holding(out):
        pass
    assert str(out) in str(refused.value) and "\n" not in str(refused.value)
    if Path("/proc/locks").exists():
        assert str(first.pid) in str(refused.value)
    first.kill()
    first.wait()
    with holding(out):
        assert out.is_dir()
    assert list(tmp_path.rglob("*")) == [tmp_path / "deep", out]  # which the first one made; no file tells of the lock


def test_a_folder_is_held_by_its_process_once_and_for_all_its_parts(tmp_path):
    with holding(tmp_path / "out"), holding(tmp_path / "out"), holding(tmp_path / "out" / "part"):
        (tmp_path / "out" / "kept").touch()
    assert not (tmp_path / "out" / "part").exists() and (tmp_path / "out" / "kept").exists()
    with holding(tmp_path / "new" / "empty"):
        assert (tmp_path / "new" / "empty").is_dir()
    assert not (tmp_path / "new").exists()


def test_a_forked_child_does_not_hold_on_for_its_parent(tmp_path):
    """As the workers of a data loader, which may live a little longer than a process that was killed."""
    says = 'print("ready", flush=True)'
    code = HOLDS.replace(says, f"import os\n    if os.fork() == 0:\n        {says}\n        time.sleep(60)")
    first = started(code, tmp_path / "out")
    child = int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text("utf-8"))
    try:
        first.kill()
        first.wait()
        with holding(tmp_path / "out"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_folder_that_was_replaced_is_held_anew(tmp_path):
    with writing_folder(tmp_path / "out") as folder:
        write_result(folder, {"number": 1})
    with writing_folder(tmp_path / "out") as folder:
        write_result(folder, {"number": 2})
        with pytest.raises(AssertionError):
            started(HOLDS, tmp_path / "out")
        assert '"number": 1' in (tmp_path / "out" / "result.json").read_text(
            "utf-8"
        )  # the older one stays until the end
    assert '"number": 2' in (tmp_path / "out" / "result.json").read_text("utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_processes_of_one_training_do_not_ask_for_the_lock(tmp_path, monkeypatch):
    first = started(HOLDS, tmp_path / "out")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with holding(tmp_path / "out"):
        pass
    first.communicate("\n")


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    for name in ("tmp", "killed", "living"):
        (tmp_path / name).mkdir()
    killed, living = started(WRITES, tmp_path / "killed"), started(WRITES, tmp_path / "living")
    assert len(list(tmp_path.glob("*/.*"))) == 6
    killed.kill()  # and not waited for: what it was is a zombie still
    time.sleep(0.1)
    sweep(tmp_path)
    assert len(list(tmp_path.glob("killed/.*"))) == 0 and len(list(tmp_path.glob("living/.*"))) == 2
    assert len(list(tmp_path.glob("tmp/.*"))) == 1
    killed.wait()
    living.communicate("\n")
    assert [path.name for path in sorted((tmp_path / "living").iterdir())] == ["file.txt", "folder"]


@pytest.mark.parametrize(
    "name, dead",
    [
        ("{machine}-{pid}-{start}", False),
        ("{machine}-{pid}-{start}0", True),  # the number was given to another process since
        ("{machine}-999999999-{start}", True),
        ("00000000-999999999-{start}", False),  # of another machine, where it may live
    ],
)
def test_an_owner_is_dead_only_if_that_is_certain(name, dead, tmp_path):
    machine, pid, start = owner().split("-")
    file = temporary(tmp_path / "file", name.format(machine=machine, pid=pid, start=start))
    file.touch()
    (tmp_path / ".notes.partial").touch()  # not ours
    sweep(tmp_path)
    assert file.exists() is not dead and (tmp_path / ".notes.partial").exists()


def test_a_hash_does_not_count_what_is_being_written(tmp_path):
    (tmp_path / "file").write_text("content")
    before = content_hash(tmp_path)
    with atomic_file(tmp_path / "other") as file, atomic_folder(tmp_path / "folder") as folder:
        file.touch()
        (folder / "part").touch()
        assert content_hash(tmp_path) == before


@pytest.mark.parametrize("inside", ["out", "deep/out", "."])
def test_a_place_inside_the_input_is_refused(inside, tmp_path):
    given = tmp_path / "clip"
    (given / "images").mkdir(parents=True)
    (tmp_path / "link").symlink_to(given)
    for way in (given, tmp_path / "link"):
        with pytest.raises(BadInputError, match="lies in the input"), holding(way / inside, [given]):
            pass
    assert [path.name for path in given.iterdir()] == ["images"]
    with holding(tmp_path / "clip2", [given]):
        pass


def test_a_full_disk_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_text(tmp_path / "file", "old")
    with writing_folder(tmp_path / "out") as folder:
        write_result(folder, {"number": 1})
    monkeypatch.setattr(os, "fsync", full)  # where a delayed allocation is told
    with pytest.raises(OSError):
        write_text(tmp_path / "file", "new")
    with pytest.raises(BadInputError, match="No space left"), writing_folder(tmp_path / "out") as folder:
        write_result(folder, {"number": 2})
    assert (tmp_path / "file").read_text("utf-8") == "old"
    assert '"number": 1' in (tmp_path / "out" / "result.json").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_also_where_the_system_cannot_swap_two(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: None)
    for number in "12":
        with atomic_folder(tmp_path / "out") as folder:
            (folder / number).touch()
            if number == "2":
                assert (tmp_path / "out" / "1").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "2"]
    with atomic_folder(tmp_path / "out", replace=False) as folder:
        (folder / "3").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "2"]


def test_a_child_ends_with_its_parent(tmp_path):
    code = """
import os
from depthscope.workspace import die_with_parent
parent = os.getpid()
if (child := os.fork()) == 0:
    die_with_parent(parent)
    Path(sys.argv[1] + ".new").write_text(str(os.getpid()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(60)
while not Path(sys.argv[1]).exists(): time.sleep(0.01)
print("ready", flush=True)
sys.stdin.readline()
"""
    process = started(code, tmp_path / "child")
    child = int((tmp_path / "child").read_text("utf-8"))
    process.kill()
    process.wait()
    until = time.monotonic() + 30
    while Path(f"/proc/{child}/stat").exists() and ") Z" not in Path(f"/proc/{child}/stat").read_text("utf-8"):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_scratch_folders_vanish(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        (folder / "frames").mkdir()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def interrupting():
    """Has Ctrl-C come at the n-th event of the file system: ``interrupting(n)``; 0 for never."""
    left = [0]

    def hook(event: str, arguments: tuple) -> None:
        if left[0] and (event in ("open", "shutil.rmtree") or event.startswith("os.")) and event != "os.kill":
            left[0] -= 1
            if not left[0]:
                signal.raise_signal(signal.SIGINT)

    sys.addaudithook(hook)

    def at(number: int) -> bool:
        fired, left[0] = not left[0], number
        return fired

    return at


@pytest.mark.parametrize("kind", ["file", "folder", "scratch"])
def test_an_interruption_at_any_moment_leaves_no_temporary(tmp_path, monkeypatch, interrupting, kind):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for number in range(1, 60):
        interrupting(number)
        try:
            if kind == "file":
                write_bytes(tmp_path / "a.bin", b"1")
            else:
                with atomic_folder(tmp_path / "a") if kind == "folder" else scratch_folder() as draft:
                    (draft / "in").mkdir()
                    (draft / "in" / "b.txt").write_text("1")
        except KeyboardInterrupt:
            pass
        fired = interrupting(0)
        assert not [path.name for path in tmp_path.rglob("*") if is_temporary(path)], number
        if not fired:
            return
    raise AssertionError("there are more moments than were tried")


def test_a_file_that_a_thread_writes_meanwhile_does_not_keep_a_temporary(tmp_path, monkeypatch):
    rmdir, drafts = os.rmdir, []

    def written_to_just_before(path: str, **options) -> None:
        if drafts:
            (drafts.pop() / "late.txt").write_text("1")
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", written_to_just_before)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "a") as draft:
        drafts.append(draft)
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == drafts == []


def test_what_an_interruption_keeps_from_being_removed_is_removed_at_the_end_of_the_program(tmp_path):
    code = f"""
from pathlib import Path
from depthscope.workspace import atomic, atomic_folder
remove = atomic.remove
def interrupted(path):
    atomic.remove = remove
    raise KeyboardInterrupt
try:
    with atomic_folder(Path({str(tmp_path)!r}) / "a") as draft:
        (draft / "b").mkdir()
        atomic.remove = interrupted
        raise RuntimeError
except KeyboardInterrupt:
    assert draft.is_dir()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(tmp_path.iterdir()) == []
