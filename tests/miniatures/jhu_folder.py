"""The folder of the Johns Hopkins projects, both layouts, written as their files look."""

from pathlib import Path

import cv2
import numpy as np

from miniatures.scene import CENTRE, FOCAL, Scene, scene, write_images

FIRST = 95  # frames 95 to 102: as strings, 100 would come before 95


def write_jhu(
    folder: Path,
    clip: Scene | None = None,
    *,
    direction: str = "world_from_camera",
    sister: bool = False,
    views: int = 1,
    camera_element: bool = True,
    colours: bool = False,
    unregistered: int = 0,
) -> Scene:
    """Writes the folder and returns the truth.

    Args:
        folder: Where.
        clip: The scene; the last `unregistered` frames are not registered.
        direction: How the poses are stored.
        sister: The layout with ``images/`` and ``colmap/0/``.
        views: How often the intrinsics are repeated.
        camera_element: The PLY ends with PCL's camera.
        colours: The PLY carries r g b, as from the COLMAP converter.
        unregistered: How many frames SfM did not place.
    """
    clip = clip or scene()
    model, images = (folder / "colmap" / "0", folder / "images") if sister else (folder, folder)
    model.mkdir(parents=True, exist_ok=True)
    frames = list(range(FIRST, FIRST + len(clip.images)))
    write_images(clip, images, [f"{n:08d}.jpg" for n in frames])
    registered = frames[: len(frames) - unregistered]
    (model / "selected_indexes").write_text("".join(f"{n}\n" for n in frames))
    (model / "visible_view_indexes").write_text("".join(f"{n}\n" for n in registered))
    numbers = [*FOCAL, CENTRE[0] - 0.5, CENTRE[1] - 0.5] * views
    (model / "camera_intrinsics_per_view").write_text("".join(f"{v}\n" for v in numbers))

    position, quaternion = clip.translation, clip.quaternion_xyzw
    if direction == "world_from_camera":
        position = -np.einsum("fji,fj->fi", clip.rotation, clip.translation)
        quaternion = quaternion * [-1, -1, -1, 1]
    lines = ["header: ", "  seq: 0", "  stamp: 0.000000000", "  frame_id: ", "poses[]:"]
    for i in range(len(registered)):
        lines += [f"  poses[{i}]: ", "    position: "]
        lines += [f"      {k}: {v!r}" for k, v in zip("xyz", position[i].tolist(), strict=True)]
        lines += ["    orientation: "]
        lines += [f"      {k}: {v!r}" for k, v in zip("xyzw", quaternion[i].tolist(), strict=True)]
    (model / "motion.yaml").write_text("\n".join(lines) + "\n")

    header = ["ply", "format ascii 1.0", "comment PCL generated", f"element vertex {len(clip.points)}"]
    header += [f"property float {k}" for k in "xyz"] + [f"property uchar {k}" for k in "rgb" if colours]
    header += ["element camera 1", *(f"property float c{i}" for i in range(21))] if camera_element else []
    tint = " 10 20 30" if colours else ""
    rows = [f"{x!r} {y!r} {z!r}{tint}" for x, y, z in clip.points.tolist()] + [" ".join("0" * 21)] * camera_element
    (model / "structure.ply").write_text("\n".join([*header, "end_header", *rows]) + "\n")

    blocks = [[-1, *(frames[f] for f in np.flatnonzero(clip.seen[:, i]))] for i in range(len(clip.points))]
    (model / "view_indexes_per_point").write_text("".join(f"{n}\n" for block in blocks for n in block))
    grey = np.where(clip.mask, 255, 0).astype(np.uint8)
    grey[:3] = np.where(grey[:3] == 255, 253, 0)  # the rim of a resampled mask, which is not tissue
    cv2.imwrite(str(model / "undistorted_mask.bmp"), grey)
    return clip
