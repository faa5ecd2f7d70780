"""Tiny folders of datasets with dense depth: the scene of `scene`, seen through any camera, one unit being 10 mm."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depthscope.geometry import Camera
from miniatures.scene import BALL_CENTRE, CENTRE, FOCAL, RADIUS, SIZE, Scene, scene

MM = 10.0
PINHOLE = Camera(SIZE, FOCAL, CENTRE)


@dataclass(frozen=True)
class Truth:
    """What was written: world_from_camera as 4x4 in mm, and depth in mm."""

    world_from_camera: np.ndarray
    depth: list[np.ndarray]
    images: list[np.ndarray]


def truth_of(camera: Camera = PINHOLE, frames: int = 6) -> Truth:
    clip = scene(frames=frames)
    matrices = np.tile(np.eye(4), (frames, 1, 1))
    matrices[:, :3, :3] = clip.rotation.transpose(0, 2, 1)
    matrices[:, :3, 3] = -np.einsum("fji,fj->fi", clip.rotation, clip.translation) * MM
    rows, columns = np.mgrid[: camera.size_px[1], : camera.size_px[0]] + 0.5
    rays = camera.unproject(torch.from_numpy(np.stack([columns, rows], -1))).numpy()
    depth = [_z(rays, m[:3, :3], m[:3, 3] / MM) * MM for m in matrices]
    return Truth(matrices, depth, _resized(clip, camera.size_px))


def _resized(clip: Scene, size: tuple[int, int]) -> list[np.ndarray]:
    return [cv2.resize(image, size) for image in clip.images]


def _z(rays: np.ndarray, rotation: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Depth where the rays (z = 1, in camera axes) meet the ball from inside."""
    turned, out = rays @ rotation.T, centre - BALL_CENTRE
    a, b, c = (turned * turned).sum(-1), turned @ out, out @ out - RADIUS**2
    return (-b + np.sqrt(b * b - a * c)) / a


def _png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_c3vd(folder: Path, camera: Camera, intrinsics: str, *, second: bool = False, by_rows: bool = False) -> Truth:
    truth = truth_of(camera)
    for n, (image, depth) in enumerate(zip(truth.images, truth.depth, strict=True)):
        _png(folder / (f"rgb/{n:04d}.png" if second else f"{n:04d}_color.png"), image)
        levels = np.clip(depth / 100, 0, 1) * 65535
        _png(folder / ("depth" if second else ".") / f"{n:04d}_depth.tiff", levels.astype(np.uint16))
    (folder / "camera_intrinsics.txt").write_text(intrinsics)
    order = truth.world_from_camera if by_rows else truth.world_from_camera.transpose(0, 2, 1)
    (folder / "pose.txt").write_text("".join(",".join(map(repr, m.ravel().tolist())) + "\n" for m in order))
    return truth


def write_simcol3d(root: Path, *, square: bool = True) -> tuple[Path, Truth]:
    """`square`: the truth has square pixels, and cam.txt names the focal length twice, as the real one does."""
    camera = Camera(
        (120, 120), (100.0, 100.0) if square else (100.0, 118.0), (60.0, 60.0) if square else (100.5, 118.5)
    )
    truth, folder, flip = truth_of(camera), root / "Frames_S1", np.diag([1.0, -1.0, 1.0, 1.0])
    for n, (image, depth) in enumerate(zip(truth.images, truth.depth, strict=True)):
        _png(folder / f"FrameBuffer_{n:04d}.png", image)
        _png(folder / f"Depth_{n:04d}.png", np.round(depth / 200 * 65280).astype(np.uint16))
    from scipy.spatial.transform import Rotation

    turned = flip @ truth.world_from_camera @ flip
    np.savetxt(root / "SavedPosition_S1.txt", turned[:, :3, 3] / 10, fmt="%.17g")
    np.savetxt(root / "SavedRotationQuaternion_S1.txt", Rotation.from_matrix(turned[:, :3, :3]).as_quat(), fmt="%.17g")
    numbers = "100 0 100 0 59.5 59.5 0 0 1" if square else "100 0 100 0 118 118 0 0 1"
    (root / "cam.txt").write_text(numbers + "\n")
    return folder, truth


def _k() -> list[list[float]]:
    return [[FOCAL[0], 0, CENTRE[0] - 0.5], [0, FOCAL[1], CENTRE[1] - 0.5], [0, 0, 1]]


def _xyz(depth: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    x, y = (columns - CENTRE[0]) / FOCAL[0] * depth, (rows - CENTRE[1]) / FOCAL[1] * depth
    return np.stack([x, y, depth], -1).astype(np.float32)[..., ::-1]  # OpenCV writes the last channel first


def write_scared(folder: Path, *, clip: bool = True) -> Truth:
    truth = truth_of()
    folder.mkdir(parents=True, exist_ok=True)
    _png(folder / "Left_Image.png", truth.images[0])
    assert cv2.imwrite(str(folder / "left_depth_map.tiff"), _xyz(truth.depth[0]))
    storage = cv2.FileStorage(str(folder / "endoscope_calibration.yaml"), cv2.FILE_STORAGE_WRITE)
    storage.write("M1", np.array(_k()))
    storage.write("D1", np.zeros((1, 5)))
    storage.release()
    for n in range(len(truth.images)) if clip else ():
        _png(folder / f"image_02/data/{n + 1:010d}.png", truth.images[n])
        place = folder / "data/scene_points"
        place.mkdir(parents=True, exist_ok=True)
        xyz = _xyz(truth.depth[n])
        assert cv2.imwrite(str(place / f"scene_points{n:06d}.tiff"), np.concatenate([xyz, np.zeros_like(xyz)]))
        entry = {
            "camera-calibration": {"KL": _k(), "DL": [[0, 0, 0, 0, 0]]},
            "camera-pose": np.linalg.inv(truth.world_from_camera[n]).tolist(),
        }
        (folder / "data/frame_data").mkdir(exist_ok=True)
        (folder / f"data/frame_data/frame_data{n:06d}.json").write_text(json.dumps(entry))
    return truth


def write_hamlyn(folder: Path) -> Truth:
    truth = truth_of()
    for n, (image, depth) in enumerate(zip(truth.images, truth.depth, strict=True)):
        _png(folder / f"image01/{n:010d}.jpg", image)
        _png(folder / f"depth01/{n:010d}.png", np.round(depth).astype(np.uint16))
    (folder / "intrinsics.txt").write_text("".join(" ".join(map(repr, row)) + " 0\n" for row in _k()))
    return truth


def write_servct(folder: Path) -> Truth:
    truth = truth_of()
    for n, (image, depth) in enumerate(zip(truth.images, truth.depth, strict=True), 1):
        _png(folder / f"Left_rectified/{n:03d}.png", image)
        _png(folder / f"Ground_truth_CT/DepthL/{n:03d}.png", np.round(depth * 256).astype(np.uint16))
        (folder / "Rectified_calibration").mkdir(exist_ok=True)
        projection = {"P1": [[*row, 0] for row in _k()]}
        (folder / f"Rectified_calibration/{n:03d}.json").write_text(json.dumps(projection))
    return truth


def write_endoslam(folder: Path) -> Truth:
    from scipy.spatial.transform import Rotation

    truth = truth_of()
    lines = ["tX,tY,tZ,rX,rY,rZ,rW,time"]
    for n, (image, m) in enumerate(zip(truth.images, truth.world_from_camera, strict=True)):
        _png(folder / f"Frames/image_{n:04d}.png", image)
        numbers = [*(m[:3, 3] / 1000).tolist(), *Rotation.from_matrix(m[:3, :3]).as_quat().tolist(), n / 20]
        lines.append(",".join(map(repr, numbers)))
    (folder / "Poses").mkdir()
    (folder / "Poses/pose.csv").write_text("\n".join(lines) + "\n")
    return truth


def write_nerfstudio(folder: Path) -> Truth:
    """16-bit hundredths of a millimetre, as the file says; poses in metres, OpenGL axes."""
    truth, frames = truth_of(), []
    for n, (image, depth, m) in enumerate(zip(truth.images, truth.depth, truth.world_from_camera, strict=True)):
        _png(folder / f"images/{n:04d}.png", image)
        _png(folder / f"depth/{n:04d}.png", np.round(depth * 100).astype(np.uint16))
        pose = m @ np.diag([1.0, -1, -1, 1])
        pose[:3, 3] /= 1000
        frames.append(
            {
                "file_path": f"images/{n:04d}.png",
                "depth_file_path": f"depth/{n:04d}.png",
                "transform_matrix": pose.tolist(),
            }
        )
    (w, h), (fx, fy), (cx, cy) = SIZE, FOCAL, CENTRE
    head = {
        "depth_unit_scale_factor": 1e-5,
        "camera_model": "OPENCV",
        "fl_x": fx,
        "fl_y": fy,
        "cx": cx,
        "cy": cy,
        "w": w,
        "h": h,
    }
    (folder / "transforms.json").write_text(json.dumps({**head, "frames": frames}))
    return truth
