"""From an SfM sequence to supervision: sparse depth (Eq. 1), soft masks (Eq. 2), pairs of frames to draw."""

from depthscope.supervision.clip import Clip, Holdout, Supervision, clip, network_size
from depthscope.supervision.pairs import PairBatch, PairRule
from depthscope.supervision.sparse_depth import SparsePoints

__all__ = ["Clip", "Holdout", "PairBatch", "PairRule", "SparsePoints", "Supervision", "clip", "network_size"]
