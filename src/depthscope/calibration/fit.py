"""A lens and the board's poses by least squares on all corners at once, with standard deviations.

Gauss-Newton with damping; the poses are eliminated view by view (Schur complement), and what remains is the normal
matrix of the lens, whose inverse gives its standard deviations. One method for every lens (Zhang 2000 for the idea).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.calibration import opencv
from depthscope.errors import NoAnswerError
from depthscope.geometry import Brown, Camera, KannalaBrandt, NoDistortion, RigidMotion
from depthscope.geometry.camera import Distortion, is_camera
from depthscope.geometry.distortion import on_plane
from depthscope.geometry.motion import rotate
from depthscope.geometry.rotation import rotation_from_vector

START_FOCALS = (0.3, 0.45, 0.65, 0.95, 1.4, 2.2)
"""Focal lengths to start from, in widths of the image."""

AHEAD, FEWEST_AHEAD = 2.5, 12
"""Poses start from rays within so much of the axis (68 degrees on the plane z = 1), where there are so many."""


@dataclass(frozen=True)
class LensModel:
    """A lens with some of its coefficients free.

    Attributes:
        name: For people.
        family: ``camera.yaml``'s name of the model.
        free: How many coefficients are free, the first ones of k1 k2 p1 p2 k3 k4 k5 k6 or of the fisheye's k1 to k4.
    """

    name: str
    family: str
    free: int

    def lens(self, coefficients: tuple[float, ...]) -> Distortion:
        """The lens with these coefficients, the rest 0."""
        if self.family == "fisheye":
            return KannalaBrandt((*coefficients, *(0.0,) * (4 - len(coefficients))))
        if self.family == "pinhole":
            return NoDistortion()
        return Brown(coefficients if self.free > 4 else (*coefficients, *(0.0,) * (4 - len(coefficients))))

    @property
    def is_linear(self) -> bool:
        """Whether the sensor position is linear in the coefficients."""
        return self.free < 8


PINHOLE = LensModel("pinhole", "pinhole", 0)
BROWN_2 = LensModel("Brown k1 k2", "brown", 2)
BROWN_4 = LensModel("Brown k1 k2 p1 p2", "brown", 4)
BROWN_5 = LensModel("Brown k1 k2 p1 p2 k3", "brown", 5)
FISHEYE_2 = LensModel("Kannala-Brandt k1 k2", "fisheye", 2)
FISHEYE = LensModel("Kannala-Brandt k1 k2 k3 k4", "fisheye", 4)
BROWN_8 = LensModel("Brown k1 k2 p1 p2 k3 k4 k5 k6", "brown", 8)
MODELS = (PINHOLE, BROWN_2, FISHEYE_2, BROWN_4, FISHEYE, BROWN_5, BROWN_8)
"""From the simplest on; the last is only tried where the one before it is the best."""

COEFFICIENT_STEP = 1e-5
"""For the derivative by coefficients that a lens is not linear in."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Corners of all views in one list.

    Attributes:
        view: The view of each.
        points: On the board, in mm.
        pixels: In the image.
        size_px: (width, height) of the image.
    """

    view: Int[Tensor, " corners"]
    points: Float[Tensor, "corners 3"]
    pixels: Float[Tensor, "corners 2"]
    size_px: tuple[int, int]

    @property
    def views(self) -> int:
        """How many views there are."""
        return int(self.view.max()) + 1

    def only(self, views: list[int]) -> "Measured":
        """Some of the views, numbered anew."""
        number = torch.full((self.views,), -1)
        number[torch.tensor(views)] = torch.arange(len(views))
        kept = number[self.view] >= 0
        return Measured(number[self.view][kept], self.points[kept], self.pixels[kept], self.size_px)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted lens.

    Attributes:
        model: Which coefficients were free.
        values: fx, fy, cx, cy and the free coefficients.
        sd: Standard deviations of `values`, for independent errors of the corners.
        motions: ``camera_from_board`` of each view.
        residuals: Seen minus predicted, in pixels.
        size_px: (width, height) of the image.
    """

    model: LensModel
    values: Float[Tensor, " numbers"]
    sd: Float[Tensor, " numbers"]
    motions: RigidMotion
    residuals: Float[Tensor, "corners 2"]
    size_px: tuple[int, int]

    @property
    def camera(self) -> Camera:
        """The camera."""
        fx, fy, cx, cy, *free = self.values.tolist()
        return Camera(self.size_px, (fx, fy), (cx, cy), self.model.lens(tuple(free)), source="board clip")

    @property
    def rms_px(self) -> float:
        """Root mean square distance of the corners from their predictions."""
        return float(self.residuals.square().sum(-1).mean().sqrt())


def fitted(measured: Measured, model: LensModel, start: Fit | None = None) -> Fit:
    """The lens and poses with the smallest squared distance to the corners.

    Args:
        measured: The corners.
        model: The lens.
        start: A fit to start from, of the same model; otherwise several focal lengths are tried.

    Raises:
        NoAnswerError: No start leads to poses in front of the camera, or to a lens at all.
    """
    if start is not None and start.model == model:
        motions = _posed(measured, start)
        if motions is not None:
            return _descended(measured, model, start.values, motions, 40)
    if not model.is_linear:
        plain = fitted(measured, BROWN_5)
        return _descended(measured, model, _as_rational(plain.values), plain.motions, 150)
    width, height = measured.size_px
    best: Fit | None = None
    for share in START_FOCALS:
        values = torch.tensor([share * width, share * width, width / 2, height / 2], dtype=torch.float64)
        values = torch.cat([values, values.new_zeros(model.free)])
        motions = _posed(measured, _bare(model, values, measured))
        if motions is None:
            continue
        tried = _descended(measured, model, values, motions, 6)
        if best is None or tried.rms_px < best.rms_px:
            best = tried
    if best is None:
        raise NoAnswerError(f"no {model.name} lens explains the boards", "corners of one camera", "check the board")
    return _descended(measured, model, best.values, best.motions, 80)


def _as_rational(values: Float[Tensor, "9"]) -> Float[Tensor, "12"]:
    """Nearly the same lens with a numerator and a denominator, above and below times 1 + r^2 / 2: away from poles."""
    k1, k2, p1, p2, k3 = values[4:].tolist()
    more = 0.5
    above = [k1 + more, k2 + more * k1, p1, p2, k3 + more * k2]
    return torch.cat([values[:4], values.new_tensor([*above, more, 0.0, 0.0])])


def residuals_of(measured: Measured, fit: Fit) -> Float[Tensor, "corners 2"] | None:
    """Residuals of views that the lens was not fitted to, after their poses alone were fitted; None if that fails."""
    motions = _posed(measured, fit)
    if motions is None:
        return None
    return _descended(measured, fit.model, fit.values, motions, 20, lens_fixed=True).residuals


def refitted(measured: Measured, fit: Fit) -> Fit:
    """The fit moved on by a few steps to corners that changed a little."""
    return _descended(measured, fit.model, fit.values, fit.motions, 5)


def linear(
    measured: Measured, fit: Fit
) -> tuple[Float[Tensor, "corners 2"], Float[Tensor, "corners 2 numbers"], Float[Tensor, "corners 2 6"]]:
    """Residuals, and how predictions change with the lens and with a small turn and shift of each view."""
    return _linear(measured, fit.model, fit.values, fit.motions)


def is_lens(values: Float[Tensor, " numbers"], size_px: tuple[int, int]) -> bool:
    """Whether fx, fy, cx, cy and coefficients that a fit came to can be those of a lens."""
    fx, fy, cx, cy, *free = values.tolist()
    return is_camera(size_px, (fx, fy), (cx, cy)) and all(math.isfinite(number) for number in free)


def _bare(model: LensModel, values: Tensor, measured: Measured) -> Fit:
    motions = RigidMotion.identity(measured.views)
    return Fit(model, values, torch.zeros_like(values), motions, torch.zeros_like(measured.pixels), measured.size_px)


def _posed(measured: Measured, fit: Fit) -> RigidMotion | None:
    """The poses of all views for a given lens, or None where a view has none."""
    rays = fit.camera.directions(measured.pixels)
    plane, sent = on_plane(rays), rays.isfinite().all(-1)
    flat = measured.points * measured.points.new_tensor([1.0, 1.0, 0.0])  # bent boards start as flat ones
    turns, shifts = [], []
    for view in range(measured.views):
        own = measured.view == view
        if int((own & sent).sum()) < max(6, 0.7 * int(own.sum())):
            return None
        here = own & plane.isfinite().all(-1)
        if int(here.sum()) < 6:
            return None
        ahead = here & (plane.norm(dim=-1) < AHEAD)  # farther out a hair of focal length moves rays by a lot
        here = ahead if int(ahead.sum()) >= FEWEST_AHEAD else here
        found = opencv.board_motion(flat[here], plane[here])
        if found is None:
            return None
        turns.append(found[0])
        shifts.append(found[1])
    return RigidMotion(torch.stack(turns), torch.stack(shifts))


def _descended(
    measured: Measured, model: LensModel, values: Tensor, motions: RigidMotion, steps: int, lens_fixed: bool = False
) -> Fit:
    damping = 1e-4
    residuals, lens_part, pose_part = _linear(measured, model, values, motions)
    cost = float(residuals.square().sum())
    views, count = measured.views, len(values)
    normal = values.new_zeros(count, count)
    for _ in range(steps):
        pose = _summed(measured.view, pose_part.mT @ pose_part, views)
        pull = _summed(measured.view, (pose_part.mT @ residuals[..., None])[..., 0], views)
        cross = _summed(measured.view, lens_part.mT @ pose_part, views)
        lens = (lens_part.mT @ lens_part).sum(0)
        lens_pull = (lens_part.mT @ residuals[..., None]).sum(0)[:, 0]
        improved = False
        new_values, new_motions, tried, new_cost = values, motions, (residuals, lens_part, pose_part), cost
        for _ in range(8):
            damped = pose + damping * torch.diag_embed(pose.diagonal(dim1=-2, dim2=-1) + 1e-12)
            solved = torch.linalg.solve(damped, torch.cat([cross.mT, pull[..., None]], -1))
            if lens_fixed:
                change = torch.zeros_like(values)
            else:
                reduced = lens + damping * torch.diag(lens.diagonal() + 1e-12) - (cross @ solved[..., :-1]).sum(0)
                wanted = lens_pull - (cross @ solved[..., -1:]).sum(0)[:, 0]
                scale = lens.diagonal().clamp_min(1e-12).rsqrt()
                change = scale * torch.linalg.lstsq(scale[:, None] * reduced * scale, scale * wanted).solution
            moves = solved[..., -1] - (solved[..., :-1] @ change)
            new_values, new_motions = values + change, _moved(motions, moves)
            tried = _linear(measured, model, new_values, new_motions)
            new_cost = float(tried[0].square().sum())
            if new_cost < cost and is_lens(new_values, measured.size_px):  # else it would run away, and be no camera
                improved, damping = True, damping / 5
                break
            damping = min(damping * 8, 1e6)
        if not improved:
            break
        gain = (cost - new_cost) / max(cost, 1e-30)
        values, motions, cost = new_values, new_motions, new_cost
        residuals, lens_part, pose_part = tried
        if gain < 1e-10 or cost < 1e-22 * len(residuals):
            break
    pose = _summed(measured.view, pose_part.mT @ pose_part, views)
    cross = _summed(measured.view, lens_part.mT @ pose_part, views)
    normal = (lens_part.mT @ lens_part).sum(0) - (cross @ torch.linalg.solve(pose, cross.mT)).sum(0)
    scale = normal.diagonal().clamp_min(1e-30).rsqrt()
    inverse = scale[:, None] * torch.linalg.pinv(scale[:, None] * normal * scale, hermitian=True, rtol=1e-14) * scale
    freedom = max(2 * len(residuals) - count - 6 * views, 1)
    sd = (inverse.diagonal().clamp_min(0) * cost / freedom).sqrt()
    return Fit(model, values, sd, motions, residuals, measured.size_px)


def _linear(
    measured: Measured, model: LensModel, values: Tensor, motions: RigidMotion
) -> tuple[Float[Tensor, "corners 2"], Float[Tensor, "corners 2 numbers"], Float[Tensor, "corners 2 6"]]:
    focal, centre = values[:2], values[2:4]
    free = values[4:]
    lens = model.lens(tuple(free.tolist()))
    turn = motions.rotation[measured.view]
    turned = rotate(turn, measured.points)
    points = turned + motions.translation[measured.view]
    seen = _on_sensor(lens, points)
    h = 1e-6 * points.norm(dim=-1, keepdim=True)
    axes = torch.eye(3, dtype=points.dtype)
    slope = torch.stack(
        [(_on_sensor(lens, points + h * a) - _on_sensor(lens, points - h * a)) / (2 * h) for a in axes], -1
    )
    by_point = focal[:, None] * slope
    x, y, z = turned.unbind(-1)
    zero = torch.zeros_like(x)
    spin = torch.stack([zero, z, -y, -z, zero, x, y, -x, zero], -1).reshape(-1, 3, 3)  # w x p as a matrix on w
    pose_part = torch.cat([by_point @ spin, by_point], -1)
    columns = [torch.diag_embed(seen), torch.eye(2, dtype=points.dtype).expand(len(points), 2, 2)]
    base, step = (torch.zeros_like(free), 1.0) if model.is_linear else (free, COEFFICIENT_STEP)
    for i in range(model.free):
        ahead = base.clone()
        ahead[i] += step
        behind = base if model.is_linear else 2 * base - ahead
        low, high = (_on_sensor(model.lens(tuple(values.tolist())), points) for values in (behind, ahead))
        columns.append(((high - low) * focal / float(ahead[i] - behind[i]))[..., None])
    return measured.pixels - seen * focal - centre, torch.cat(columns, -1), pose_part


def _on_sensor(lens: Distortion, points: Float[Tensor, "corners 3"]) -> Float[Tensor, "corners 2"]:
    """Where points fall on the sensor, also where the lens folds or cannot see them: a fit may pass through both."""
    if isinstance(lens, KannalaBrandt):
        across = points[:, :2].norm(dim=-1, keepdim=True).clamp_min(1e-12)
        return points[:, :2] * (lens.radius(torch.atan2(across, points[:, 2:])) / across)
    return lens.distort(points[:, :2] / points[:, 2:].clamp_min(1e-3))


def _moved(motions: RigidMotion, moves: Tensor) -> RigidMotion:
    turn = rotation_from_vector(moves[:, :3])
    return RigidMotion(turn @ motions.rotation, motions.translation + moves[:, 3:])


def _summed(view: Tensor, parts: Tensor, views: int) -> Tensor:
    return parts.new_zeros(views, *parts.shape[1:]).index_add(0, view, parts)
