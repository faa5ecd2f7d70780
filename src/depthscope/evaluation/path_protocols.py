"""Protocols of camera paths by name: how estimate and truth are brought together, and which errors are printed."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.evaluation.depth import median
from depthscope.evaluation.path import angles_deg, path_error, root_mean_square
from depthscope.geometry import RigidMotion

LEAST_WINDOW = 3
"""Frames of the shortest window whose scale is compared."""


@dataclass(frozen=True)
class SimilarityProtocol:
    """Umeyama's similarity over all centres; ATE, relative errors, and how the scale drifts.

    Attributes:
        name: On the command line and beside every number.
        about: Who computes it so.
        window: Frames of the windows whose scales are compared.
    """

    name: str
    about: str
    window: int = 10

    def figures(self, estimate: RigidMotion, truth: RigidMotion) -> dict[str, Any]:
        """Errors in the unit of the truth.

        Args:
            estimate: camera_from_world of each frame, batch shape (frames,).
            truth: The true ones.

        Raises:
            BadInputError: Fewer than 3 frames, or cameras that stand still.
        """
        found = asdict(path_error(estimate, truth))
        return {**found, "scale_drift": scale_drift(estimate, truth, self.window)}


@dataclass(frozen=True)
class SnippetProtocol:
    """Short snippets with the first pose in common and a scale each (SfMLearner's script, as on SCARED).

    ``ate`` is root(sum of squared distances) / N, smaller than the RMSE beside it by root N. Snippets start at every
    frame but the last two; those at the end are shorter, as in the script.

    Attributes:
        name: On the command line and beside every number.
        about: Who computes it so.
        length: Frames of a snippet.
    """

    name: str
    about: str
    length: int = 5

    def figures(self, estimate: RigidMotion, truth: RigidMotion) -> dict[str, Any]:
        """As `SimilarityProtocol.figures`."""
        count = len(truth.translation)
        if count < LEAST_WINDOW:
            raise BadInputError(f"{count} frames", f"at least {LEAST_WINDOW} for a snippet")
        rows = []
        for start in range(count - 2):
            part = slice(start, min(start + self.length, count))
            found, true = since_first(estimate[part]), since_first(truth[part])
            p, q = found.translation, true.translation
            size = float((p**2).sum())
            away = (p * (float((p * q).sum()) / size if size > 0 else 0.0) - q).norm(dim=-1)
            turned = torch.deg2rad(angles_deg(true.rotation @ found.rotation.mT))
            rows.append((summed_over_count(away), root_mean_square(away), float(turned.mean())))
        values = torch.tensor(rows, dtype=torch.float64)
        ate, rmse, turn = values.mean(0).tolist()
        return {
            "ate": ate, "ate_sd": float(values[:, 0].std(correction=0)), "ate_rmse": rmse,
            "rotation_rad": turn, "snippets": len(rows), "frames": count,
        }  # fmt: skip


@dataclass(frozen=True)
class ChainProtocol:
    """Relative poses chained from the first one, one scale over all of them, medians (SimCol3D's script).

    Attributes:
        name: On the command line and beside every number.
        about: Who computes it so.
        per_mm: Of the lengths that it prints.
    """

    name: str
    about: str
    per_mm: float = 0.1

    def figures(self, estimate: RigidMotion, truth: RigidMotion) -> dict[str, Any]:
        """As `SimilarityProtocol.figures`, lengths in cm for a truth in mm."""
        if len(truth.translation) < 2:
            raise BadInputError(f"{len(truth.translation)} frames", "at least 2 for a relative pose")
        found, true = since_first(estimate), since_first(truth)
        step, true_step = relative_steps(found), relative_steps(true)
        size = float((step.translation**2).sum())
        if not size > 0:
            raise BadInputError("estimated cameras that stand still", "a path")
        scale = float((step.translation * true_step.translation).sum()) / size
        found = found.scaled(scale)
        difference = true_step.inverse() @ relative_steps(found)
        away = (found.translation - true.translation).norm(dim=-1)
        return {
            "ate_cm": float(median(away)) * self.per_mm,
            "rte_cm": float(median(difference.translation.norm(dim=-1))) * self.per_mm,
            "rot_deg": float(median(angles_deg(difference.rotation))),
            "scale": scale, "frames": len(away),
        }  # fmt: skip


PathProtocol = SimilarityProtocol | SnippetProtocol | ChainProtocol

PATH = SimilarityProtocol("path-1", "any true path, after one similarity over all frames")

PATH_PROTOCOLS: tuple[PathProtocol, ...] = (
    PATH,
    SnippetProtocol("scared-pose-af", "SCARED as AF-SfMLearner and EndoDAC print it"),
    ChainProtocol("simcol3d-pose", "SimCol3D as its challenge scored poses"),
)
"""Every protocol of camera paths."""


def since_first(camera_from_world: RigidMotion) -> RigidMotion:
    """first_from_camera: where each camera is in the axes of the first one."""
    motions = camera_from_world.to(torch.float64)
    return motions[:1] @ motions.inverse()


def relative_steps(world_from_camera: RigidMotion) -> RigidMotion:
    """Each camera in the axes of the one before it."""
    return world_from_camera[:-1].inverse() @ world_from_camera[1:]


def summed_over_count(distances: Float[Tensor, " frames"]) -> float:
    """root(sum of squares) / N: what SfMLearner's script calls ATE."""
    return float((distances**2).sum().sqrt()) / len(distances)


def scale_drift(estimate: RigidMotion, truth: RigidMotion, window: int) -> float | None:
    """Range of ln(true length / estimated length) over windows of the path; None where it is too short to tell."""
    p, q = estimate.origin.double(), truth.origin.double()
    lengths = [torch.diff(x, dim=0).norm(dim=-1) for x in (p, q)]
    if len(p) < 2 * LEAST_WINDOW:
        return None
    steps = min(window, len(p) // 2)
    found, true = (values.unfold(0, steps, 1).sum(-1) for values in lengths)
    known = (found > 0) & (true > 0)
    if not bool(known.any()):
        return None
    ratios = (true[known] / found[known]).log()
    return float(ratios.max() - ratios.min())
