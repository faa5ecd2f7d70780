"""Pictures as part of the page: JPEG in data URIs."""

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2

from depthscope.errors import DepthscopeError
from depthscope.pictures import Picture


@dataclass(frozen=True)
class Embedded:
    """A picture that the page carries.

    Attributes:
        uri: The file.
        alt: What it shows, in words.
        width, height: Its size in pixels, so that nothing moves while it loads.
    """

    uri: str
    alt: str
    width: int
    height: int


def jpeg(picture: Picture, quality: int = 82) -> bytes:
    """A picture as a JPEG file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    _, data = cv2.imencode(".jpg", picture.numpy()[..., ::-1], options)
    return data.tobytes()


def embedded(picture: Picture, alt: str, quality: int = 82) -> Embedded:
    """A picture as a JPEG in a data URI."""
    height, width = picture.shape[:2]
    return Embedded("data:image/jpeg;base64," + base64.b64encode(jpeg(picture, quality)).decode(), alt, width, height)


def picture_file(path: Path, alt: str, width: int, quality: int = 80) -> Embedded | None:
    """A stored picture, made narrower where it is wider than `width`; None where it cannot be read."""
    from depthscope.pictures import resized
    from depthscope.video import read_image

    try:
        picture = read_image(path)
    except DepthscopeError:
        return None
    height, found = picture.shape[:2]
    return embedded(resized(picture, round(height * width / found)) if found > width else picture, alt, quality)
