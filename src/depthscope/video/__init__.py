"""Frames in and out, and what is worth reconstructing among them.

`survey` looks at a video or folder once and plans clips; `write_clip` writes one of them for structure from motion.
"""

from depthscope.video.clip_images import write_clip
from depthscope.video.containers import VIDEO_ENDINGS, is_video
from depthscope.video.content_area import ContentArea, circle_of_frame, content_area, content_of_image, whole_frame
from depthscope.video.cut import WHOLE, Cut
from depthscope.video.frames import FolderFrames, FrameSource, MovieFrames, camera_as_shown, open_frames
from depthscope.video.movies import Frame, movie_frames, read_video, video_size, write_video
from depthscope.video.selection import SelectionOptions
from depthscope.video.stills import (
    IMAGE_ENDINGS,
    Grey,
    Image,
    check_sizes,
    image_size,
    is_image,
    list_images,
    order_of_name,
    orientation_remark,
    read_grey,
    read_image,
    write_image,
)
from depthscope.video.survey import ClipPlan, FrameRecord, Survey, SurveyOptions, area_notes, area_of, survey
from depthscope.video.undistortion import undistorted, undistortion_maps

__all__ = [
    "ClipPlan",
    "ContentArea",
    "Cut",
    "FolderFrames",
    "Frame",
    "FrameRecord",
    "FrameSource",
    "Grey",
    "IMAGE_ENDINGS",
    "Image",
    "MovieFrames",
    "SelectionOptions",
    "Survey",
    "SurveyOptions",
    "VIDEO_ENDINGS",
    "WHOLE",
    "area_notes",
    "area_of",
    "camera_as_shown",
    "check_sizes",
    "circle_of_frame",
    "content_area",
    "content_of_image",
    "image_size",
    "is_image",
    "is_video",
    "list_images",
    "movie_frames",
    "open_frames",
    "order_of_name",
    "orientation_remark",
    "read_grey",
    "read_image",
    "read_video",
    "survey",
    "undistorted",
    "undistortion_maps",
    "video_size",
    "whole_frame",
    "write_clip",
    "write_image",
    "write_video",
]
