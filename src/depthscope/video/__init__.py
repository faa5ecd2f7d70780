"""Frames in and out: still images, folders of them, and videos."""

from depthscope.video.movies import VIDEO_ENDINGS, is_video, read_video, video_size, write_video
from depthscope.video.stills import (
    IMAGE_ENDINGS,
    Grey,
    Image,
    check_sizes,
    image_size,
    list_images,
    order_of_name,
    read_grey,
    read_image,
    write_image,
)
from depthscope.video.undistortion import undistorted, undistortion_maps

__all__ = [
    "Grey",
    "IMAGE_ENDINGS",
    "Image",
    "VIDEO_ENDINGS",
    "check_sizes",
    "image_size",
    "is_video",
    "list_images",
    "order_of_name",
    "read_grey",
    "read_image",
    "read_video",
    "undistorted",
    "undistortion_maps",
    "video_size",
    "write_image",
    "write_video",
]
