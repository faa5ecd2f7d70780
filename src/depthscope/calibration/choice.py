"""Which lens model a recording supports, by views that the fit has not seen."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from depthscope.calibration.fit import BROWN_5, BROWN_8, MODELS, Fit, LensModel, Measured, fitted, residuals_of
from depthscope.calibration.misprint import Misprint, misprint
from depthscope.errors import BadInputError, NoAnswerError
from depthscope.geometry import Camera
from depthscope.geometry.depth import pixel_grid

FOLDS = 5
WITHIN = 1.03
"""A smaller model is taken if its held-out error is at most this times the best one's."""

RICHEST_WINS_BY = 0.98
"""k3, and k4 to k6, are only considered below this times the best held-out error of all others."""

RICH = (BROWN_5, BROWN_8)

SPARED_SHARE = 0.005
"""Share of the frame's pixels that a model may leave without a ray more than another one that is as good."""

RINGS = 6


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model's fit to all views, and how it predicts views it was not fitted to.

    Attributes:
        fit: To all views.
        holdout_rms_px: Over held-out views, whose poses alone were fitted; infinite where that failed.
        rim_px: Mean radial residual of the outermost ring with enough corners, outward positive.
        rim_pattern: Whether that is more than chance and more than a third of the error.
        monotonic: Whether the distortion rises over all radii at which corners were seen.
        covered: Share of the frame's pixels that have a ray.
        fold_values: The lens of each fold.
        misprint: The board's error, where it was fitted too; in the folds, from the views fitted only.
    """

    fit: Fit
    holdout_rms_px: float
    rim_px: float
    rim_pattern: bool
    monotonic: bool
    covered: float
    fold_values: Tensor
    misprint: Misprint | None = None


def candidate(measured: Measured, model: LensModel, board_free: bool = False) -> Candidate:
    """A model fitted to all views, and in folds; with the board's error too, if that is free."""
    plain = whole = fitted(measured, model)
    wrong = None
    if board_free:
        wrong, whole = misprint(measured, plain)
    folds = min(FOLDS, measured.views)
    errors, values = [], []
    for fold in range(folds):
        train = [v for v in range(measured.views) if v % folds != fold]
        held = [v for v in range(measured.views) if v % folds == fold]
        part, unseen = fitted(measured.only(train), model, plain), measured.only(held)
        if board_free:
            learned, part = misprint(measured.only(train), part)
            unseen = learned.applied(unseen)
        values.append(part.values)
        error = residuals_of(unseen, part)
        errors.append(measured.pixels.new_full((1, 2), torch.inf) if error is None else error)
    rms = float(torch.cat(errors).square().sum(-1).mean().sqrt())
    rim, pattern = rim_residual(measured, whole)
    rising, covered = monotonic(whole.camera, measured.pixels), share_with_rays(whole.camera)
    return Candidate(whole, rms, rim, pattern, rising, covered, torch.stack(values), wrong)


def candidates(
    measured: Measured,
    family: str = "auto",
    told: Callable[[str], None] = lambda name: None,
    board_free: bool = False,
) -> list[Candidate]:
    """All models of a family ("auto" is every one) that can be fitted; one whose fit runs away is left out.

    Raises:
        NoAnswerError: None can.
    """
    found = []
    for model in MODELS:
        if family in ("auto", model.family) and (model != BROWN_8 or _rich_wins(found)):
            told(model.name)
            fitted_one = candidate_or_none(measured, model, board_free)
            found += [] if fitted_one is None else [fitted_one]
    if not found:
        raise NoAnswerError("no lens explains the boards", "corners of one camera", "check --board and the pictures")
    return found


def candidate_or_none(measured: Measured, model: LensModel, board_free: bool = False) -> Candidate | None:
    """A model fitted to all views and in folds, or None where a fit ran away: its figures would be nobody's."""
    try:
        return candidate(measured, model, board_free)
    except (NoAnswerError, BadInputError, torch.linalg.LinAlgError):  # pyright: ignore[reportPrivateImportUsage]
        return None


def chosen(found: list[Candidate]) -> Candidate:
    """The smallest model within 3 % of the best held-out error, without a pattern at the rim or pixels without rays."""
    sound = [c for c in found if c.monotonic] or found
    plain = [c for c in sound if c.fit.model not in RICH]
    if plain and not _rich_wins(sound):
        sound = plain
    best = min(c.holdout_rms_px for c in sound)
    near = [c for c in sound if c.holdout_rms_px <= WITHIN * best]
    near = [c for c in near if not c.rim_pattern] or near
    near = [c for c in near if c.covered > max(one.covered for one in near) - SPARED_SHARE]
    return min(near, key=lambda c: (c.fit.model.free, c.holdout_rms_px))


def _rich_wins(found: list[Candidate]) -> bool:
    """Whether a rich model predicts views it was not fitted to clearly better than all others."""
    rich, plain = ([c.holdout_rms_px for c in found if (c.fit.model in RICH) == wanted] for wanted in (True, False))
    return bool(rich) and min(rich) <= RICHEST_WINS_BY * min(plain, default=math.inf)


def rim_residual(measured: Measured, fit: Fit) -> tuple[float, bool]:
    """Mean radial residual of the outermost ring, and whether it is a pattern; views count as independent."""
    away = measured.pixels - measured.pixels.new_tensor(fit.camera.centre_px)
    radius = away.norm(dim=-1)
    radial = (fit.residuals * away).sum(-1) / radius.clamp_min(1e-9)
    outer = radius >= radius.quantile(1 - 1 / RINGS)
    means = [radial[outer & (measured.view == v)] for v in range(measured.views)]
    means = torch.stack([m.mean() for m in means if len(m) >= 5] or [radial[outer].mean()])
    mean = float(radial[outer].mean())
    error = float(means.std()) / len(means) ** 0.5 if len(means) > 2 else float("inf")
    return mean, abs(mean) > 3 * error and abs(mean) > fit.rms_px / 3


def monotonic(camera: Camera, pixels: Tensor) -> bool:
    """Whether every radius out to the farthest corner has a ray, and rays go outward with it."""
    centre = pixels.new_tensor(camera.centre_px)
    farthest = float((pixels - centre).norm(dim=-1).max())
    radii = torch.linspace(0, farthest, 200, dtype=torch.float64)
    ray = camera.directions(torch.stack([centre[0] + radii, centre[1].expand(200)], -1))
    angle = torch.atan2(ray[:, 0], ray[:, 2])
    return bool(angle.isfinite().all()) and bool((angle.diff() > 0).all())


def share_with_rays(camera: Camera) -> float:
    """Share of the image's pixels that some ray reaches."""
    width, height = camera.size_px
    grid = pixel_grid(height, width, torch.empty(0, dtype=torch.float64))[
        :: max(1, height // 64), :: max(1, width // 64)
    ]
    return float(camera.directions(grid).isfinite().all(-1).double().mean())
