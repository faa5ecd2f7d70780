"""Depth networks: from one image to a positive depth map. Options are values; `build` makes the module."""

from depthscope.networks.depth_head import DepthHead, DepthPrediction, NetworkOptions, as_prediction
from depthscope.networks.fc_densenet import FCDenseNet
from depthscope.networks.red_net import RedNet
from depthscope.networks.res_unet import ResUNet

__all__ = [
    "DepthHead",
    "DepthPrediction",
    "FCDenseNet",
    "NetworkOptions",
    "RedNet",
    "ResUNet",
    "as_prediction",
]
