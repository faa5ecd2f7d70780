"""Images and videos: read as they are, refused when damaged, ordered by number."""

import re

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.video import (
    check_sizes,
    image_size,
    list_images,
    open_frames,
    order_of_name,
    read_grey,
    read_image,
    write_image,
    write_video,
)


@pytest.fixture
def picture() -> torch.Tensor:
    rows, columns = np.mgrid[:36, :52]
    image = np.stack([rows * 5, columns * 4, (rows + columns) * 2], -1).astype(np.uint8)
    return torch.from_numpy(image)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".jpg", ".JPG", ".webp"])
def test_written_and_read_again(tmp_path, picture, ending):
    path = write_image(tmp_path / f"a{ending}", picture)
    again = read_image(path)
    assert again.shape == (36, 52, 3) and again.dtype == torch.uint8
    lossless = ending in (".png", ".bmp", ".tif")
    assert (again.int() - picture.int()).abs().max() <= (0 if lossless else 24)
    assert (again.float() - picture.float()).abs().mean() <= (0 if lossless else 4)
    assert image_size(path) == (52, 36)


def test_red_is_first(tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 5, 3), (0, 0, 255), np.uint8))  # OpenCV writes blue first
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_grey_stays_grey(tmp_path, picture):
    mask = picture[..., 0]
    assert torch.equal(read_grey(write_image(tmp_path / "m.png", mask)), mask)
    assert torch.equal(read_image(tmp_path / "m.png")[..., 2], mask)


def test_an_orientation_tag_turns_nothing(tmp_path, picture):
    path = write_image(tmp_path / "a.jpg", picture)
    data = path.read_bytes()
    tiff = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert read_image(path).shape == (36, 52, 3)
    assert image_size(path) == (52, 36)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_cut_short(tmp_path, picture, ending, share, capfd):
    path = write_image(tmp_path / f"a{ending}", picture)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    for function in (read_image, read_grey, image_size):
        with pytest.raises(BadInputError, match="is cut short"):
            function(path)
    if ending != ".bmp":  # zeros of a download that was never finished; in a BMP they are black pixels
        path.write_bytes(data[: int(len(data) * share)] + bytes(500))
        for function in (read_image, read_grey, image_size):
            with pytest.raises(BadInputError):
                function(path)
    assert capfd.readouterr().err == ""


def test_bytes_after_the_end_do_no_harm(tmp_path, picture):
    for ending in (".jpg", ".png"):
        path = write_image(tmp_path / f"a{ending}", picture)
        before = read_image(path)
        for tail in (bytes(7), b"made by a camera" * 20):
            path.write_bytes(path.read_bytes() + tail)
            assert torch.equal(read_image(path), before)
            assert image_size(path) == (52, 36)


def test_a_thumbnail_does_not_hide_a_cut(tmp_path, picture):
    path = write_image(tmp_path / "a.jpg", picture)
    data = path.read_bytes()
    thumbnail = b"Exif\0\0" + data
    head = data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    path.write_bytes(head + data[2:])
    assert read_image(path).shape == (36, 52, 3) and image_size(path) == (52, 36)
    path.write_bytes(head + data[2:-40])
    with pytest.raises(BadInputError, match="is cut short"):
        read_image(path)


def test_damage_inside_a_png(tmp_path, picture, capfd):
    path = write_image(tmp_path / "a.png", picture)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))
    with pytest.raises(BadInputError, match="checksum"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"hello", "is not an image"), (None, "cannot be read")]
)
def test_no_image(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    for function in (read_image, image_size):
        with pytest.raises(BadInputError, match=message):
            function(path)


def test_sizes_are_compared(tmp_path, picture):
    path = write_image(tmp_path / "a.png", picture)
    check_sizes([path], (52, 36), "the mask")
    with pytest.raises(BadInputError, match="a.png is 52 x 36 pixels; expected 36 x 52 as the mask"):
        check_sizes([path], (36, 52), "the mask")


def test_images_are_ordered_by_number(tmp_path):
    for name in ("10_color.png", "9_color.png", "100_color.PNG", "8_color.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["8_color.jpg", "9_color.png", "10_color.png", "100_color.PNG"]
    assert sorted(["b/2.png", "a/10.png", "a/9.png"], key=order_of_name) == ["a/9.png", "a/10.png", "b/2.png"]


def test_folders_without_images(tmp_path):
    with pytest.raises(BadInputError, match="holds no images"):
        list_images(tmp_path)
    with pytest.raises(BadInputError, match="is not a folder"):
        list_images(tmp_path / "nothing")


def test_a_video_plays_and_odd_sizes_are_made_even(tmp_path):
    import av

    frames = (torch.full((45, 63, 3), 20 * i, dtype=torch.uint8) for i in range(10))
    path = write_video(tmp_path / "a.mp4", frames, 12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(12.5)
    assert len(decoded) == 10 and decoded[0].shape == (46, 64, 3)
    for i, frame in enumerate(decoded):
        assert np.abs(frame.astype(int) - 20 * i).max() <= 4


def test_half_a_video_is_not_left(tmp_path):
    with pytest.raises(BadInputError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], 25)
    sizes = [torch.zeros(32, 48, 3, dtype=torch.uint8), torch.zeros(32, 50, 3, dtype=torch.uint8)]
    with pytest.raises(BadInputError, match=re.escape("frame 1 has shape (32, 50, 3)")):
        write_video(tmp_path / "a.mp4", sizes, 25)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_image(tmp_path, picture):
    with pytest.raises(BadInputError, match="as the name of an image"):
        write_image(tmp_path / "a.mp4", picture)


# --- pictures of other people's programs

HALVES = np.zeros((40, 48, 3), np.uint8)
HALVES[:, :24], HALVES[:, 24:] = (200, 60, 40), (40, 60, 200)


@pytest.mark.parametrize("kind", ["cmyk.jpg", "cmyk.tif", "alpha.png", "alpha.webp", "palette.png", "16.png", "16.tif"])
def test_colours_come_right_however_they_are_stored(tmp_path, kind):
    path, picture = tmp_path / kind, PIL.Image.fromarray(HALVES)
    if kind.startswith("16"):
        cv2.imwrite(str(path), HALVES[..., ::-1].astype(np.uint16) * 257)
    elif kind.startswith("alpha"):
        picture.putalpha(255)
        picture.save(path, lossless=True)
    elif kind.startswith("palette"):
        picture.quantize(16).save(path)
    else:
        picture.convert("CMYK").save(path, quality=95)
    assert image_size(path) == (48, 40)
    assert int((read_image(path).int() - torch.from_numpy(HALVES).int()).abs().max()) <= 2


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("bits", [10, 12])
def test_few_bits_of_sixteen_are_not_read_as_black(tmp_path, ending, bits):
    path = tmp_path / f"a{ending}"
    cv2.imwrite(str(path), HALVES[..., ::-1].astype(np.uint16) << (bits - 8))
    with pytest.raises(BadInputError, match=f"numbers of {bits} bits"):
        read_image(path)
    with pytest.raises(BadInputError, match=f"numbers of {bits} bits"):
        read_grey(path)


@pytest.mark.parametrize("value", [0, 200])
def test_black_frames_of_sixteen_bits_are_read(tmp_path, value):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 48, 3), value, np.uint16))
    assert int(read_image(tmp_path / "a.png").max()) == 0


@pytest.mark.parametrize("ending", [".webp", ".png"])
def test_an_animation_is_no_frame(tmp_path, ending):
    first = PIL.Image.fromarray(HALVES)
    first.save(tmp_path / f"a{ending}", save_all=True, append_images=[PIL.Image.fromarray(255 - HALVES)])
    for read in (read_image, read_grey):
        with pytest.raises(BadInputError, match="is an animation .*single frames"):
            read(tmp_path / f"a{ending}")


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("number", [1, 3, 6])
def test_an_orientation_tag_is_told(tmp_path, ending, number):
    picture = PIL.Image.fromarray(HALVES)
    exif = picture.getexif()
    exif[0x0112] = number
    for name in ("a", "b"):
        picture.save(tmp_path / f"{name}{ending}", exif=exif)
    told: list[str] = []
    assert len(list(open_frames(tmp_path).walk(told.append))) == 2
    assert (told == []) == (number == 1) and all(f"EXIF {number}" in line for line in told)
