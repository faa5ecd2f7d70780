"""How players show the pixels of a stored frame: turned, mirrored, and stretched until pixels are square."""

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

Pixels = UInt8[np.ndarray, "height width 3"]
Laid = UInt8[np.ndarray, "rows columns 3"]

SQUARE_WITHIN = 0.005
"""Pixels whose sides differ by less than this share are taken as square: header rounding, not an anamorphic picture."""

LARGEST_ASPECT = 4.0
"""A pixel this many times wider than high, or more, is a mistake in the header."""


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture down: transposed first, then flipped.

    Attributes:
        transposed: Rows become columns.
        flipped_x: Left and right are exchanged after that.
        flipped_y: Top and bottom are exchanged after that.
    """

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether left-handed things become right-handed."""
        return self.transposed ^ self.flipped_x ^ self.flipped_y

    def size(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """(width, height) after it."""
        return (size_px[1], size_px[0]) if self.transposed else size_px

    def applied(self, pixels: Pixels) -> Laid:
        """The picture laid down this way."""
        shown = pixels.swapaxes(0, 1) if self.transposed else pixels
        shown = shown[:, ::-1] if self.flipped_x else shown
        return np.ascontiguousarray(shown[::-1] if self.flipped_y else shown)


def of_matrix(matrix: bytes) -> Orientation:
    """The orientation that a display matrix asks for.

    The matrix (ISO/IEC 14496-12, 8.3.2) maps (p, q) to (a p + c q, b p + d q) up to a shift; only quarter turns and
    mirror images are heeded, and what is neither counts as the nearest of these.

    Args:
        matrix: Nine 32-bit numbers a b u c d v x y w in the byte order of the machine, as FFmpeg keeps them.
    """
    if len(matrix) < 36:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:36])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def of_frame(frame: Any) -> Orientation:
    """The orientation of a decoded PyAV frame; its file or its stream may ask for one."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return Orientation() if matrix is None else of_matrix(bytes(matrix))


def squared(size_px: tuple[int, int], aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) of a picture with square pixels: the shorter side of its pixels grows, and nothing is lost.

    Args:
        size_px: (width, height) as stored.
        aspect: Width over height of a pixel; None if the file does not say.

    Example:
        >>> squared((720, 576), Fraction(64, 45)), squared((720, 480), Fraction(8, 9))
        ((1024, 576), (720, 540))
    """
    if aspect is None or aspect <= 0:
        return size_px
    if abs(aspect - 1) < SQUARE_WITHIN or not 1 / LARGEST_ASPECT < aspect < LARGEST_ASPECT:
        return size_px
    width, height = size_px
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def shown(pixels: Pixels, orientation: Orientation, aspect: Fraction | None) -> Laid:
    """A stored picture as players show it.

    Args:
        pixels: sRGB bytes as stored.
        orientation: How it is to be laid down.
        aspect: Width over height of a stored pixel; None if the file does not say.
    """
    height, width = pixels.shape[:2]
    size = squared((width, height), aspect)
    if size != (width, height):
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
    return orientation.applied(pixels)
