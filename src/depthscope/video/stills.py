"""Still images: read, checked and written, and folders of them in their order."""

import re
import zlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from depthscope.errors import BadInputError, require_file
from depthscope.memory import keep, once
from depthscope.reading import reader, reading
from depthscope.video.tiff import tiff_defect

Image = UInt8[Tensor, "height width 3"]
Grey = UInt8[Tensor, "height width"]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"\x00\x00\x00\x00IEND\xaeB`\x82"
BMP_START = b"BM"

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WEBP_START, WEBP_ANIMATED = b"RIFF", 0x02

ORIENTATION_TAG, UPRIGHT, EXIF_WITHIN = 0x0112, 1, 1 << 16

FAINTEST_OF_16_BITS = 256, 4096
"""Of a picture of 16 bits: with a brightest value from the one to the other it holds numbers of 9 to 12 bits, as a
sensor gives them; read as 16 bits it would be black."""

MOST_LOOKED_AT = 100
"""Entries of a folder that are looked at for what else could be meant."""

JPEG_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xDA))
JPEG_FRAME_HEADERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
JPEG_SCAN = 0xDA


@reader("an image")
def read_image(path: Path) -> Image:
    """An image file as sRGB bytes, as it is stored: an orientation tag is not applied, as SfM does not apply it either.

    Transparency is left out. What holds several pictures (animated PNG and WebP, stacks of TIFF) is no frame.

    Raises:
        BadInputError: The file is missing, damaged, cut short, not an image, an animation, a stack, or holds numbers of
            9 to 12 bits in 16, or of 32 bits.
    """
    return once("image", Path(path), lambda: _rgb(Path(path)))


def _rgb(path: Path) -> Image:
    return torch.from_numpy(cv2.cvtColor(_decoded(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


@reader("an image")
def read_grey(path: Path) -> Grey:
    """The brightness of an image file, weighted as OpenCV does (0.299 R + 0.587 G + 0.114 B).

    Raises:
        BadInputError: As `read_image`.
    """
    return torch.from_numpy(_decoded(Path(path), cv2.IMREAD_GRAYSCALE))


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name."""
    return path.suffix.lower() in IMAGE_ENDINGS


def write_image(path: Path, image: Image | Grey, quality: int = 95, *, quick: bool = False) -> Path:
    """Writes an image in the format that its ending names.

    Args:
        path: The file.
        image: sRGB or grey.
        quality: Of JPEG.
        quick: A PNG that is written in a third of the time and is a quarter larger.

    Raises:
        BadInputError: The ending names no image format.
    """
    path, pixels = Path(path), image.cpu().numpy()
    if path.suffix.lower() not in IMAGE_ENDINGS:
        raise BadInputError(f"{path} as the name of an image", f"one ending in {', '.join(IMAGE_ENDINGS)}")
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix.lower() in (".jpg", ".jpeg") else []
    if quick and path.suffix.lower() == ".png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    _, data = cv2.imencode(path.suffix.lower(), pixels if pixels.ndim == 2 else pixels[..., ::-1], options)
    path.write_bytes(data.tobytes())
    if path.suffix.lower() == ".png" and image.ndim == 3:  # without loss: it is read as it was written
        keep("image", path, image.cpu())
    return path


@reader("an image")
def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file, from its header where the format is JPEG, PNG or BMP.

    Also notices a file that was cut short, by its missing end, without decoding it.

    Raises:
        BadInputError: The file is missing, cut short, or not an image.
    """
    path = Path(path)
    with _opened(path) as stream:
        start = stream.read(26)
        stream.seek(0, 2)
        length = stream.tell()
        stream.seek(max(0, length - 64))
        end = stream.read().rstrip(b"\0")
        if start.startswith(JPEG_START):
            stream.seek(2)
            size, whole = _jpeg_size(stream), end.endswith(JPEG_END)
        elif start.startswith(PNG_START):
            size = (int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big"))
            whole = PNG_END.rstrip(b"\0") in end
        elif start.startswith(BMP_START):
            size = (int.from_bytes(start[18:22], "little"), abs(int.from_bytes(start[22:26], "little", signed=True)))
            whole = length >= int.from_bytes(start[2:6], "little")
        else:
            size, whole = None, False
    if size is None or not whole:  # another format, or bytes after the end: look at all of it
        pixels = _decoded(path, cv2.IMREAD_GRAYSCALE)
        return pixels.shape[1], pixels.shape[0]
    return size


def check_sizes(images: Iterable[Path], size_px: tuple[int, int], owner: str) -> None:
    """Refuses frames that are damaged or of another size.

    Args:
        images: The files.
        size_px: The (width, height) that all must have.
        owner: What has that size, in words: "the camera".

    Raises:
        BadInputError: One of them is missing, cut short, or of another size.
    """
    for path in images:
        found = image_size(path)
        if found != size_px:
            raise BadInputError(
                f"{path} is {found[0]} x {found[1]} pixels",
                f"{size_px[0]} x {size_px[1]} as {owner}",
                "use the frames that SfM was run on",
            )


def order_of_name(path: Path | str) -> tuple[Any, ...]:
    """Sorting key that puts frame 2 before frame 10: the numbers in a name compare as numbers."""
    pieces = re.split(r"(\d+)", str(path).lower())
    return (*[int(piece) if i % 2 else piece for i, piece in enumerate(pieces)], str(path))


@reader("a folder of images")
def list_images(folder: Path) -> tuple[Path, ...]:
    """The image files of a folder in the order of the numbers in their names.

    Raises:
        BadInputError: There is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder", "a folder of images", "check the path")
    found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_ENDINGS and not p.name.startswith(".")]
    if not found:
        raise BadInputError(
            f"{folder} holds no images{_instead(folder)}",
            f"files ending in {', '.join(IMAGE_ENDINGS)}",
            "give one of those, or check the path" if _instead(folder) else "check the path",
        )
    return tuple(sorted(found, key=lambda path: order_of_name(path.name)))


def _instead(folder: Path) -> str:
    """What a folder without images holds instead that could be given: videos, or folders with images."""
    from depthscope.video.containers import VIDEO_ENDINGS

    inner = sorted(folder.iterdir())
    videos = [path.name for path in inner if path.suffix.lower() in VIDEO_ENDINGS and path.is_file()]
    folders = [
        path.name
        for path in inner[:MOST_LOOKED_AT]
        if path.is_dir() and any(is_image(one) for one in islice(path.iterdir(), MOST_LOOKED_AT))
    ]
    for names, what in ((videos, "videos"), (folders, "folders with images")):
        if names:
            return f", but {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    return ""


def _opened(path: Path) -> BinaryIO:
    if path.exists():  # opening a pipe would wait for ever
        require_file(path, "an image")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise BadInputError(
            f"{path} cannot be read ({error.strerror})", "an image", "check the folder, or export the frames again"
        ) from error


def _decoded(path: Path, flags: int) -> np.ndarray:
    """The pixels of an image file; what is wrong with it is found before OpenCV can print about it."""
    with _opened(path) as stream:
        data = stream.read()
    defect = _defect(data)
    pixels = None if defect else cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise BadInputError(
            f"{path} {defect or 'cannot be decoded'}",
            "a whole image file (JPEG, PNG, BMP, TIFF, WebP)",
            "make a video or single frames of it"
            if "not one picture" in defect
            else "copy or export it again, or leave this frame out",
        )
    of_16_bits = data[24] == 16 if data.startswith(PNG_START) else data.startswith(TIFF_STARTS)
    if of_16_bits and pixels.max(initial=0) <= FAINTEST_OF_16_BITS[1] // 256:
        _refuse_few_of_16_bits(path, data)
    return pixels


def _refuse_few_of_16_bits(path: Path, data: bytes) -> None:
    """Refuses a dark picture that is dark for its numbers of 9 to 12 bits being read as 16.

    Raises:
        BadInputError: It is one.
    """
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16:
        return
    brightest = int(stored.max(initial=0))
    if FAINTEST_OF_16_BITS[0] <= brightest < FAINTEST_OF_16_BITS[1]:
        raise BadInputError(
            f"{path} has 16 bits, but no value above {brightest}: numbers of {brightest.bit_length()} bits, "
            "which would be black",
            "8 bits, or 16 bits of which all are used",
            "export it with 8 bits; if it really is black, leave this frame out",
        )


def orientation_remark(path: Path) -> str:
    """What to say of an image whose orientation tag (EXIF) turns or mirrors it in viewers; "" where none does."""
    with reading(path, "an image"), _opened(path) as stream:
        data = stream.read()
    number = _orientation(data)
    if number == UPRIGHT or data.startswith(TIFF_STARTS):  # TIFF's own tag is part of the format, and is applied
        return ""
    return (
        f"{path.name} has an orientation tag (EXIF {number}), which viewers apply and structure from motion does not: "
        "frames are taken as they are stored, so a camera must be for the stored pixels"
    )


def _orientation(data: bytes) -> int:
    """The orientation tag of a JPEG, PNG or WebP; `UPRIGHT` where there is none."""
    for start in (b"Exif\0\0", b"eXIf", b"EXIF"):
        place = data[:EXIF_WITHIN].find(start)
        if place < 0 and start == b"EXIF":  # WebP has it at its end
            place = data.rfind(start)
        if place < 0:
            continue
        skipped = 8 if start == b"EXIF" else len(start)  # with the length of WebP's chunk
        found = _tag_of(data[place + skipped : place + skipped + EXIF_WITHIN], ORIENTATION_TAG)
        if found is not None and 1 <= found <= 8:
            return found
    return UPRIGHT


def _tag_of(tiff: bytes, tag: int) -> int | None:
    """A short number of the first directory of TIFF's format, as EXIF has it too."""
    tiff = tiff[6:] if tiff.startswith(b"Exif\0\0") else tiff
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order not in ("little", "big"):
        return None
    place = int.from_bytes(tiff[4:8], order)
    count = int.from_bytes(tiff[place : place + 2], order)
    for row in range(place + 2, min(place + 2 + 12 * count, len(tiff) - 11), 12):
        if int.from_bytes(tiff[row : row + 2], order) == tag:
            return int.from_bytes(tiff[row + 8 : row + 10], order)
    return None


def _defect(data: bytes) -> str:
    """What is wrong with the bytes of an image, or "": a JPEG cut short may decode, half grey, with only a warning."""
    if not data:
        return "is empty"
    if data.startswith(JPEG_START):
        # Within the scans FF is always followed by 00 or by the number of a marker, so the end marker stands for
        # itself; a thumbnail before the first scan has one of its own.
        scan = _jpeg_scan(data)
        return "" if scan >= 0 and data.find(JPEG_END, scan) >= 0 else "is cut short (a JPEG without its end)"
    if data.startswith(PNG_START):
        return _png_defect(data)
    if data.startswith(BMP_START) and len(data) < int.from_bytes(data[2:6], "little"):
        return "is cut short (a BMP without its end)"
    if data.startswith(WEBP_START) and data[12:16] == b"VP8X" and data[20:21] and data[20] & WEBP_ANIMATED:
        return "is an animation (WebP), not one picture"
    if data.startswith(TIFF_STARTS):
        return tiff_defect(data)
    if not data.startswith((BMP_START, WEBP_START)):
        return "is not an image of a known format"
    return ""


def _png_defect(data: bytes) -> str:
    place = len(PNG_START)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        if end > len(data):
            break
        name = data[place + 4 : place + 8]
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return "is damaged (a PNG whose checksum does not fit)"
        if name == b"IEND":
            return ""
        if name == b"acTL" and int.from_bytes(data[place + 8 : place + 12], "big") > 1:
            return "is an animation (PNG), not one picture"
        place = end
    return "is cut short (a PNG without its end)"


def _jpeg_scan(data: bytes) -> int:
    """Where the first scan of a JPEG begins, or -1."""
    place = 2
    while place + 4 <= len(data):
        marker = data[place + 1]
        if data[place] != 0xFF:
            return -1
        if marker == JPEG_SCAN:
            return place
        if marker == 0xFF:  # padding
            place += 1
        elif marker in JPEG_WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return -1


def _jpeg_size(stream: BinaryIO) -> tuple[int, int] | None:
    """(width, height) from the frame header, the stream standing after the start marker; None if there is none."""
    while len(head := stream.read(2)) == 2 and head[0] == 0xFF:
        marker = head[1]
        if marker == 0xFF:
            stream.seek(-1, 1)
        elif marker in JPEG_FRAME_HEADERS:
            header = stream.read(7)
            return int.from_bytes(header[5:7], "big"), int.from_bytes(header[3:5], "big")
        elif marker == JPEG_SCAN:
            return None
        elif marker not in JPEG_WITHOUT_LENGTH:
            length = int.from_bytes(stream.read(2), "big")
            if length < 2:  # cut short, or a length that leads back to where it stands
                return None
            stream.seek(length - 2, 1)
    return None
