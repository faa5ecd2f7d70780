"""From an SfM sequence to supervision: sparse depth (Eq. 1), soft masks (Eq. 2), pairs of frames to draw."""

from depthscope.supervision.clip import Clip, Holdout, Supervision, clip, common_kind, network_size
from depthscope.supervision.pairs import PairBatch, PairRule
from depthscope.supervision.snippets import SnippetBatch, SnippetClip, SnippetRule, snippet_clip
from depthscope.supervision.sparse_depth import SparsePoints

__all__ = [
    "Clip",
    "Holdout",
    "PairBatch",
    "PairRule",
    "SnippetBatch",
    "SnippetClip",
    "SnippetRule",
    "SparsePoints",
    "Supervision",
    "clip",
    "common_kind",
    "network_size",
    "snippet_clip",
]
