"""What of a TIFF is no picture: stacks of several, and numbers of 32 bits, told by its directories without decoding."""

from collections.abc import Iterator
from typing import Literal

SUBFILE_TAG, BITS_TAG = 0x00FE, 0x0102

NO_PAGE = 0b101
"""Kinds of a directory that are no page of their own: a smaller copy, and transparency."""

SIZES = {3: 2, 4: 4}
"""Bytes of the two types of whole numbers that these tags have."""

MOST_DIRECTORIES = 100


def tiff_defect(data: bytes) -> str:
    """Why a TIFF is not one picture, or "": also where its directories are not understood, which decoding will tell.

    Args:
        data: The whole file.
    """
    pages = 0
    for tags in _directories(data):
        if tags.get(BITS_TAG, 8) > 16:
            return f"holds numbers of {tags[BITS_TAG]} bits, as depth maps do, and is no picture"
        pages += not tags.get(SUBFILE_TAG, 0) & NO_PAGE
        if pages > 1:
            return "holds several pictures (TIFF), not one picture"
    return ""


def _directories(data: bytes) -> Iterator[dict[int, int]]:
    """The first number of each tag of whole numbers, directory by directory."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    large = b"+" in data[2:4]  # BigTIFF
    counted, wide, row_length = (8, 8, 20) if large else (2, 4, 12)
    place = int.from_bytes(data[8:16] if large else data[4:8], order)
    for _ in range(MOST_DIRECTORIES):
        if not 8 <= place <= len(data) - counted:
            return
        count = min(int.from_bytes(data[place : place + counted], order), len(data) // row_length)
        end = place + counted + count * row_length
        tags = {}
        for start in range(place + counted, end, row_length):
            row = data[start : start + row_length]
            size, value = SIZES.get(int.from_bytes(row[2:4], order), 0), row[4 + wide :]
            if size * int.from_bytes(row[4 : 4 + wide], order) > wide:  # the row says where its numbers are
                at = int.from_bytes(value, order)
                value = data[at : at + size]
            tags[int.from_bytes(row[:2], order)] = int.from_bytes(value[:size], order)
        yield tags
        place = int.from_bytes(data[end : end + wide], order)
