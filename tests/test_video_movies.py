"""Videos of every kind: read in full, upright, with their times, or refused in a sentence."""

import subprocess
import sys

import av
import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.video import movie_frames, open_frames, read_video, video_size, write_image, write_video
from moving_pictures import SIZE, encode, pan, tensors, turned


def alike(found: torch.Tensor, expected: np.ndarray, levels: float = 6.0) -> bool:
    """Whether a decoded frame is what was encoded, up to compression."""
    return (
        found.shape[:2] == expected.shape[:2] and float(np.abs(found.numpy().astype(float) - expected).mean()) < levels
    )


def test_times_of_a_variable_frame_rate(tmp_path):
    times = [0, 1, 2, 5, 9, 10, 20, 21]
    path = encode(tmp_path / "a.mkv", pan(8), times=times)
    found = [frame.time_s for frame in movie_frames(path)]
    assert found == pytest.approx([t / 25 for t in times], abs=2e-3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_is_applied(tmp_path, turns):
    frames = pan(3)
    path = turned(encode(tmp_path / "a.mp4", frames), turns)
    shown = list(read_video(path))
    expected = np.rot90(frames[0], -turns)
    assert alike(shown[0], expected)
    assert video_size(path) == (3, (expected.shape[1], expected.shape[0]))
    assert open_frames(path).size_px == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "ending"),
    [
        ("libx264", "yuv422p10le", ".mp4"),
        ("libx264", "gray", ".mkv"),
        ("mpeg4", "yuv420p", ".avi"),
        ("ffv1", "gray", ".mkv"),
    ],
)
def test_pixel_formats(tmp_path, codec, pix_fmt, ending):
    frames = pan(4)
    if pix_fmt == "gray":
        frames = [frame[..., 0] for frame in frames]
    path = encode(tmp_path / f"a{ending}", frames, codec=codec, pix_fmt=pix_fmt, options={"crf": "10"})
    shown = list(read_video(path))
    assert len(shown) == 4
    expected = frames[2] if frames[2].ndim == 3 else np.repeat(frames[2][..., None], 3, 2)
    if pix_fmt == "gray":  # the file does not say whether its levels are full or limited: compare the pattern
        assert np.corrcoef(shown[2].numpy().ravel(), expected.ravel())[0, 1] > 0.99
    else:
        assert alike(shown[2], expected)


def test_8k(tmp_path):
    frame = np.zeros((4320, 7680, 3), np.uint8)
    frame[:, :3840, 0] = 200
    path = encode(tmp_path / "a.mp4", [frame, frame], options={"preset": "ultrafast"})
    shown = list(movie_frames(path))
    assert len(shown) == 2 and shown[0].image.shape == (4320, 7680, 3)
    assert abs(int(shown[1].image[2000, 1000, 0]) - 200) < 8


@pytest.mark.parametrize("share", [0.6, 0.8])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".avi"])
def test_cut_short_in_the_middle(tmp_path, share, ending):
    options = {"movflags": "faststart"} if ending == ".mp4" else {}
    whole, codec = tmp_path / f"whole{ending}", "mpeg4" if ending == ".avi" else "libx264"
    if ending == ".mp4":
        write_video(whole, tensors(pan(50)), 25)
    else:
        encode(whole, pan(50), codec=codec, options=options)
    path = tmp_path / f"cut{ending}"
    data = whole.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    told = []
    frames = [frame.image for frame in movie_frames(path, tell=told.append)]
    assert 5 < len(frames) < 50
    expected = pan(50)
    assert alike(frames[0], expected[0])
    assert ending == ".avi" or alike(frames[len(frames) // 2], expected[len(frames) // 2], 8.0)
    if ending in (".mp4", ".avi"):  # the others do not announce how many frames they hold
        assert len(told) == 1 and "could be read" in told[0] and str(len(frames)) in told[0]


def test_without_its_index(tmp_path):
    whole = encode(tmp_path / "a.mp4", pan(30))
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:-3000])  # the index of an MP4 stands at its end
    with pytest.raises(BadInputError, match="cannot be opened as a video"):
        open_frames(path)


def test_interlaced_is_noticed_with_and_without_its_flag(tmp_path):
    moving = pan(80, step=6.0)
    fields = []
    for first, second in zip(moving[::2], moving[1::2], strict=True):
        woven = first.copy()
        woven[1::2] = second[1::2]
        fields.append(woven)
    whole = encode(tmp_path / "whole.mkv", moving[::2], options={"crf": "12"})
    for name, flagged in (("flagged", True), ("unflagged", False)):
        options = {"crf": "12", "x264-params": "tff=1" if flagged else "interlaced=0"}
        path = encode(tmp_path / f"{name}.mkv", fields, options=options, interlaced=flagged)
        told = []
        frames = [frame.image.numpy() for frame in movie_frames(path, tell=told.append)]
        assert len(frames) == 40
        assert any("de-interlaced" in sentence for sentence in told), name
        assert comb(frames[20]) < 0.5 * comb(fields[20])
        assert min(float(np.abs(frames[20].astype(float) - moving[place]).mean()) for place in (40, 41)) < 5
    told = []
    list(movie_frames(whole, tell=told.append))
    assert told == []


def comb(frame: np.ndarray) -> float:
    """How far lines are from the mean of their neighbours."""
    grey = frame.astype(float).mean(2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


def test_nothing_to_read(tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for path, message in (
        (empty, "is empty"),
        (noise, "cannot be opened as a video"),
        (sound, "holds no video stream"),
        (tmp_path / "nothing.mp4", "is missing"),
    ):
        for function in (open_frames, video_size, lambda p: next(read_video(p))):
            with pytest.raises(BadInputError, match=message):
                function(path)


def test_frames_again_by_number_and_time(tmp_path):
    path = encode(tmp_path / "a.mkv", pan(120, step=3.0), gop=10)
    source = open_frames(path)
    walked = list(source)
    chosen = [70, 71, 90, 119]
    for times in ([], [walked[index].time_s for index in chosen]):
        again = list(source.at(chosen, times))
        assert [frame.index for frame in again] == chosen
        assert all(torch.equal(frame.image, walked[frame.index].image) for frame in again)
    spread = list(source.spread(10))
    assert 8 <= len(spread) <= 12 and spread[0].index < 12 < 90 < spread[-1].index
    assert source.name_of(7) == "frame_000007" and source.image_name(7) == "frame_000007.png"


def test_folders_walk_alike(tmp_path):
    for number, frame in zip((9, 10, 2), tensors(pan(3)), strict=True):
        write_image(tmp_path / f"view{number}.png", frame)
    write_image(tmp_path / "mask.png", torch.zeros(*SIZE[::-1], dtype=torch.uint8))
    source = open_frames(tmp_path)
    assert [source.name_of(i) for i in range(source.count)] == ["view2", "view9", "view10"]
    assert [index for index, _, _ in source] == [0, 1, 2] and source.size_px == SIZE
    write_image(tmp_path / "view11.png", torch.zeros(50, 60, 3, dtype=torch.uint8))
    with pytest.raises(BadInputError, match="view11.png is 60 x 50 pixels"):
        list(open_frames(tmp_path))


def test_quality_of_written_videos(tmp_path):
    frames = tensors(pan(5))
    sizes = [write_video(tmp_path / f"{crf}.mp4", frames, 25, crf=crf).stat().st_size for crf in (5, 18, 40)]
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]
    with pytest.raises(BadInputError, match="crf 60"):
        write_video(tmp_path / "a.mp4", frames, 25, crf=60)


CHILD = """
import resource, sys
from pathlib import Path
from depthscope.video import survey
survey(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path):
    peaks = []
    for count in (100, 800):
        frames = (frame for _ in range(count // 100) for frame in tensors(pan(100, step=4.0)))
        path = write_video(tmp_path / f"{count}.mp4", frames, 25, crf=25)
        done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] < peaks[0] + 30  # the 700 frames more would take 160 MB


def test_frames_are_let_go(tmp_path):
    import gc
    import weakref

    path = encode(tmp_path / "a.mkv", pan(60), gop=10)
    alive: list[weakref.ref] = []
    most = 0
    for frame in movie_frames(path):
        alive.append(weakref.ref(frame))
        if frame.index % 20 == 0:
            gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 60 and most <= 3
