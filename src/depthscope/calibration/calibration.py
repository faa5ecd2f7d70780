"""From views of a board to a camera, or to why there is none."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from depthscope.calibration.boards import Board, Charuco, Sighting, points_mm
from depthscope.calibration.choice import Candidate, candidate_or_none, candidates, chosen
from depthscope.calibration.fit import BROWN_4, BROWN_8, FISHEYE, MODELS, Measured
from depthscope.calibration.misprint import turned_views
from depthscope.calibration.recording import Views
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.geometry import Camera

FEWEST_VIEWS = 4
LARGEST_FOCAL_SD = 0.05
"""A focal length known to less than this share is no answer."""

FEWEST_FOR_BOARD = 6
"""Views from which on the board's own error is looked for."""

WON_BY_BOARD = 0.9
"""A board with errors is taken if its held-out error is below this times the nominal one's."""

OTHER_FAMILY_WINS_BY = 0.7
"""A lens model of another family than the one asked for is named if its held-out error is below this times its."""

OUTLIER = 3.0
"""Views whose error is above this times the median are dropped."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera, and how well it is known.

    Attributes:
        chosen: The model taken.
        tried: All models that were tried.
        sightings: The views that it rests on.
        measured: Their corners.
        dropped: Names of views that were left out because they fit far worse than the others.
        refusal: Why the camera is not to be trusted; "" if it is.
        left_out: Names of lens models whose fit ran away.
        remarks: What does not fit, and what to do; in words.
    """

    chosen: Candidate
    tried: tuple[Candidate, ...]
    sightings: tuple[Sighting, ...]
    measured: Measured
    dropped: tuple[str, ...]
    refusal: str
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def camera(self) -> Camera:
        """The camera."""
        return self.chosen.fit.camera


def calibrated(
    views: Views, board: Board, family: str = "auto", told: Callable[[str], None] = lambda name: None
) -> Calibration:
    """The camera of a recording of a board.

    Args:
        views: What was seen.
        board: The board.
        family: ``auto``, ``pinhole``, ``brown`` or ``fisheye``.
        told: Hears the name of each model before it is fitted.

    Raises:
        NoAnswerError: Too few different views.
    """
    sightings = views.sightings
    if len(sightings) < FEWEST_VIEWS:
        poses = (
            "all in nearly the same pose" if len(sightings) == 1 < views.found else f"{len(sightings)} different ones"
        )
        raise NoAnswerError(
            f"{views.found} of {views.looked} pictures show the {board} board, {poses}",
            f"at least {FEWEST_VIEWS} different sharp views, better 10 to 25",
            "tilt the board by 30 to 45 degrees to all sides, and move it to all parts of the picture",
        )
    measured = gathered(sightings, board, views.size_px)
    found, best = _lens(measured, family, told)
    errors = best.fit.residuals.square().sum(-1)
    rms = torch.stack([errors[measured.view == v].mean().sqrt() for v in range(measured.views)])
    good = [v for v in range(measured.views) if rms[v] <= OUTLIER * rms.median()]
    dropped: tuple[str, ...] = ()
    if FEWEST_VIEWS <= len(good) < len(sightings):
        dropped = tuple(s.name for v, s in enumerate(sightings) if v not in good)
        sightings = tuple(sightings[v] for v in good)
        measured = gathered(sightings, board, views.size_px)
        found, best = _lens(measured, family, told)
    if len(sightings) >= FEWEST_FOR_BOARD and (isinstance(board, Charuco) or all(s.whole for s in sightings)):
        sightings = _counted_alike(sightings, board, measured, best)
        measured = gathered(sightings, board, views.size_px)
        told(f"{best.fit.model.name} and the board")  # bent boards hide in the lens: only held-out views tell them
        with_board = candidate_or_none(measured, best.fit.model, True)
        if with_board is not None and with_board.holdout_rms_px < WON_BY_BOARD * best.holdout_rms_px:
            freed, other = _lens(measured, family, lambda name: told(f"{name} and the board"), board_free=True)
            if other.holdout_rms_px < WON_BY_BOARD * best.holdout_rms_px:
                found, best = found + freed, other
    tried = {one.fit.model.name for one in found}
    asked = [m for m in MODELS if family in ("auto", m.family) and m != BROWN_8]
    left_out = tuple(m.name for m in asked if m.name not in tried)
    remarks = remarks_on_model(measured, family, best)
    return Calibration(best, tuple(found), sightings, measured, dropped, _refusal(best), left_out, remarks)


def remarks_on_model(measured: Measured, family: str, best: Candidate) -> tuple[str, ...]:
    """What to say of a lens model that was asked for where another one fits, and of one that is poor at the rim."""
    rim = f"corners at the rim lie {abs(best.rim_px):.2f} px {'outward' if best.rim_px > 0 else 'inward'} of it"
    other = None
    if family != "auto":
        other = candidate_or_none(measured, BROWN_4 if family == "fisheye" else FISHEYE)
    if other is not None and other.holdout_rms_px < OTHER_FAMILY_WINS_BY * best.holdout_rms_px:
        return (
            f"this lens is no {family} one: {best.holdout_rms_px:.2g} px on views not fitted, {rim}; "
            f"with --model {other.fit.model.family} it would be {other.holdout_rms_px:.2g} px: take that, or auto",
        )
    if best.rim_pattern:
        return (f"the lens is not followed at the rim: {rim}; depth and angles there are less sure",)
    return ()


def _lens(
    measured: Measured, family: str, told: Callable[[str], None], board_free: bool = False
) -> tuple[list[Candidate], Candidate]:
    found = candidates(measured, family, told, board_free)
    return found, chosen(found)


def _counted_alike(
    sightings: tuple[Sighting, ...], board: Board, measured: Measured, best: Candidate
) -> tuple[Sighting, ...]:
    """Chessboards all counted from the same corner, as far as their misprint tells it."""
    columns, rows = board.corners
    if isinstance(board, Charuco) or any(len(s) != columns * rows for s in sightings):
        return sightings
    turned = turned_views(measured, best.fit)
    return tuple(replace(s, pixels=s.pixels.flip(0)) if v in turned else s for v, s in enumerate(sightings))


def gathered(sightings: tuple[Sighting, ...], board: Board, size_px: tuple[int, int]) -> Measured:
    """The corners of all views in one list."""
    view = torch.cat([torch.full((len(s),), v) for v, s in enumerate(sightings)])
    points = torch.cat([points_mm(board, s) for s in sightings])
    return Measured(view, points, torch.cat([s.pixels for s in sightings]), size_px)


def from_field_of_view(size_px: tuple[int, int], degrees: float) -> Camera:
    """A pinhole whose image is this wide, for want of anything better; its source says that it is a guess.

    Raises:
        BadInputError: An angle that no pinhole has.
    """
    if not 1 < degrees < 170:
        raise BadInputError(f"a field of view of {degrees:g} degrees", "1 to 170", "give the horizontal one")
    width, height = size_px
    focal = width / 2 / math.tan(math.radians(degrees) / 2)
    return Camera(size_px, (focal, focal), (width / 2, height / 2), source=f"guess: {degrees:g} degrees wide")


def _refusal(best: Candidate) -> str:
    fit = best.fit
    share = float((fit.sd[:2] / fit.values[:2]).max())
    if share > LARGEST_FOCAL_SD:
        return (
            f"the focal length is known to {100 * share:.0f} % only, since the views do not differ in tilt: "
            "film the board tilted by 30 to 45 degrees to all sides"
        )
    if not math.isfinite(best.holdout_rms_px):
        return "the lens fitted to some views does not explain the others: film more views, over all of the picture"
    if best.holdout_rms_px > 0.01 * fit.size_px[0]:
        return f"the boards disagree by {best.holdout_rms_px:.1f} px: check that the board is flat and the zoom fixed"
    return ""
