"""The confidence's coefficients, fitted by ``benchmarks/registration.py --fit``."""

from depthscope.registration.certainty import Calibration

ON_PHANTOMS = Calibration(
    weights=(0.21, -0.14, -0.75, 1.68, -0.87, 0.0),
    offset=1.58,
    limit_mm=2.0,
    fitted_on="simulated noses: 20 scenes of 4 training patients, and 12 with wrong targets",
)
"""Fitted on simulated nasal patients of the training split; says nothing of colons, nor of real patients yet."""
