"""Recordings that are damaged, odd or useless, from the command line: one clear line, or a fallback that is told."""

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from depthscope.cli import main
from depthscope.formats import camera_file
from depthscope.geometry import Camera
from depthscope.reconstruction import clip_task
from depthscope.reconstruction.process import Ended
from depthscope.video import image_size, list_images, write_video
from moving_pictures import SIZE, encode, pan, tensors, turned


@pytest.fixture
def child_finds_nothing(monkeypatch):
    """Structure from motion is left out: what goes in and what is told are looked at."""
    report = {"attempts": [], "best": None, "support": {}, "seconds": {}, "cpu_seconds": {}, "finished": True}
    monkeypatch.setattr(clip_task, "run_child", lambda job, limits, stop=None, **_: Ended("", report, "", 0))


def sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def bytes_of(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def without_index(path: Path) -> Path:
    return bytes_of(path, encode(path, pan(30)).read_bytes()[:-3000])


USELESS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "zero length": (lambda t: bytes_of(t / "a.mp4", b""), "is empty"),
    "noise": (lambda t: bytes_of(t / "a.mp4", np.random.default_rng(0).bytes(5000)), "cannot be opened as a video"),
    "sound only": (lambda t: sound(t / "a.mp4"), "holds no video stream"),
    "no index": (lambda t: without_index(t / "a.mp4"), "cannot be opened as a video"),
    "missing": (lambda t: t / "a.mp4", "does not exist"),
    "no video": (lambda t: bytes_of(t / "a.txt", b"hello"), "is no video by its name"),
    "one frame": (lambda t: encode(t / "a.mkv", pan(1)), "holds 1 frame"),
    "black": (lambda t: encode(t / "a.mkv", [np.zeros((240, 320, 3), np.uint8)] * 20), "black from start to end"),
}


NO_VIDEO = ("zero length", "noise", "sound only", "no index")


@pytest.mark.parametrize(
    ("verb", "kind"), [*(("reconstruct", kind) for kind in USELESS), *(("calibrate", kind) for kind in NO_VIDEO)]
)
def test_a_useless_file_is_told_in_one_line_and_leaves_nothing(verb, kind, tmp_path, capsys):
    make, told = USELESS[kind]
    source, out = make(tmp_path), tmp_path / "out"
    more = ["--board", "9x7", "--square-mm", "3"] if verb == "calibrate" else []
    assert main([verb, str(source), "--out", str(out), *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error
    assert not out.exists()


def cut(folder: Path) -> Path:
    """An MP4 whose index is in front, cut inside a group of pictures."""
    whole = write_video(folder / "whole.mp4", tensors(pan(50)), 25).read_bytes()
    return bytes_of(folder / "a.mp4", whole[: int(0.7 * len(whole))])


def grey(folder: Path) -> Path:
    return encode(folder / "a.mkv", [f[..., 0] for f in pan(30)], codec="ffv1", pix_fmt="gray")


ODD: dict[str, tuple[Callable[[Path], Path], tuple[int, ...], str]] = {
    "cut in a group": (cut, SIZE, "could be read"),
    "variable rate": (lambda t: encode(t / "a.mkv", pan(30), times=[n * n // 4 + n for n in range(30)]), SIZE, ""),
    "4:2:2 10-bit": (lambda t: encode(t / "a.mp4", pan(30), pix_fmt="yuv422p10le"), SIZE, ""),
    "turned": (lambda t: turned(encode(t / "a.mp4", pan(30)), 1), SIZE[::-1], ""),
    "grey": (grey, SIZE, ""),
}


def reconstructed(source: Path, out: Path, *more: str) -> dict:
    """What ``result.json`` says of a recording that structure from motion made nothing of."""
    assert main(["reconstruct", str(source), "--out", str(out), *more]) == 3
    found = json.loads((out / "result.json").read_text("utf-8"))
    assert found["accepted"] is False and found["reasons"][0].startswith("none of the ")
    return found


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_recording_is_read_as_it_is_shown(kind, tmp_path, child_finds_nothing):
    make, size, told = ODD[kind]
    found = reconstructed(make(tmp_path), tmp_path / "out")
    assert found["frames"] >= 15 and found["registered"] == 0
    assert told in " ".join(found["notes"])
    images = list_images(tmp_path / "out" / "images")
    assert len(images) == found["frames"] and all(image_size(image) == size for image in images)
    rows = json.loads((tmp_path / "out" / "frames.json").read_text("utf-8"))["frames"]
    times = [row["time_s"] for row in rows]
    if kind == "variable rate":
        expected = [(row["index"] ** 2 // 4 + row["index"]) / 25 for row in rows]
        assert times == pytest.approx(expected, abs=2e-3)
    assert times == sorted(times) and all(row["shares"]["highlight"] < 0.5 for row in rows)


def test_a_camera_for_another_resolution_is_scaled_and_told(tmp_path, child_finds_nothing, capsys):
    width, height = SIZE
    double = Camera((2 * width, 2 * height), (400.0, 400.0), (float(width), float(height)))
    camera_file.write(double, tmp_path / "camera.yaml")
    video = encode(tmp_path / "a.mkv", pan(20))
    found = reconstructed(video, tmp_path / "out", "--camera", str(tmp_path / "camera.yaml"))
    assert f"is for {2 * width} x {2 * height} pixels and was scaled to {width} x {height}" in " ".join(found["notes"])
    assert "was scaled" in capsys.readouterr().out


@pytest.mark.slow
def test_a_board_that_is_never_seen(tmp_path, capsys):
    video, out = encode(tmp_path / "a.mkv", pan(12)), tmp_path / "out"
    assert main(["calibrate", str(video), "--board", "9x7", "--square-mm", "3", "--out", str(out)]) in (2, 3)
    told = capsys.readouterr()
    assert "9x7" in told.out + told.err and "Traceback" not in told.err
    assert not (out / "camera.yaml").exists()


@pytest.mark.slow
def test_8k(tmp_path, child_finds_nothing):
    """Frames of 7680 x 4320 are surveyed and written; structure from motion sees them small."""
    small = pan(4, step=8.0)
    frames = [np.repeat(np.repeat(f, 24, axis=0)[:4320], 24, axis=1)[:, :7680] for f in small]
    video = encode(tmp_path / "a.mp4", [np.ascontiguousarray(f) for f in frames], options={"preset": "ultrafast"})
    found = reconstructed(video, tmp_path / "out")
    assert found["frames"] == 4 and image_size(list_images(tmp_path / "out" / "images")[0]) == (7680, 4320)
