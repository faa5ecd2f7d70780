"""Registration of a reconstruction to a CT by an oriented similarity, without a start by hand."""

from depthscope.registration.alignment import Alignment, Residuals
from depthscope.registration.baselines import coherent_point_drift, iterated_closest_points
from depthscope.registration.certainty import ConfidenceCalibration, Mode, RegistrationEvidence
from depthscope.registration.options import Registration, ScalePrior, refusals
from depthscope.registration.registration import nearest, register
from depthscope.registration.search import Search
from depthscope.registration.solve import Annealing
from depthscope.registration.target import Target
from depthscope.registration.unscaled import register_unscaled
from depthscope.registration.view import PointNoise, SurfaceView, viewpoint

__all__ = [
    "Alignment",
    "Annealing",
    "ConfidenceCalibration",
    "RegistrationEvidence",
    "Mode",
    "PointNoise",
    "Registration",
    "Residuals",
    "ScalePrior",
    "Search",
    "Target",
    "SurfaceView",
    "coherent_point_drift",
    "iterated_closest_points",
    "nearest",
    "refusals",
    "register",
    "register_unscaled",
    "viewpoint",
]
