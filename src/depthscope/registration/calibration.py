"""The confidence's coefficients, fitted by ``benchmarks/learned.py --fit`` with the scenes of ``registration.py``."""

from depthscope.registration.certainty import ConfidenceCalibration

ON_PHANTOMS = ConfidenceCalibration(
    weights=(0.81, -0.08, -0.21, 1.57, -1.42, 0.0),
    offset=1.81,
    limit_mm=2.0,
    fitted_on="30 registrations of simulated noses of the training split (learned depth of 4, true depth with errors "
    "of 3), a third of them with a wrong target",
)
"""Fitted on simulated nasal patients of the training split; says nothing of colons, nor of real patients yet."""
