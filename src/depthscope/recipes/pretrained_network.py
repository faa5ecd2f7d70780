"""The network whose weights ship; recipes that start from them have it."""

from depthscope.networks import ResUNet

PRETRAINED_NETWORK = ResUNet(width=16, widest=256, uncertainty=True, rays=True)
"""1.8 million weights, told the ray of each pixel."""
