"""Corners to a few hundredths of a pixel: a blurred crossing of two edges is fitted to the pixels around each.

The crossing looks the same from both sides of the corner, whatever the tone curve does to black and white. Light that
falls off to one side does not, and is what pulls other finders' corners towards the lamp: here its slope is fitted too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from depthscope.video import Grey

REACH = 0.5
"""Half of the window, in squares: beyond lie the next edges."""

LARGEST_HALF_PX = 14.0
"""Half of the window at most: more pixels cost time, and edges are only straight nearby."""

LARGEST_SAG_PX, LEAST_STRAIGHT_PX = 0.2, 6.0
"""Edges may bend by so much within half a window before it is made smaller, to this and no further."""

SMALLEST_HALF_PX = 2.5
"""Below this a window holds too few pixels for what is fitted."""

NEIGHBOURS = 16
"""Corners around one that tell how the board is bent there by the lens."""

POWERS = tuple((degree - b, b) for degree in range(4) for b in range(degree + 1))
"""Of column and row: the place on the board as a polynomial."""

STEPS = 15
LARGEST_MOVE = 0.2
"""A fit that leads farther away than this, in squares, has found something else."""

LEAST_EXPLAINED = 0.75
"""Share of the window's variance that a good fit explains."""

LEAST_SHOWN = 0.7
"""Share of the window that must lie in the picture."""

LEAST_CONTRAST = 4.0
"""Standard deviation of a window's grey levels below which it shows nothing."""


@dataclass(frozen=True, eq=False)
class RefinedCorners:
    """Corners after the fit.

    Attributes:
        pixels: Where they are; as they were, where the fit failed.
        good: Whether the fit succeeded.
        blur_px: Standard deviation of the edges' blur.
    """

    pixels: Float[Tensor, "corners 2"]
    good: Bool[Tensor, " corners"]
    blur_px: Float[Tensor, " corners"]


def refined(
    grey: Grey, grid: Int[Tensor, "corners 2"], pixels: Float[Tensor, "corners 2"], clear: float = 1.0
) -> RefinedCorners:
    """Corners where the fitted crossings lie.

    Args:
        grey: The picture.
        grid: Column and row of each corner on the board.
        pixels: Where they are, to within a fifth of a square.
        clear: How much of a square along its edges has nothing else printed on it, as a share of its side.

    Returns:
        The corners, in the same order.
    """
    result = RefinedCorners(pixels, torch.ones(len(pixels), dtype=torch.bool), torch.full((len(pixels),), 1.0).double())
    for _ in range(2):  # edges' directions come from the neighbours, which the first pass moves
        result = _pass(grey, grid, result.pixels, result.blur_px, clear)
    moved = (result.pixels - pixels).norm(dim=-1)
    good = result.good & (moved < LARGEST_MOVE * _sides(_slopes(grid, pixels)[0]).amin(-1).clamp_min(SMALLEST_HALF_PX))
    return RefinedCorners(torch.where(good[:, None], result.pixels, pixels), good, result.blur_px)


def _pass(grey: Grey, grid: Tensor, pixels: Tensor, blur: Tensor, clear: float) -> RefinedCorners:
    slope, bend = _slopes(grid, pixels)
    half = float((REACH * _sides(slope).amax()).clamp(SMALLEST_HALF_PX, LARGEST_HALF_PX))
    values, offsets = _windows(grey, pixels, int(half) + 1)
    to_board = torch.linalg.inv(slope)
    plane = offsets @ to_board.mT
    across = 1 / to_board.norm(dim=-1)  # pixels from one edge to the next, at right angles to them
    plane = plane - _bent(bend, plane) @ to_board.mT
    straight = (LARGEST_SAG_PX / bend.norm(dim=(-2, -1)).clamp_min(1e-9)).sqrt()
    straight = torch.maximum(straight[:, None], LEAST_STRAIGHT_PX / across)
    reach = torch.minimum((half / across).clamp(max=REACH), straight)[:, None]
    weight = (1 - (plane.abs() / reach).amax(-1).pow(4)).clamp_min(0)
    if clear < 1:
        weight = weight * (plane.abs().amin(-1) < 0.8 * clear)
    inside = (offsets + pixels[:, None] > 0).all(-1) & (
        offsets + pixels[:, None] < offsets.new_tensor([grey.shape[1], grey.shape[0]])
    ).all(-1)
    shown = (weight * inside).sum(-1) > LEAST_SHOWN * weight.sum(-1)
    weight = weight * inside * shown[:, None]
    return _crossings(values, plane * across[:, None], offsets / half, weight, slope / across[:, None], pixels, blur)


def _crossings(
    values: Tensor, edges: Tensor, places: Tensor, weight: Tensor, from_edges: Tensor, pixels: Tensor, blur: Tensor
) -> RefinedCorners:
    """Fits (1 + g . x) (a + b e(u) e(v) + c (1 - e(u)^2 e(v)^2)) by damped Gauss-Newton, u and v across the edges."""
    total = weight.sum(-1).clamp_min(1e-9)
    mean = (weight * values).sum(-1) / total
    spread = (weight * (values - mean[:, None]).square()).sum(-1) / total
    sign = torch.tanh(edges[..., 0]) * torch.tanh(edges[..., 1])
    tilt = (weight * sign * (values - mean[:, None])).sum(-1) / (weight * sign.square()).sum(-1).clamp_min(1e-9)
    zero = torch.zeros_like(mean)
    # Unknowns: place across the two edges, log blur, a, b, c, slope of the light.
    x = torch.stack([zero, zero, blur.clamp(0.4, 6).log(), mean, tilt, zero, zero, zero], -1)
    damping = torch.full_like(mean, 1e-2)
    error, jacobian = _model(x, edges, places, values)
    cost = (weight * error.square()).sum(-1)
    for _ in range(STEPS):
        weighted = jacobian * weight[..., None]
        normal, pull = weighted.mT @ jacobian, (weighted.mT @ error[..., None])[..., 0]
        diagonal = normal.diagonal(dim1=-2, dim2=-1)
        normal = normal + torch.diag_embed(damping[:, None] * diagonal + 1e-9 * diagonal.amax(-1, keepdim=True) + 1e-9)
        step = torch.linalg.solve(normal, pull)
        new = x + torch.cat([step[:, :2].clamp(-1, 1), step[:, 2:3].clamp(-0.3, 0.3), step[:, 3:]], -1)
        new[:, 2] = new[:, 2].clamp(-1.2, 2.0)
        tried = _model(new, edges, places, values)
        new_cost = (weight * tried[0].square()).sum(-1)
        better = new_cost < cost
        x = torch.where(better[:, None], new, x)
        error = torch.where(better[:, None], tried[0], error)
        jacobian = torch.where(better[:, None, None], tried[1], jacobian)
        gain = float(((cost - new_cost) / cost.clamp_min(1e-9)).abs().amax())
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 6, damping * 6).clamp(1e-9, 1e6)
        if gain < 1e-7:
            break
    moved = (from_edges @ x[:, :2, None])[..., 0]
    good = (cost < (1 - LEAST_EXPLAINED) * spread * total) & x.isfinite().all(-1) & (total > 12)
    good = good & (spread > LEAST_CONTRAST**2)
    usual = x[good, 2].exp().median() if bool(good.any()) else torch.ones((), dtype=x.dtype)
    return RefinedCorners(
        torch.where(good[:, None], pixels + moved, pixels), good, torch.where(good, x[:, 2].exp(), usual)
    )


def _model(x: Tensor, edges: Tensor, places: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Seen minus predicted, and how the prediction changes with the unknowns."""
    blur = x[:, None, 2:3].exp()
    away = (edges - x[:, None, :2]) / blur
    step = torch.erf(away / 2**0.5)
    rise = (2 / torch.pi) ** 0.5 * torch.exp(-away.square() / 2)  # of the step, by `away`
    cross = step.prod(-1)
    a, b, c = x[:, 3:6, None].unbind(1)
    light = 1 + (places * x[:, None, 6:]).sum(-1)
    shape = a + b * cross + c * (1 - cross.square())
    by_cross = light * (b - 2 * c * cross)
    by_u, by_v = by_cross * rise[..., 0] * step[..., 1], by_cross * rise[..., 1] * step[..., 0]
    by_blur = -(by_u * away[..., 0] + by_v * away[..., 1])
    columns = [-by_u / blur[..., 0], -by_v / blur[..., 0], by_blur, light, light * cross, light * (1 - cross.square())]
    return values - light * shape, torch.stack([*columns, shape * places[..., 0], shape * places[..., 1]], -1)


def _windows(grey: Grey, pixels: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Values around each corner, and how far their pixels' centres are from it."""
    height, width = grey.shape
    steps = torch.arange(-half, half + 1)
    down, along = torch.meshgrid(steps, steps, indexing="ij")
    columns = pixels[:, :1].floor().long() + along.reshape(1, -1)
    rows = pixels[:, 1:].floor().long() + down.reshape(1, -1)
    values = grey[rows.clamp(0, height - 1), columns.clamp(0, width - 1)].double()
    return values, torch.stack([columns, rows], -1) + 0.5 - pixels[:, None]


def _slopes(grid: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """How pixels change with the place on the board at each corner, (corners, 2, 2), and their bend."""
    places = grid.double()
    away = torch.cdist(places, places)
    near = away.topk(min(NEIGHBOURS, len(grid)), largest=False).indices
    x, y = (places[near] - places[:, None]).unbind(-1)
    powers = [x**a * y**b for a, b in POWERS]
    basis = torch.stack(powers, -1)
    # Few neighbours say little of bends; without cubic terms those at the border of a board take these for bends.
    prior = torch.diag(basis.new_tensor([1e-6 if a + b < 2 else 0.05 for a, b in POWERS]))
    seen = pixels[near] - pixels[:, None]
    found = torch.linalg.solve(basis.mT @ basis + prior, basis.mT @ seen).mT
    return found[..., 1:3], found[..., 3:6]


def _bent(bend: Tensor, plane: Tensor) -> Tensor:
    x, y = plane.unbind(-1)
    return torch.stack([x * x, x * y, y * y], -1) @ bend.mT


def _sides(slope: Tensor) -> Tensor:
    return slope.norm(dim=-2)
