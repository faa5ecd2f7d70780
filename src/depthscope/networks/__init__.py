"""Depth networks: from one image to a positive depth map. Options are values; `build` makes the module."""

from depthscope.networks.depth_head import DepthHead, DepthPrediction, NetworkOptions, as_prediction
from depthscope.networks.disp_net import DispNet
from depthscope.networks.disparity import DepthRange
from depthscope.networks.efficient_encoder import EfficientEncoder
from depthscope.networks.fc_densenet import FCDenseNet
from depthscope.networks.pose import KnownMotion, PairPose, SnippetPose
from depthscope.networks.red_net import RedNet
from depthscope.networks.res_unet import ResUNet
from depthscope.networks.residual_disparity import ResidualDisparity
from depthscope.networks.residual_encoder import ResidualEncoder
from depthscope.networks.snippet_network import SnippetNetwork, SnippetPrediction

__all__ = [
    "DepthRange",
    "DispNet",
    "EfficientEncoder",
    "KnownMotion",
    "PairPose",
    "ResidualDisparity",
    "ResidualEncoder",
    "SnippetNetwork",
    "SnippetPose",
    "SnippetPrediction",
    "DepthHead",
    "DepthPrediction",
    "FCDenseNet",
    "NetworkOptions",
    "RedNet",
    "ResUNet",
    "as_prediction",
]
