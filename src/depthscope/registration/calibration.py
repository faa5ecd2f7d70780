"""The confidence's coefficients, fitted by ``benchmarks/registration.py --fit``."""

from depthscope.registration.certainty import Calibration

ON_PHANTOMS = Calibration(
    weights=(0.0, -0.10, -0.74, 1.54, -0.89, 0.0),
    offset=1.65,
    limit_mm=2.0,
    fitted_on="simulated noses: 16 scenes of 4 training patients, and 9 with wrong targets",
)
"""Fitted on simulated nasal patients of the training split; says nothing of colons, nor of real patients yet."""
