"""A phantom patient's clips as files: frames with their truth, the board clip, and sparse points that were truly seen.

Frame n is a function of the patient's seed, the clip's seed and n. The automatic gain looks back a few frames, but at
what they show, not at how they came out, so that any frame can be made alone, by any worker.
"""

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.geometry.motion import rotate
from depthscope.sequence import Observations, Sequence
from depthscope.simulation.anatomy import Anatomy
from depthscope.simulation.clip import features, track_runs
from depthscope.simulation.presets import Scope, Tracks
from depthscope.simulation.render import (
    OFF_THE_WALL_MM,
    Rendered,
    Scene,
    Shading,
    View,
    cavity,
    flow_to,
    in_picture,
    render,
    wanted_gains,
)
from depthscope.simulation.sensor import Disc, picture
from depthscope.simulation.texture import Chessboard, Look, Mucosa, smoothed_over, tones
from depthscope.simulation.tube import SHORTEST_TRACK
from depthscope.video import read_image, write_video

BOARD = Chessboard()
"""The board of the calibration clips."""

BOARD_FPS = 5
"""Frames per second of the board clip."""

FLOW_STEP, FLOW_ZERO = 64.0, 32768.0
"""Flow files hold 64 steps to a pixel around 32768, as KITTI's do."""

TRUTH = ("depth", "normals", "flow", "masks/highlight", "masks/shadow")
"""Folders of truth beside ``images``."""


@dataclass(frozen=True, eq=False)
class Take:
    """One clip to be made.

    Attributes:
        scene: The patient.
        scope: The instrument.
        motions: ``camera_from_world`` of its frames and of the one after the last.
        patient: Seed of the patient.
        clip: Seed of the clip.
    """

    scene: Scene
    scope: Scope
    motions: RigidMotion
    patient: int
    clip: int

    @property
    def view(self) -> View:
        """The pixels within the round picture."""
        return view_of(self.scope.camera, self.scope.disc)

    def __len__(self) -> int:
        return len(self.motions.translation) - 1


@lru_cache(maxsize=4)
def view_of(camera: Camera, disc: Disc) -> View:
    """The pixels within a round picture; kept, since undistorting their rays takes longer than casting them."""
    return View(camera, disc.inside() > 0)


def scene_of(anatomy: Anatomy, look: Look) -> Scene:
    """The patient's surface with its tissue: the regions' tones, and how deep in a cavity each vertex lies."""
    table = tones(anatomy.surface, anatomy.regions, anatomy.region_names)
    bare = Scene(anatomy.surface, Mucosa(look, anatomy.seed), table)
    deep = smoothed_over(anatomy.surface, cavity(bare)[:, None], 6)
    table[:, 2:] = ((deep - 0.1) / 0.6).clamp(0, 1)
    return bare


def during(motions: RigidMotion, frame: int, shutter: float, count: int) -> tuple[RigidMotion, ...]:
    """Motions spread evenly over the exposure of a frame, which lies around its own moment."""
    if not shutter:
        return ()
    others = (max(frame - 1, 0), frame + 1)
    found = []
    for moment in ((i + 0.5) / count - 0.5 for i in range(count)):
        share = shutter * moment
        other = others[share > 0] if frame else 1
        found.append(between(motions[frame], motions[other], abs(share) if frame else share))
    return tuple(found)


def between(first: RigidMotion, second: RigidMotion, share: float) -> RigidMotion:
    """The motion at a share of the way from one to another close by, or a little beyond: camera centres on a line."""
    q, p = first.quaternion_wxyz, second.quaternion_wxyz
    p = torch.where((q * p).sum(-1, keepdim=True) < 0, -p, p)
    turned = RigidMotion.from_quaternion((1 - share) * q + share * p, torch.zeros_like(first.translation))
    centre = (1 - share) * first.origin + share * second.origin
    return RigidMotion(turned.rotation, -rotate(turned.rotation, centre))


def gains(take: Take, frames: range) -> list[float]:
    """The gain of each frame: what it and those before it ask for, the latest first."""
    automatic = take.scope.gain
    back = len(automatic.weights())
    first = max(frames.start - back + 1, 0)
    wanted = wanted_gains(take.scene, take.view, take.motions[first : frames.stop], take.scope.lighting, automatic)
    history = [wanted[: n - first + 1][::-1][:back] for n in frames]
    # Before the clip the scope stood where the clip begins.
    return [automatic.lagged(h + [h[-1]] * (back - len(h))) for h in history]


def frame(take: Take, number: int, gain: float) -> tuple[Rendered, Tensor]:
    """One frame: its light and truth, and its 8-bit picture, shape (height, width, 3)."""
    scope, shading = take.scope, take.scope.shading
    moments = during(take.motions, number, scope.shutter, shading.samples**2)
    rendered = render(take.scene, take.view, take.motions[number], scope.lighting, shading, moments)
    draw = np.random.default_rng((take.patient, take.clip, number, 71))
    return rendered, picture(
        rendered.light,
        rendered.depth,
        gain,
        scope.lighting.gamma,
        scope.sensor,
        scope.camera,
        scope.disc,
        draw,
        scope.seed,
    )


def write_frames(take: Take, frames: range, folder: Path) -> None:
    """Writes frames and their truth under ``images``, ``depth``, ``normals``, ``flow`` and ``masks``."""
    for name in ("images", *TRUTH):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, gain in zip(frames, gains(take, frames), strict=True):
        rendered, shown = frame(take, number, gain)
        name = f"{number:04d}"
        write_array(folder / "images" / f"{name}.png", shown.flip(-1).numpy())
        write_array(folder / "depth" / f"{name}.tiff", rendered.depth.float().numpy())
        write_array(folder / "normals" / f"{name}.png", packed_normals(rendered.normals))
        write_array(folder / "masks" / "highlight" / f"{name}.png", rendered.highlight.byte().numpy() * 255)
        write_array(folder / "masks" / "shadow" / f"{name}.png", rendered.shadow.byte().numpy() * 255)
        if number + 1 < len(take):
            here, there = take.motions[number], take.motions[number + 1]
            moved, seen = flow_to(take.scene, take.view, rendered.depth, here, there)
            write_array(folder / "flow" / f"{name}.png", packed_flow(moved, seen))


def write_array(path: Path, values: NDArray) -> None:
    """Writes an image; what the disk refuses is an OSError."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 2] if path.suffix == ".png" else []
    _, data = cv2.imencode(path.suffix, values, options)
    path.write_bytes(data.tobytes())


def packed_normals(normals: Float[Tensor, "height width 3"]) -> NDArray[np.uint16]:
    """Normals as 16-bit colours for OpenCV: (n + 1) / 2 of full scale as red, green, blue; black is unknown."""
    known = (normals != 0).any(-1, keepdim=True)
    steps = torch.where(known, ((normals + 1) / 2 * 65535).round().clamp(1, 65535), 0.0)
    return np.ascontiguousarray(steps.flip(-1).numpy().astype(np.uint16))


def packed_flow(flow: Float[Tensor, "height width 2"], seen: Bool[Tensor, "height width"]) -> NDArray[np.uint16]:
    """Flow as KITTI stores it, for OpenCV: red x, green y, blue 1 where the point is seen in the next frame."""
    steps = (flow * FLOW_STEP + FLOW_ZERO).round().clamp(0, 65535)
    channels = torch.cat([seen[..., None].to(steps), steps.flip(-1)], -1)
    return np.ascontiguousarray(channels.numpy().astype(np.uint16))


def unpacked_flow(path: Path) -> tuple[Float[Tensor, "height width 2"], Bool[Tensor, "height width"]]:
    """What `packed_flow` stored: flow in pixels, and where the point is seen in the next frame.

    Raises:
        BadInputError: It is no such file.
    """
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise BadInputError(f"{path} holds no flow", "a 16-bit colour PNG", "simulate the clip again")
    flow = (torch.from_numpy(values[..., :0:-1].astype(np.float32)) - FLOW_ZERO) / FLOW_STEP
    return flow, torch.from_numpy(values[..., 0] > 0)


def write_videos(take: Take, folder: Path, frames_per_second: float, board_frames: int) -> None:
    """Writes ``video.mp4`` from the frames that are there, and ``board.mp4`` with ``board.json``, its truth."""
    images = [folder / "images" / f"{n:04d}.png" for n in range(len(take))]
    write_video(folder / "video.mp4", (read_image(path) for path in images), frames_per_second)
    views = board_views(take.scope, board_frames, (take.patient, take.clip))
    shown = [board_frame(take.scope, views[i], (take.patient, take.clip, i)) for i in range(board_frames)]
    write_video(folder / "board.mp4", (picture for picture, _ in shown), BOARD_FPS)
    record = {
        "inner_corners": list(BOARD.corners),
        "square_mm": BOARD.square_mm,
        "camera_from_board": [
            torch.cat([v.rotation, v.translation[:, None]], 1).tolist() for v in (views[i] for i in range(board_frames))
        ],
        "gain": [gain for _, gain in shown],
    }
    (folder / "board.json").write_text(json.dumps(record, indent=1) + "\n")


def board_scene(board: Chessboard = BOARD) -> Scene:
    """The board as a surface that faces the camera, in its own axes (x right, y down, z away)."""
    (x0, y0), (x1, y1) = board.extent_mm
    points = torch.tensor([[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]], dtype=torch.float64)
    normals = points.new_tensor([0.0, 0.0, -1.0]).expand_as(points)
    surface = Surface(points, normals, None, torch.tensor([[0, 2, 1], [0, 3, 2]]), "mm")
    return Scene(surface, board, torch.zeros(4, 3))


def board_views(scope: Scope, count: int, seed: tuple[int, ...], board: Chessboard = BOARD) -> RigidMotion:
    """``camera_from_board`` of views that show all of the board: tilted up to 35 degrees, filling the round picture.

    Raises:
        BadInputError: The lens never shows all of the board.
    """
    draw = np.random.default_rng((*seed, 81))
    corners, room = board.corner_points, scope.disc.inside() > 3
    view = View(scope.camera, room)
    middle = corners.mean(0)
    found = []
    for _ in range(count):
        axis = np.append(draw.normal(0, 1, 2), 0)
        tilt = draw.uniform(0.05, 0.6)
        rotation = torch.from_numpy(
            cv2.Rodrigues(np.array([0, 0, draw.uniform(-0.5, 0.5)]))[0]
            @ cv2.Rodrigues(axis / np.linalg.norm(axis) * tilt)[0]
        )
        aside = torch.from_numpy(np.append(draw.uniform(-0.25, 0.25, 2), 0))
        beyond = float(draw.uniform(1.0, 1.35))
        for distance in np.geomspace(10, 400, 120):
            centre = float(distance) * (aside * min(1.0, 2 * (beyond - 1)) + aside.new_tensor([0, 0, 1]))
            motion = RigidMotion(rotation, centre - rotate(rotation, middle))
            if bool(in_picture(view, scope.camera.project(motion.apply(corners))).all()):
                break
        else:
            raise BadInputError("a lens that never shows all of the board", "a wider lens or a smaller board")
        found.append(RigidMotion(rotation, centre * beyond - rotate(rotation, middle)))
    return RigidMotion(torch.stack([m.rotation for m in found]), torch.stack([m.translation for m in found]))


def board_frame(
    scope: Scope, camera_from_board: RigidMotion, seed: tuple[int, ...], board: Chessboard = BOARD
) -> tuple[Tensor, float]:
    """A picture of the board, uint8 of shape (height, width, 3), and the gain that it was taken with."""
    scene, view = board_scene(board), view_of(scope.camera, scope.disc)
    automatic = replace(scope.gain, quantile=0.8, lag_frames=0.0)
    alone = RigidMotion(camera_from_board.rotation[None], camera_from_board.translation[None])
    gain = wanted_gains(scene, view, alone, scope.lighting, automatic)[0]
    shading = Shading(scope.shading.samples, shadows=False, film=0.0, translucency_mm=0.0)
    lighting = replace(scope.lighting, ambient=0.0)
    rendered = render(scene, view, camera_from_board, lighting, shading)
    draw = np.random.default_rng((*seed, 82))
    gamma = lighting.gamma
    return picture(
        rendered.light, rendered.depth, gain, gamma, scope.sensor, scope.camera, scope.disc, draw, scope.seed
    ), gain


def tracked(take: Take, folder: Path, tracks: Tracks, name: str) -> Sequence:
    """The frames of a folder as a sequence with true motions, and points followed over runs of frames that see them.

    Raises:
        BadInputError: Fewer than 3 frames, or too few points are seen often enough.
    """
    if len(take) < SHORTEST_TRACK:
        raise BadInputError(f"{len(take)} frames", f"at least {SHORTEST_TRACK} to follow a point over")
    scene, camera, view = take.scene, take.scope.camera, take.view
    draw = np.random.default_rng((take.patient, take.clip, 91))
    images = tuple(folder / "images" / f"{n:04d}.png" for n in range(len(take)))
    pictures = torch.stack([read_image(path) for path in images])
    content = torch.from_numpy(take.scope.disc.opening(take.scope.sensor))
    home, pixels = features(pictures, content, tracks.points, draw)
    motions = take.motions[: len(take)]

    world_from_home = motions[home].inverse()
    rays = camera.unproject(pixels)
    rays = torch.where(rays.isfinite(), rays, torch.zeros_like(rays) + rays.new_tensor([0.0, 0.0, 1.0]))
    hits = scene.cast(world_from_home.translation, rotate(world_from_home.rotation, rays))
    surface = world_from_home.apply(hits.distance[:, None] * rays)
    centres = motions.origin[home]
    # An outlier is at home on its home ray only, but measured consistently in all its frames, as mirror images are.
    wrong = torch.as_tensor(draw.random(len(home)) < tracks.outliers)
    shift = torch.as_tensor(draw.choice([-1, 1], len(home)) * draw.uniform(0.25, 0.6, len(home)))
    measured = centres + (surface - centres) * torch.exp(wrong * shift)[:, None]

    seen = torch.stack([_seen(take, view, folder, n, surface, measured) for n in range(len(take))])
    seen = track_runs(seen & (hits.face >= 0), home, draw, tracks.length)
    point, at = seen.T.nonzero(as_tuple=True)
    exact = camera.project(motions[at].apply(measured[point]))
    noise = torch.as_tensor(draw.standard_normal(exact.shape)) * tracks.pixel_noise_px
    factor = torch.exp(tracks.depth_noise * torch.as_tensor(draw.standard_normal(len(home))))
    placed = centres + (measured - centres) * factor[:, None]
    error = (camera.project(motions[at].apply(placed[point])) - exact - noise).norm(dim=-1)
    count = seen.sum(0)
    error = torch.zeros(len(home), dtype=torch.float64).index_add(0, point, error) / count.clamp_min(1)
    column, row = pixels.long().unbind(-1)
    sequence = Sequence(
        name=name,
        images=images,
        cameras=(camera,) * len(take),
        camera_from_world=motions,
        points=placed,
        observations=Observations(at, point, exact + noise),
        mask=content > 0.5,
        point_error_px=error,
        point_colours=pictures[home, row, column],
        unit="mm",
        notes=("simulated: the motions are exact",),
    )
    return sequence.with_points(count >= SHORTEST_TRACK)


def _seen(
    take: Take, view: View, folder: Path, number: int, surface: Tensor, measured: Tensor
) -> Bool[Tensor, " points"]:
    """Which points a frame truly sees, away from the rim and from glints, which hide what is behind them."""
    motion = take.motions[number]
    glints = read_grey_mask(folder / "masks" / "highlight" / f"{number:04d}.png")
    clear = View(view.camera, (take.scope.disc.inside() > 4) & ~torch.from_numpy(glints))
    pixels = view.camera.project(motion.apply(measured))
    back = functional.normalize(motion.origin - surface, dim=-1)
    hidden = take.scene.blocked(surface + OFF_THE_WALL_MM * back, motion.origin.expand_as(surface))
    return in_picture(clear, pixels) & ~hidden


def read_grey_mask(path: Path) -> NDArray[np.bool_]:
    """A mask grown by two pixels.

    Raises:
        BadInputError: It cannot be read.
    """
    values = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if values is None:
        raise BadInputError(f"{path} cannot be read", "a mask", "simulate the clip again")
    return cv2.dilate(values, np.ones((5, 5), np.uint8)) > 0
