"""DICOM files that hold endoscopic video: a coded stream, or frames one by one, coded or plain."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from depthscope.errors import BadInputError

STREAMS = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
"""Transfer syntaxes of coded video: MPEG-2, H.264 and HEVC; each may have a suffix ".1" (in several fragments)."""

BY_OPENCV = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 90, 91))
"""JPEG of 8 bits, and JPEG 2000."""

CODECS = {
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (51, 57, 70)), "mjpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (80, 81)), "jpegls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)), "jpeg2000"),
}
"""FFmpeg's decoder for other coded frames, by transfer syntax."""

BY_PYDICOM = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5")
"""Plain bytes and run lengths."""

NO_CAMERA = ("CT", "MR", "PT", "NM", "RTDOSE", "RTSTRUCT", "RTPLAN", "SEG", "SR", "PR", "KO", "DOC")
"""Modalities whose files are no recordings of a camera."""

HEADER_BYTES = 128
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class Header:
    """What a DICOM header says about its frames.

    Attributes:
        path: The file.
        syntax: Transfer syntax.
        size_px: (width, height).
        frames: How many.
        step_s: Time from one to the next; 0 if it is not stated.
        aspect: Width over height of a pixel, or None.
        photometric: Meaning of the channels, as YBR_FULL_422.
        bits: Of each channel.
        start: Where in the file the element of the pixels begins.
        extended_offsets: Where each coded frame begins and how long it is, where there is such a table.
    """

    path: Path
    syntax: str
    size_px: tuple[int, int]
    frames: int
    step_s: float
    aspect: Fraction | None
    photometric: str
    bits: int
    start: int
    extended_offsets: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @property
    def is_stream(self) -> bool:
        """Whether the pixels are one coded stream."""
        return self.syntax.removesuffix(".1") in STREAMS or self.syntax in STREAMS

    def stream(self) -> io.BufferedReader:
        """The coded stream as a file.

        Raises:
            BadInputError: The file is cut short before it begins.
        """
        return io.BufferedReader(Fragments(self.path, _fragments(self.path, self.start)), 1 << 16)

    def images(self) -> Iterator[UInt8[np.ndarray, "height width 3"] | None]:
        """The frames of a file without a coded stream, as sRGB bytes; None for one that cannot be decoded.

        Raises:
            BadInputError: They are coded in a way that cannot be read here.
        """
        if self.syntax in BY_PYDICOM:
            return _plain_images(self)
        if self.syntax not in BY_OPENCV and self.syntax not in CODECS:
            raise BadInputError(
                f"{self.path} is a DICOM file whose frames are coded as {_name(self.syntax)}",
                "JPEG, JPEG-LS, JPEG 2000, run lengths, plain bytes, or a stream of MPEG-2, H.264 or HEVC",
                "convert it",
            )
        return _coded_images(self)


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    try:
        with Path(path).open("rb") as stream:
            return stream.read(HEADER_BYTES + 4)[HEADER_BYTES:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """The header of a DICOM file.

    Raises:
        BadInputError: It cannot be read, holds no pixels, or is no recording of a camera.
    """
    from pydicom import dcmread

    try:
        with Path(path).open("rb") as stream:
            data = dcmread(stream, stop_before_pixels=True, defer_size=1 << 20)
            start = stream.tell()
            has_pixels = stream.read(4) in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
            return _header(Path(path), data, start, has_pixels)
    except BadInputError:
        raise
    except Exception as error:  # pydicom raises whatever a damaged file makes it stumble over
        raise BadInputError(
            f"{path} cannot be read as DICOM ({type(error).__name__}: {error})", "a whole file", "export it again"
        ) from error


def _header(path: Path, data: Any, start: int, has_pixels: bool) -> Header:
    modality, kind = str(data.get("Modality", "")), data.get("SOPClassUID", None)
    what = f"a DICOM file of the kind {getattr(kind, 'name', None) or modality or 'unknown'}"
    if modality in NO_CAMERA:
        raise BadInputError(
            f"{path} is {what}", "an endoscopic video", "give a volume as --ct or to depthscope register"
        )
    if not has_pixels or not data.get("Rows") or not data.get("Columns"):
        raise BadInputError(f"{path} is {what} without pixels", "an endoscopic video", "choose another file")
    vertical, horizontal = (int(n) for n in data.get("PixelAspectRatio", None) or (1, 1))
    offsets = data.get("ExtendedOffsetTable"), data.get("ExtendedOffsetTableLengths")
    return Header(
        path,
        str(data.file_meta.TransferSyntaxUID),
        (int(data.Columns), int(data.Rows)),
        int(data.get("NumberOfFrames", 1) or 1),
        _step_s(data),
        Fraction(horizontal, vertical) if vertical > 0 and horizontal > 0 and vertical != horizontal else None,
        str(data.get("PhotometricInterpretation", "RGB")),
        int(data.get("BitsStored", 8)),
        start,
        None if None in offsets else (offsets[0], offsets[1]),
    )


def _step_s(data: Any) -> float:
    """Seconds from one frame to the next; 0 if nothing states it."""
    milliseconds = float(data.get("FrameTime", 0) or 0)
    if milliseconds > 0:
        return milliseconds / 1000
    vector = data.get("FrameTimeVector", None)
    if vector is not None and len(vector) > 1:
        return float(sum(float(step) for step in vector[1:])) / (len(vector) - 1) / 1000
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = float(data.get(name, 0) or 0)
        if rate > 0:
            return 1 / rate
    return 0.0


class Fragments(io.RawIOBase):
    """Pieces of a file, one after the other, as one file that can be entered anywhere.

    Args:
        path: The file.
        pieces: Where each begins, and how long it is.
    """

    def __init__(self, path: Path, pieces: list[tuple[int, int]]) -> None:
        super().__init__()
        self.file, self.place = path.open("rb"), 0
        self.starts = [start for start, _ in pieces]
        self.ends = list(accumulate(length for _, length in pieces))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place; see `io.RawIOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.ends[-1] if self.ends else 0}[whence]
        self.place = max(0, base + offset)
        return self.place

    def tell(self) -> int:
        """The place."""
        return self.place

    def readinto(self, buffer: Any) -> int:
        """Reads up to the end of the piece that the place is in."""
        number = int(np.searchsorted(self.ends, self.place, side="right"))
        if number == len(self.ends):
            return 0
        begin = self.ends[number - 1] if number else 0
        self.file.seek(self.starts[number] + self.place - begin)
        data = self.file.read(min(len(buffer), self.ends[number] - self.place))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)

    def close(self) -> None:
        """Closes the file."""
        self.file.close()
        super().close()


def _fragments(path: Path, start: int) -> list[tuple[int, int]]:
    """Where the fragments of encapsulated pixels lie; the table of offsets before them is no fragment."""
    found, length = [], path.stat().st_size
    with path.open("rb") as stream:
        place = start + 12  # group, element, value representation, two zeros, length that is not defined
        first = True
        while place + 8 <= length:
            stream.seek(place)
            head = stream.read(8)
            if head[:4] != ITEM:
                break
            size = int.from_bytes(head[4:], "little")
            if not first and size:
                found.append((place + 8, min(size, length - place - 8)))
            first, place = False, place + 8 + size
    if not found:
        raise BadInputError(
            f"{path} is a DICOM file that ends before its video begins", "a whole file", "export it again"
        )
    return found


def _coded_images(header: Header) -> Iterator[np.ndarray | None]:
    from pydicom.encaps import generate_frames

    with header.path.open("rb") as stream:
        stream.seek(header.start + 12)
        frames = generate_frames(stream, number_of_frames=header.frames, extended_offsets=header.extended_offsets)
        while True:
            try:
                data = next(frames, None)
            except Exception:  # cut short: pydicom stumbles
                return
            if data is None:
                return
            yield _decoded(data, header)


def _decoded(data: bytes, header: Header) -> np.ndarray | None:
    """One coded frame."""
    if header.syntax in BY_OPENCV:
        if header.photometric == "RGB":
            data = _said_to_be_rgb(data)
        try:
            found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            return None
        return None if found is None else _as_given(np.ascontiguousarray(found[..., ::-1]), header)
    import av
    from av.error import FFmpegError

    try:
        codec: Any = av.CodecContext.create(CODECS[header.syntax], "r")
        frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]
    except (FFmpegError, ValueError):
        return None
    if not frames:
        return None
    raw = frames[0]
    if header.photometric.startswith("MONOCHROME"):
        return _as_given(_eight_bits(raw.to_ndarray(), header), header)
    return raw.to_ndarray(format="rgb24")


def _said_to_be_rgb(data: bytes) -> bytes:
    """A JPEG whose header says that its channels are red, green and blue, where it says nothing itself.

    DICOM files say it outside of the JPEG; without a JFIF or Adobe marker decoders would take it for YCbCr.
    """
    if not data.startswith(b"\xff\xd8") or data[2:4] in (b"\xff\xe0", b"\xff\xee"):
        return data
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[2:]


def _plain_images(header: Header) -> Iterator[np.ndarray | None]:
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import iter_pixels

    lut = dcmread(header.path, stop_before_pixels=True) if header.photometric == "PALETTE COLOR" else None
    frames = iter_pixels(header.path)
    while True:
        try:
            pixels = next(frames, None)
        except Exception:  # cut short: pydicom stumbles
            return
        if pixels is None:
            return
        if lut is not None:
            pixels = (apply_color_lut(pixels, lut) >> 8).astype(np.uint8)
        yield _as_given(_eight_bits(pixels, header), header)


def _eight_bits(pixels: np.ndarray, header: Header) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    return np.clip(pixels.astype(np.int64) >> max(0, header.bits - 8), 0, 255).astype(np.uint8)


def _as_given(pixels: np.ndarray, header: Header) -> np.ndarray:
    """Three channels, and white where the file means white."""
    if header.photometric == "MONOCHROME1":
        pixels = 255 - pixels
    return np.ascontiguousarray(np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels)


def _name(syntax: str) -> str:
    from pydicom.uid import UID

    return UID(syntax).name
