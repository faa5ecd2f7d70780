"""Small videos with known content: tissue-like texture under a moving window, in a disc, with what may go wrong."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch

SIZE = (320, 240)


def tissue(size_px: tuple[int, int] = (1200, 800), seed: int = 0) -> np.ndarray:
    """A red texture with detail at several scales, shape (height, width, 3)."""
    rng = np.random.default_rng(seed)
    shape = size_px[1], size_px[0]
    detail = sum(s * cv2.GaussianBlur(rng.normal(0, 1, shape), (0, 0), s) * 3 for s in (1.5, 3.0, 8.0, 20.0))
    detail = detail / detail.std()
    grey = np.clip(1 + 0.25 * detail, 0.3, 1.6)
    return np.clip(grey[..., None] * np.array([150.0, 80.0, 70.0]), 0, 235).astype(np.uint8)


def disc(
    size_px: tuple[int, int] = SIZE, centre: tuple[float, float] = (160.0, 120.0), radius: float = 110.0
) -> np.ndarray:
    """Pixels whose centres lie in a disc."""
    y, x = np.mgrid[: size_px[1], : size_px[0]] + 0.5
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


def window(texture: np.ndarray, x: float, y: float, inside: np.ndarray | None = None) -> np.ndarray:
    """The part of a texture at a place that need not be whole pixels, black outside of the content area."""
    shown = cv2.getRectSubPix(texture, SIZE, (x + SIZE[0] / 2, y + SIZE[1] / 2))
    if inside is not None:
        shown = np.where(inside[..., None], shown, 3).astype(np.uint8)
    return shown


def pan(count: int, step: float = 4.0, seed: int = 0, inside: np.ndarray | None = None) -> list[np.ndarray]:
    """Frames of a window that moves to the right by so many pixels a frame."""
    texture = tissue(seed=seed)
    return [window(texture, 20 + step * i, 30 + 0.3 * step * i, inside) for i in range(count)]


def tensors(frames: list[np.ndarray]) -> list[torch.Tensor]:
    """The same for `write_video`."""
    return [torch.from_numpy(frame) for frame in frames]


def encode(
    path: Path,
    frames: list[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
    gop: int = 12,
    interlaced: bool = False,
) -> Path:
    """A video file coded as one wants it; times are in units of 1/25 s."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = options or {}
        stream.codec_context.gop_size = gop
        stream.codec_context.time_base = Fraction(1, 25)
        if interlaced:
            stream.codec_context.flags |= 0x00040000 | 0x20000000  # interlaced DCT and motion estimation
        for number, pixels in enumerate(frames):
            layout = "gray" if pixels.ndim == 2 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(path: Path, quarter_turns: int) -> Path:
    """Writes into an MP4 that it is to be shown turned clockwise by so many quarters."""
    matrices = {1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}
    a, b, c, d = (value << 16 if value >= 0 else (1 << 32) - (1 << 16) for value in matrices[quarter_turns])
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version 0: header fields before the matrix
    for place, value in zip((0, 4, 12, 16), (a, b, c, d), strict=True):
        data[start + place : start + place + 4] = value.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def shown_by(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes a display matrix a b c d (of -1, 0, 1) into an MP4: (p, q) is shown at (a p + c q, b p + d q)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[start + place : start + place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


def edited(path: Path, first_tick: int, ticks: int) -> Path:
    """Writes an edit list into an MP4 of one track: it is shown from one of its ticks on, for so many."""
    data = bytearray(path.read_bytes())
    timescale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    whole = int.from_bytes(data[data.index(b"mvhd") + 16 :][:4], "big")
    start = data.index(b"elst")  # version and flags, count, duration, media time, rate
    data[start + 12 : start + 16] = round(ticks / timescale * whole).to_bytes(4, "big")
    data[start + 16 : start + 20] = first_tick.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def dicom_video(
    path: Path,
    pixels: bytes | list[bytes],
    syntax: str,
    count: int,
    size_px: tuple[int, int] = SIZE,
    **elements: object,
) -> Path:
    """An endoscopic video as DICOM: one coded stream, coded frames, or plain bytes (of an uncompressed syntax)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, VideoEndoscopicImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = VideoEndoscopicImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Modality, data.PatientName, data.FrameTime, data.NumberOfFrames = "ES", "T", "40", str(count)
    data.Columns, data.Rows, data.SamplesPerPixel, data.PlanarConfiguration = *size_px, 3, 0
    data.PhotometricInterpretation = "RGB"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    for name, value in elements.items():
        setattr(data, name, value)
    coded = not isinstance(pixels, bytes)
    data.PixelData = encapsulate(pixels) if coded else pixels
    data["PixelData"].VR = "OB"
    if coded:
        data["PixelData"].is_undefined_length = True
    data.save_as(path, enforce_file_format=True)
    return path
