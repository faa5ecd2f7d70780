"""Where the corners of a board really are: printers and bent paper move them, by the same amount in every view.

Lens and poses, and the places of the corners, are fitted in turn (Strobl and Hirzinger 2011 for the idea). A shift of
all corners that a tilt, a turn or another size of the board explains is left to the poses, so that lengths still come
from the nominal board.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from depthscope.calibration.fit import Fit, Measured, linear, refitted

ROUNDS = 6
EXPECTED = 0.02
"""Corners are expected within this share of a square; many views outvote it."""


@dataclass(frozen=True, eq=False)
class Misprint:
    """A board's error.

    Attributes:
        nominal: Where corners should be, in mm.
        shift: How far off they are.
    """

    nominal: Float[Tensor, "corners 3"]
    shift: Float[Tensor, "corners 3"]

    @property
    def rms_mm(self) -> float:
        """Root mean square distance from the nominal places."""
        return float(self.shift.square().sum(-1).mean().sqrt())

    def applied(self, measured: Measured) -> Measured:
        """The same views of the board as it is; corners that were never seen stay where they should be."""
        away, corner = torch.cdist(measured.points, self.nominal).min(-1)
        shift = torch.where(away[:, None] < 1e-6, self.shift[corner], torch.zeros_like(measured.points))
        return replace(measured, points=measured.points + shift)


def misprint(measured: Measured, fit: Fit) -> tuple[Misprint, Fit]:
    """The board's error and the lens that goes with it, from a fit to the nominal board."""
    nominal, corner = torch.unique(measured.points, dim=0, return_inverse=True)
    found = Misprint(nominal, torch.zeros_like(nominal))
    explained = _explained(nominal)
    expected = EXPECTED * float(torch.pdist(nominal).min())
    for _ in range(ROUNDS):
        placed = found.applied(measured)
        fit = refitted(placed, fit)
        residuals, _, pose_part = linear(placed, fit)
        by_point = pose_part[..., 3:] @ fit.motions.rotation[measured.view]
        prior = residuals.square().mean() / expected**2
        normal = _summed(corner, by_point.mT @ by_point, len(nominal)) + prior * torch.eye(3, dtype=nominal.dtype)
        pull = _summed(corner, (by_point.mT @ residuals[..., None])[..., 0], len(nominal)) - prior * found.shift
        shift = (found.shift + torch.linalg.solve(normal, pull)).reshape(-1)
        shift = shift - explained @ (explained.mT @ shift)
        found = Misprint(nominal, shift.reshape(-1, 3))
    return found, refitted(found.applied(measured), fit)


def on_board(measured: Measured, fit: Fit) -> Float[Tensor, "corners 2"]:
    """Residuals as shifts of the corners in the plane of the board, in mm."""
    _, _, pose_part = linear(measured, fit)
    by_point = (pose_part[..., 3:] @ fit.motions.rotation[measured.view])[..., :2]
    normal = by_point.mT @ by_point
    normal = normal + 1e-6 * torch.diag_embed(normal.diagonal(dim1=-2, dim2=-1))
    return torch.linalg.solve(normal, by_point.mT @ fit.residuals[..., None])[..., 0]


def turned_views(measured: Measured, fit: Fit) -> list[int]:
    """Views whose corners must be counted from the other end, for their residuals to agree with the others'.

    Most boards look the same after half a turn; their misprint does not. All views must show the whole board.
    """
    errors = on_board(measured, fit)
    total, turned = torch.zeros_like(errors[measured.view == 0]), []
    for view in range(measured.views):
        here = errors[measured.view == view]
        other = -here.flip(0)
        if float((other * total).sum()) > float((here * total).sum()):
            turned.append(view)
            here = other
        total = total + here
    return turned


def _explained(nominal: Float[Tensor, "corners 3"]) -> Float[Tensor, "numbers modes"]:
    """An orthonormal basis of the shifts that homographies of the board and tilts out of its plane make."""
    plane = nominal[:, :2] - nominal[:, :2].mean(0)
    x, y = (plane / plane.abs().max()).unbind(-1)
    one, none = torch.ones_like(x), torch.zeros_like(x)
    modes = [
        *((m, none, none) for m in (one, x, y)),
        *((none, m, none) for m in (one, x, y)),
        *((none, none, m) for m in (one, x, y)),
        (x * x, x * y, none),
        (x * y, y * y, none),
    ]
    return torch.linalg.qr(torch.stack([torch.stack(m, -1).reshape(-1) for m in modes], -1)).Q


def _summed(corner: Int[Tensor, " seen"], parts: Tensor, corners: int) -> Tensor:
    return parts.new_zeros(corners, *parts.shape[1:]).index_add(0, corner, parts)
