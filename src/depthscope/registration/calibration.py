"""The confidence's coefficients, fitted by ``benchmarks/registration.py --fit``."""

from depthscope.registration.certainty import Calibration

ON_PHANTOMS = Calibration(
    weights=(0.5, -1.0, -1.0, 1.0, -1.0, -1.0), offset=1.0, limit_mm=2.0, fitted_on="not fitted yet"
)
"""Fitted on simulated nasal patients of the training split."""
