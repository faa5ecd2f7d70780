"""Pictures as part of the page: JPEG in data URIs."""

import base64
from pathlib import Path

import cv2

from depthscope.errors import DepthscopeError
from depthscope.pictures import Picture
from depthscope.report.markup import Html, element


def jpeg(picture: Picture, quality: int = 82) -> bytes:
    """A picture as a JPEG file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    _, data = cv2.imencode(".jpg", picture.numpy()[..., ::-1], options)
    return data.tobytes()


def data_uri(picture: Picture, quality: int = 82) -> str:
    """A picture as a JPEG that the page carries."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(picture, quality)).decode()


def embedded(picture: Picture, alt: str, quality: int = 82, **attributes: str) -> Html:
    """An image element of a picture, with its size, so that nothing moves while it loads."""
    height, width = picture.shape[:2]
    return element("img", src=data_uri(picture, quality), alt=alt, width=width, height=height, **attributes)


def picture_file(path: Path, alt: str, width: int, quality: int = 80) -> Html | None:
    """A stored picture, made narrower where it is wider than `width`; None where it cannot be read."""
    from depthscope.pictures import resized
    from depthscope.video import read_image

    try:
        picture = read_image(path)
    except DepthscopeError:
        return None
    height, found = picture.shape[:2]
    return embedded(resized(picture, round(height * width / found)) if found > width else picture, alt, quality)
