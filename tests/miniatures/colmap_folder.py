"""A COLMAP model as text, with what real ones have: numbers with gaps, keypoints without points, empty lines."""

from pathlib import Path

import numpy as np

from miniatures.scene import CENTRE, FOCAL, SIZE, Scene, scene, write_images

POINT_STEP, IMAGE_STEP = 7, 3


def names_of(clip: Scene) -> list[str]:
    return [f"left cam/frame {n}.jpg" for n in range(5, 5 + len(clip.images))]  # 10 comes before 5 as a string


def write_colmap(
    folder: Path,
    clip: Scene | None = None,
    *,
    place: str = "sparse/0",
    camera: str | None = None,
    noise_px: float = 0.3,
    without_points: int = 1,
) -> Scene:
    """Writes the folder and returns the truth; measured pixels are off by `noise_px`.

    Args:
        folder: Where.
        clip: The scene.
        place: Folder of the model.
        camera: The line of the camera after its number; a PINHOLE if not given.
        noise_px: Standard deviation of the measured pixels.
        without_points: How many of the first images have an empty second line.
    """
    clip = clip or scene()
    seen = clip.seen.copy()
    seen[:without_points] = False
    seen = seen & (seen.sum(0) >= 2)
    clip = Scene(clip.images, clip.rotation, clip.translation, clip.points, seen, clip.pixels, clip.mask)
    random, model, names = np.random.default_rng(3), folder / place, names_of(clip)
    model.mkdir(parents=True)
    write_images(clip, folder / "images", names)
    camera = camera or f"PINHOLE {SIZE[0]} {SIZE[1]} {FOCAL[0]} {FOCAL[1]} {CENTRE[0]} {CENTRE[1]}"
    (model / "cameras.txt").write_text(f"# Camera list\n4 {camera}\n")

    lines, tracks = ["# Image list"], {i: [] for i in range(len(clip.points))}
    for f in reversed(range(len(names))):  # COLMAP keeps no order
        x, y, z, w = clip.quaternion_xyzw[f].tolist()
        lines.append(
            " ".join(map(repr, [10 + IMAGE_STEP * f, w, x, y, z, *clip.translation[f].tolist(), 4])) + f" {names[f]}"
        )
        keypoints = ["1.5 2.5 -1"] if seen[f].any() else []
        for i in np.flatnonzero(seen[f]):
            tracks[int(i)].append((10 + IMAGE_STEP * f, len(keypoints)))
            u, v = (clip.pixels[f, i] + random.normal(0, noise_px, 2)).tolist()
            keypoints.append(f"{u!r} {v!r} {5 + POINT_STEP * i}")
        lines.append(" ".join(keypoints))
    (model / "images.txt").write_text("\n".join(lines) + "\n")

    lines = ["# 3D point list"]
    for i in reversed(range(len(clip.points))):
        if tracks[i]:
            track = " ".join(f"{image} {keypoint}" for image, keypoint in tracks[i])
            x, y, z = clip.points[i].tolist()
            lines.append(f"{5 + POINT_STEP * i} {x!r} {y!r} {z!r} {i % 256} 20 30 {0.1 + 0.01 * i!r} {track}")
    (model / "points3D.txt").write_text("\n".join(lines) + "\n")
    return clip
