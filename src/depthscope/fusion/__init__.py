"""Depth maps and motions to one surface: a truncated signed distance volume that grows where depth is seen."""

from depthscope.fusion.fusion import DepthFrame, Fused, Fusion, fuse
from depthscope.fusion.scales import ClipScales, clip_scales

__all__ = ["ClipScales", "DepthFrame", "Fused", "Fusion", "clip_scales", "fuse"]
