"""Parts of videos and folders: the frames that a cut takes are those of the whole file, with its numbers and times."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from depthscope.calibration import Chessboard, seen_boards
from depthscope.commands.reconstruct import reconstruct
from depthscope.corpus import CorpusOptions, read_corpus
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.pipeline.recordings import plain_recording
from depthscope.video import Cut, open_frames, survey, write_clip, write_image
from depthscope.video.cut import seconds_of
from moving_pictures import disc, encode, pan

RATE = 25
FINE = {"crf": "10", "g": "10"}


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """100 frames, four seconds, that can be entered every ten frames."""
    return encode(tmp_path_factory.mktemp("cut") / "a.mp4", pan(100, step=2.0, inside=disc()), options=FINE)


def test_times_in_words():
    assert [seconds_of(text) for text in ("12", "12.5", "1:02.5", "1:00:02", "", "1:2:3:4", "x", "1e3", "-1")] == [
        *(12.0, 12.5, 62.5, 3602.0),
        *(None,) * 5,
    ]


@pytest.mark.parametrize(
    ("cut", "numbers"),
    [
        (Cut("2", "3"), range(50, 75)),
        (Cut("0:02", "frame_000075", every=4), range(50, 75, 4)),
        (Cut(end="frame_000012.png"), range(12)),
        (Cut(start="frame_000090", every=3), range(90, 100, 3)),
        (Cut(every=30), range(0, 100, 30)),
    ],
)
def test_a_part_is_made_of_the_frames_of_the_whole(movie, cut, numbers):
    whole = {frame.index: frame for frame in open_frames(movie)}
    part = open_frames(movie, cut)
    frames = list(part)
    assert [part.number_of(frame.index) for frame in frames] == list(numbers)
    assert [frame.index for frame in frames] == list(range(len(numbers))) and part.count == len(numbers)
    assert part.name_of(1) == f"frame_{numbers[1]:06d}"
    for frame, number in zip(frames, numbers, strict=True):
        assert frame.time_s == whole[number].time_s and torch.equal(frame.image, whole[number].image)
    chosen = [1, len(numbers) - 1]
    for times in ([], [frames[index].time_s for index in chosen]):  # with times the file is entered near to them
        again = list(part.at(chosen, times))
        assert [frame.index for frame in again] == chosen
        assert all(torch.equal(frame.image, frames[frame.index].image) for frame in again)
    assert {whole[part.number_of(f.index)].time_s for f in part.spread(3)} <= {frame.time_s for frame in frames}


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        ({"start": "5"}, "leaves no frame of 100, the last of which is shown at 3.96 s"),
        ({"start": "frame_000100"}, "frame_000000 to frame_000099"),
        ({"start": "soon"}, "minutes and seconds"),
        ({"start": "3", "end": "2"}, "a start before the end"),
        ({"start": "frame_000020", "end": "0.5"}, "leaves no frame"),
        ({"every": 0}, "1 (all frames) or more"),
        ({"end": "-2"}, "seconds"),
    ],
)
def test_a_cut_that_leaves_nothing_is_refused_in_words(movie, cut, words):
    with pytest.raises(BadInputError) as refused:
        open_frames(movie, Cut(**cut))
    assert words in str(refused.value)


@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 70), st.integers(1, 9))
def test_two_parts_tile_the_whole(count, first, stop, every):
    times = [number / RATE for number in range(count)]

    def taken(cut: Cut) -> list[int]:
        try:
            return list(cut.span(times))
        except BadInputError:
            return []

    wanted = list(range(min(first, count), min(stop, count), every))
    by_time = [f"{number / RATE:.4f}" for number in (first, stop)]
    if stop > first:
        assert taken(Cut(*by_time, every)) == wanted
    assert taken(Cut(end=by_time[0])) + taken(Cut(start=by_time[0])) == list(range(count))


def test_a_folder_is_cut_by_names_and_by_numbers(tmp_path):
    for number in range(7):
        write_image(tmp_path / f"img{number}.jpg", torch.full((32, 32, 3), 20 * number, dtype=torch.uint8))
    for cut in (Cut("img2", "img5.jpg"), Cut("2", "5")):
        part = open_frames(tmp_path, cut)
        assert [part.name_of(frame.index) for frame in part] == ["img2", "img3", "img4"]
    with pytest.raises(BadInputError, match="called img0 to img6"):
        open_frames(tmp_path, Cut("img9"))


def test_clips_of_a_part_are_named_as_in_the_whole(movie, tmp_path):
    found = survey(movie, cut=Cut("1", "3"))
    images = write_clip(movie, found.clips[0], found, tmp_path)
    names = [path.stem for path in images]
    assert len(found.frames) == 50 and names[0] == "frame_000025" and names[-1] <= "frame_000074"
    assert found.frames[0].time_s == pytest.approx(1.0)


@pytest.mark.slow
def test_verbs_take_the_part_alone(movie, tmp_path):
    recording = plain_recording(movie, None, None, "", "", Cut("1", "2", 5))
    assert recording.names == tuple(f"{number:06d}" for number in range(25, 50, 5))
    assert len(list(recording.frames)) == 5
    options = CorpusOptions(size_px=(64, 64), every_s=0.0, holdout=0.0)
    parts = [read_corpus([movie], options, tmp_path / "store", cut=cut) for cut in (Cut("1", "2"), Cut("2", "3"))]
    assert [corpus.names[0] for corpus in parts] == ["frame_000025", "frame_000050"]  # each has a store of its own
    assert [len(corpus) for corpus in parts] == [25, 25]
    with pytest.raises(BadInputError, match="in any of 25 pictures"):
        seen_boards(movie, Chessboard((7, 5), 3.0), cut=Cut("1", "2"))


def test_a_still_part_is_refused_and_recorded(tmp_path):
    frames = pan(30, inside=disc()) + [pan(1, inside=disc())[0]] * 20
    path = encode(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    with pytest.raises(NoAnswerError, match="--start, --end"):
        reconstruct(path, tmp_path / "out", part=Cut(start="frame_000031"))
    assert "start: frame_000031" in (tmp_path / "out" / "provenance.yaml").read_text("utf-8")


def test_interlaced_parts_keep_their_numbers(tmp_path):
    frames = pan(60, step=6.0, inside=disc())
    combed = []
    for now, then in zip(frames, frames[1:], strict=False):
        woven = np.array(now)
        woven[1::2] = then[1::2]
        combed.append(woven)
    path = encode(tmp_path / "a.mkv", combed, codec="ffv1", pix_fmt="bgr0")
    whole = {frame.index: frame for frame in open_frames(path)}
    part = open_frames(path, Cut("1.2", "1.6"))
    found = list(part)
    assert [part.number_of(frame.index) for frame in found] == list(range(30, 40))
    inner = found[3:-1]  # at the ends of a part a de-interlacer has no neighbours
    assert all(torch.equal(frame.image, whole[part.number_of(frame.index)].image) for frame in inner)
