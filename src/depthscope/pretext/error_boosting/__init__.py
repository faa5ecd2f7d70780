"""Segmentation from automatic weak labels, corrected by few masks with weights from the errors (Roy et al. 2017)."""

from depthscope.pretext.error_boosting.automatic import AUTOMATIC, automatic_labels
from depthscope.pretext.error_boosting.learning import ErrorBoosting

__all__ = ["AUTOMATIC", "ErrorBoosting", "automatic_labels"]
