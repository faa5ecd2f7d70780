"""A phantom patient's clips as files: frames with their truth, the board clip, and sparse points that were truly seen.

Frame n is a function of the patient's seed, the clip's seed and n.
"""

from depthscope.simulation.clip_files.arrays import (
    packed_flow,
    packed_normals,
    read_grey_mask,
    unpacked_flow,
    write_array,
)
from depthscope.simulation.clip_files.board import BOARD, BOARD_FPS, board_frame, board_scene, board_views
from depthscope.simulation.clip_files.movies import TRUTH, write_frames, write_videos
from depthscope.simulation.clip_files.points import shown_at, tracked
from depthscope.simulation.clip_files.take import Take, flow_after, frame, gains, photographed, scene_of, view_of
from depthscope.simulation.exposure import Shutter, beside, between, during, row_by_row

__all__ = [
    "BOARD",
    "BOARD_FPS",
    "TRUTH",
    "Shutter",
    "Take",
    "beside",
    "between",
    "board_frame",
    "board_scene",
    "board_views",
    "during",
    "flow_after",
    "frame",
    "gains",
    "packed_flow",
    "packed_normals",
    "photographed",
    "read_grey_mask",
    "row_by_row",
    "scene_of",
    "shown_at",
    "tracked",
    "unpacked_flow",
    "view_of",
    "write_array",
    "write_frames",
    "write_videos",
]
