"""What files say of how they are to be shown: mirrored, stretched, cut, behind a cover, of a length nobody knows."""

import io
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.video import is_video, movie_frames, open_frames, read_video, survey, video_size, write_video
from depthscope.video.frames import camera_as_shown
from depthscope.video.orientation import Orientation, of_matrix, squared
from moving_pictures import SIZE, dicom_video, edited, encode, pan, shown_by, tensors


def alike(found, expected, levels=6.0):
    """Whether a decoded frame is what was encoded, up to compression."""
    found = np.asarray(found)
    return found.shape == expected.shape and float(np.abs(found.astype(float) - expected).mean()) < levels


# --- display matrices

SHOWN = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, -1, -1, 0): lambda p: p[::-1, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", SHOWN)
def test_frames_lie_as_the_display_matrix_says(tmp_path, matrix):
    frames, told = pan(3), []
    path = shown_by(encode(tmp_path / "a.mp4", frames), matrix)
    found = [frame.image for frame in movie_frames(path, tell=told.append)]
    expected = SHOWN[matrix](frames[1])
    assert alike(found[1], expected)
    assert video_size(path) == (3, (expected.shape[1], expected.shape[0])) and open_frames(path).size_px == (
        expected.shape[1],
        expected.shape[0],
    )
    mirrored = matrix[0] * matrix[3] - matrix[1] * matrix[2] < 0
    assert any("mirror" in sentence for sentence in told) == mirrored


def test_ffmpegs_own_filters_agree(tmp_path):
    """What FFmpeg does to show a file of each matrix (its transpose, hflip and vflip), and what ours does."""
    from av.filter import Graph

    picture = pan(1)[0]
    for matrix, filters in {(0, 1, 1, 0): [("transpose", "cclock_flip")], (-1, 0, 0, 1): [("hflip", "")]}.items():
        graph = Graph()
        last = graph.add_buffer(width=SIZE[0], height=SIZE[1], format="rgb24", time_base="1/25")
        for name, argument in filters:
            step = graph.add(name, argument)
            last.link_to(step)
            last = step
        last.link_to(graph.add("buffersink"))
        graph.configure()
        graph.push(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        assert np.array_equal(graph.pull().to_ndarray(format="rgb24"), SHOWN[matrix](picture))


def test_matrices_that_say_nothing():
    assert of_matrix(b"") == Orientation() and of_matrix(bytes(36)) == Orientation()


# --- pixels that are not square


def anamorphic(path, frames, aspect, codec="libx264"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("aspect", "size"), [("64/45", (320, 240)), ("8/9", (320, 240)), ("16/15", (320, 240))])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_anamorphic_frames_get_square_pixels(tmp_path, aspect, size, ending):
    frames, told, aspect = pan(3), [], Fraction(aspect)
    path = anamorphic(tmp_path / f"a{ending}", frames, aspect)
    expected = squared(size, aspect)
    found = [frame.image for frame in movie_frames(path, tell=told.append)]
    assert alike(found[1], cv2.resize(frames[1], expected, interpolation=cv2.INTER_CUBIC), 7.0)
    assert min(expected[0] / size[0], expected[1] / size[1]) == 1.0, "nothing may get lost"
    assert video_size(path)[1] == open_frames(path).size_px == expected and open_frames(path).stored_px == size
    assert any("not square" in sentence and f"{expected[0]} x {expected[1]}" in sentence for sentence in told)
    assert survey_notes_tell(path, "not square")


def survey_notes_tell(path, words):
    try:
        return any(words in note for note in survey(path).notes)
    except Exception as error:  # three frames are little to go by: then the sentence comes with the frames
        return bool(error)


def test_a_camera_of_the_stored_frames_is_stretched_with_them():
    from depthscope.geometry import Camera

    stored = Camera((720, 576), (600.0, 640.0), (360.0, 288.0))
    shown = camera_as_shown(stored, (1024, 576), (720, 576))
    assert shown.size_px == (1024, 576)
    assert shown.focal_px == pytest.approx((600.0 * 1024 / 720, 640.0)) and shown.centre_px == (512.0, 288.0)
    assert camera_as_shown(shown, (1024, 576), (720, 576)) == shown
    assert camera_as_shown(stored, (720, 576), None) == stored


def test_aspects_that_are_header_mistakes_are_left_alone():
    for aspect in (None, Fraction(0), Fraction(1), Fraction(401, 400), Fraction(1000, 1), Fraction(1, 1000)):
        assert squared((320, 240), aspect) == (320, 240)


# --- which stream is the video


def with_cover(path, frames, cover_size=(640, 480), cover_last=False, muxer=None):
    """A video file with a picture as a stream before it, as some recorders and cutters write them."""
    with av.open(str(path), "w", format=muxer) as container:
        streams = {}
        for name in ("video", "cover") if cover_last else ("cover", "video"):
            stream = container.add_stream("libx264" if name == "video" else "mjpeg", rate=25)
            stream.width, stream.height = SIZE if name == "video" else cover_size
            stream.pix_fmt = "yuv420p" if name == "video" else "yuvj420p"
            streams[name] = stream
        picture = av.VideoFrame.from_ndarray(np.full((*cover_size[::-1], 3), 90, np.uint8), format="rgb24")
        picture.pts = 0
        container.mux(streams["cover"].encode(picture))
        container.mux(streams["cover"].encode())
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(streams["video"].encode(frame))
        container.mux(streams["video"].encode())
    return path


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".mov"])
@pytest.mark.parametrize("cover_last", [False, True])
def test_a_cover_picture_is_not_the_video(tmp_path, ending, cover_last):
    frames = pan(20)
    path = with_cover(tmp_path / f"a{ending}", frames, cover_last=cover_last)
    found = list(read_video(path))
    assert len(found) == 20 and alike(found[7], frames[7])
    assert video_size(path) == (20, SIZE) and open_frames(path).size_px == SIZE


def test_of_two_videos_the_choice_is_told(tmp_path):
    path, told = tmp_path / "a.mkv", []
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, size in zip(streams, ((320, 240), (160, 120)), strict=True):
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, pixels in enumerate(pan(10)):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(cv2.resize(pixels, (stream.width, stream.height)), format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    assert len(list(movie_frames(path, tell=told.append))) == 10
    assert len(told) == 1 and "2 videos" in told[0] and "320 x 240" in told[0] and "160 x 120" in told[0]


def test_sound_alone_and_a_cover_alone_are_told(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadInputError, match="no video stream"):
        open_frames(path)


# --- how long it is


@pytest.mark.parametrize(("first", "count"), [(0, 15), (10, 14), (25, 15), (12, 28)])
def test_an_edit_list_is_no_loss(tmp_path, first, count):
    frames, told = pan(40), []
    path = encode(tmp_path / "a.mp4", frames, options={"bf": "0"}, gop=12)
    path = edited(path, first * 512, count * 512)  # ticks of 1/12800 s
    found = [frame.image for frame in movie_frames(path, tell=told.append)]
    assert len(found) == count and not told
    assert alike(found[0], frames[first]) and alike(found[-1], frames[first + count - 1])
    opened = open_frames(path)
    assert opened.count == count == video_size(path)[0] and opened.duration_s == pytest.approx(count / 25, abs=0.05)


def test_a_file_with_an_edit_list_that_is_cut_short_is_told(tmp_path):
    whole = write_video(tmp_path / "a.mp4", tensors(pan(60)), 25)
    path = edited(whole, 512, 59 * 512)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    told = []
    found = list(movie_frames(path, tell=told.append))
    assert 5 < len(found) < 55 and told and "could be read" in told[0]


class Pipe:
    """A file that cannot be entered again, as at the end of a pipe."""

    def __init__(self):
        self.bytes = io.BytesIO()

    def write(self, data):
        """Takes some bytes."""
        return self.bytes.write(data)


LIVE = [
    ("a.h264", "h264", "libx264", {}),
    ("a.hevc", "hevc", "libx265", {}),
    ("a.m2v", "mpeg2video", "mpeg2video", {}),
    ("a.ts", "mpegts", "libx264", {}),
    ("a.mp4", "mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ("a.webm", "webm", "libvpx", {}),
    ("a.mkv", "matroska", "libx264", {}),
    ("a.avi", "avi", "mpeg4", {}),
    ("a.flv", "flv", "libx264", {}),
    ("a.mjpeg", "mjpeg", "mjpeg", {}),
    ("a.y4m", "yuv4mpegpipe", "wrapped_avframe", {}),
    ("a.gif", "gif", "gif", {}),
]


def live(path, muxer, codec, options, frames):
    """A video as it comes out of a pipe: nobody went back to write how long it is."""
    pipe = Pipe()
    with av.open(pipe, "w", format=muxer, options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.codec_context.gop_size = 12
        if codec == "mpeg2video":
            stream.bit_rate = 4_000_000
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.write_bytes(pipe.bytes.getvalue())
    return path


@pytest.mark.parametrize(("name", "muxer", "codec", "options"), LIVE, ids=[row[0] for row in LIVE])
def test_streams_of_unknown_length(tmp_path, name, muxer, codec, options):
    frames, told = pan(80, step=2.0), []
    path = live(tmp_path / name, muxer, codec, options, frames)
    assert is_video(path)
    opened = open_frames(path)
    found = list(opened.walk(told.append))
    assert len(found) == 80 and not told
    assert [frame.time_s for frame in found] == pytest.approx([n / 25 for n in range(80)], abs=2e-3)
    assert opened.duration_s == pytest.approx(3.2, abs=0.1) and opened.frames_per_second == pytest.approx(25, rel=0.03)
    spread = [frame.time_s for frame in opened.spread(8)]
    assert max(spread) > 2.6 and len(spread) >= 8, "looks must be spread over all of it"
    chosen = [60, 62, 70]
    entered = list(opened.at(chosen, [found[n].time_s for n in chosen]))
    assert [frame.index for frame in entered] == chosen
    assert all(torch.equal(frame.image, found[frame.index].image) for frame in entered)


def test_a_pipe_is_refused_and_does_not_hang(tmp_path):
    path = tmp_path / "a.mp4"
    os.mkfifo(path)
    for attempt in (open_frames, video_size, lambda p: list(read_video(p))):
        with pytest.raises(BadInputError, match="pipe.*save a stream to a file"):
            attempt(path)


# --- DICOM


def coded(tmp_path, codec, muxer, frames):
    path = live(tmp_path / "stream", muxer, codec, {}, frames)
    data = path.read_bytes()
    return [data + b"\0" * (len(data) % 2)]


@pytest.mark.parametrize(
    ("syntax", "codec", "muxer"),
    [
        ("1.2.840.10008.1.2.4.103", "libx264", "h264"),
        ("1.2.840.10008.1.2.4.102", "libx264", "mpegts"),
        ("1.2.840.10008.1.2.4.107", "libx265", "hevc"),
        ("1.2.840.10008.1.2.4.100", "mpeg2video", "mpeg2video"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_coded_stream_in_dicom(tmp_path, syntax, codec, muxer, pieces):
    frames, told = pan(30), []
    data = coded(tmp_path, codec, muxer, frames)[0]
    part = len(data) // pieces // 2 * 2
    if pieces > 1 and codec == "libx265":
        return  # the standard has no such syntax
    split = [data[n * part : None if n == pieces - 1 else (n + 1) * part] for n in range(pieces)]
    path = dicom_video(tmp_path / "a.dcm", split, syntax + (".1" if pieces > 1 else ""), 30)
    assert is_video(path)
    opened = open_frames(path)
    found = list(opened.walk(told.append))
    assert len(found) == 30 and not told and opened.size_px == SIZE
    assert alike(found[20].image, frames[20]) and found[20].time_s == pytest.approx(0.8, abs=2e-3)
    assert len(list(read_video(path))) == 30 == video_size(path)[0]


def jpegs(frames, ending=".jpg", options=()):
    return [cv2.imencode(ending, frame[..., ::-1], list(options))[1].tobytes() for frame in frames]


def padded(pieces):
    return [piece + b"\0" * (len(piece) % 2) for piece in pieces]


@pytest.mark.parametrize(
    ("syntax", "ending", "meaning"),
    [
        ("1.2.840.10008.1.2.4.50", ".jpg", "YBR_FULL_422"),
        ("1.2.840.10008.1.2.4.90", ".jp2", "YBR_RCT"),
        ("1.2.840.10008.1.2.4.91", ".jp2", "YBR_ICT"),
    ],
)
def test_coded_frames_in_dicom(tmp_path, syntax, ending, meaning):
    frames, told = pan(24), []
    path = dicom_video(
        tmp_path / "export", padded(jpegs(frames, ending)), syntax, 24, PhotometricInterpretation=meaning
    )
    assert is_video(path), "by its first bytes: it has no ending"
    opened = open_frames(path)
    found = list(opened.walk(told.append))
    assert len(found) == 24 == opened.count and not told
    assert alike(found[17].image, frames[17]) and found[17].time_s == pytest.approx(0.68)
    assert [frame.index for frame in opened.at([3, 20], [0.12, 0.8])] == [3, 20]
    assert len(list(opened.spread(6))) >= 6


def test_a_jpeg_of_red_green_and_blue_in_dicom(tmp_path):
    """Some endoscopes store the channels without turning them to YCbCr, and only the DICOM header says so."""
    frame = pan(1)[0]
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = *SIZE, "yuvj444p", Fraction(1, 25)
    planes = av.VideoFrame(*SIZE, "yuvj444p")
    for number, plane in enumerate(planes.planes):
        rows = np.zeros((SIZE[1], plane.line_size), np.uint8)
        rows[:, : SIZE[0]] = frame[..., number]
        plane.update(rows)
    data = b"".join(bytes(packet) for packet in [*codec.encode(planes), *codec.encode(None)])
    data = data[:2] + data[data.index(b"\xff\xdb") :]  # without the JFIF marker, which would mean YCbCr
    path = dicom_video(tmp_path / "a.dcm", padded([data] * 2), "1.2.840.10008.1.2.4.50", 2)
    assert alike(next(read_video(path)), frame, 8.0)


@pytest.mark.parametrize("codec", ["ljpeg", "jpegls"])
def test_lossless_frames_in_dicom(tmp_path, codec):
    frames, pieces = pan(6), []
    for frame in frames:
        encoder = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.time_base = *SIZE, Fraction(1, 25)
        encoder.pix_fmt = "bgr24" if codec == "ljpeg" else "rgb24"
        encoder.options = {"strict": "-1"}
        source = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=encoder.pix_fmt)
        pieces.append(b"".join(bytes(packet) for packet in [*encoder.encode(source), *encoder.encode(None)]))
    syntax = "1.2.840.10008.1.2.4.70" if codec == "ljpeg" else "1.2.840.10008.1.2.4.80"
    path = dicom_video(tmp_path / "a.dcm", padded(pieces), syntax, 6)
    found = list(read_video(path))
    assert len(found) == 6 and all(np.array_equal(a.numpy(), b) for a, b in zip(found, frames, strict=True))


@pytest.mark.parametrize("meaning", ["RGB", "YBR_FULL", "MONOCHROME2", "MONOCHROME1", "PALETTE COLOR"])
def test_plain_frames_in_dicom(tmp_path, meaning):
    frames = pan(12)
    grey = np.stack([frame[..., 0] for frame in frames])
    elements, expected = {"PhotometricInterpretation": meaning}, np.stack(frames)
    if meaning == "RGB":
        data = np.stack(frames)
    elif meaning == "YBR_FULL":
        data = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]] for f in frames])
    else:
        data, expected = grey, np.repeat(grey[..., None], 3, 3)
        elements["SamplesPerPixel"] = 1
        if meaning == "MONOCHROME1":
            data = 255 - data
        if meaning == "PALETTE COLOR":
            table = (np.arange(256, dtype=np.uint16) << 8).astype("<u2").tobytes()
            for colour in ("Red", "Green", "Blue"):
                elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
                elements[f"{colour}PaletteColorLookupTableData"] = table
    path = dicom_video(tmp_path / "a.dcm", data.tobytes(), "1.2.840.10008.1.2.1", 12, **elements)
    found = list(read_video(path))
    assert len(found) == 12
    assert all(alike(one, other, 1.5) for one, other in zip(found, expected, strict=True))


def test_grey_of_twelve_bits_in_dicom(tmp_path):
    levels = (np.arange(320 * 240).reshape(1, 240, 320) % 4096).astype("<u2").repeat(3, 0)
    elements = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16}
    elements |= {"BitsStored": 12, "HighBit": 11}
    path = dicom_video(tmp_path / "a.dcm", levels.tobytes(), "1.2.840.10008.1.2.1", 3, **elements)
    found = list(read_video(path))
    assert len(found) == 3 and np.array_equal(found[2].numpy()[..., 1], levels[2] >> 4)


def test_pixels_that_are_not_square_in_dicom(tmp_path):
    frames = padded(jpegs(pan(3)))
    path = dicom_video(tmp_path / "a.dcm", frames, "1.2.840.10008.1.2.4.50", 3, PixelAspectRatio=[3, 4])
    assert open_frames(path).size_px == (427, 240) and open_frames(path).stored_px == SIZE


def test_dicom_that_is_cut_short_or_no_video_is_told(tmp_path):
    frames = padded(jpegs(pan(24)))
    path = dicom_video(tmp_path / "a.dcm", frames, "1.2.840.10008.1.2.4.50", 24)
    data, told = path.read_bytes(), []
    path.write_bytes(data[: int(0.6 * len(data))])
    found = list(movie_frames(path, tell=told.append))
    assert 8 < len(found) < 20 and len(told) == 1 and "cut short" in told[0]
    path.write_bytes(data[:900])
    with pytest.raises(BadInputError, match=str(path)):
        list(read_video(path))
    path.write_bytes(data[:200])
    with pytest.raises(BadInputError, match="DICOM"):
        open_frames(path)
    dicom_video(path, frames, "1.2.840.10008.1.2.4.50", 24, Modality="CT")
    with pytest.raises(BadInputError, match="an endoscopic video"):
        open_frames(path)
    dicom_video(path, frames, "1.2.840.10008.1.2.4.94", 24)
    with pytest.raises(BadInputError, match="coded as"):
        list(read_video(path))


# --- names


@pytest.mark.parametrize("name", ["a:b.mp4", "Größe ♥ 図.mp4", "a%03d b.mp4", "http:clip.mp4", "-x.mp4", "a'b\"c.mp4"])
def test_names_are_only_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "plain.mp4", pan(3)).rename(tmp_path / name)
    assert len(list(read_video(Path(name)))) == 3


def test_a_playlist_in_disguise_opens_nothing_else(tmp_path):
    encode(tmp_path / "other.ts", pan(5))
    path = tmp_path / "clip.mp4"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(BadInputError):
        open_frames(path)
    path.write_text("ffconcat version 1.0\nfile other.ts\n")
    with pytest.raises(BadInputError):
        open_frames(path)


@pytest.mark.parametrize(("times", "held"), [(range(30), 300), (range(0, 600, 50), 50)], ids=["held", "slides"])
def test_a_last_frame_that_is_shown_for_long_is_no_loss(tmp_path, times, held):
    """A recorded screen at rest ends in one long frame, and slides are all long: both files are whole."""
    encode(tmp_path / "plain.mkv", pan(len(times)), times=list(times), options={"bf": "0"})
    path, told = tmp_path / "whole.mkv", []
    with av.open(str(tmp_path / "plain.mkv")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        packets[-1].duration = int(held / 25 / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    assert len(list(movie_frames(path, tell=told.append))) == len(times) and told == []


def test_matroska_that_is_cut_short_is_told_by_its_length(tmp_path):
    path, told = tmp_path / "a.mkv", []
    encode(path, pan(75))
    assert len(list(movie_frames(path, tell=told.append))) == 75 and told == []
    data = path.read_bytes()
    path.write_bytes(data[: int(0.5 * len(data))])
    found = list(movie_frames(path, tell=told.append))
    assert 15 < len(found) < 50 and len(told) == 1 and "cut short" in told[0] and "of the 3.0 s" in told[0]
