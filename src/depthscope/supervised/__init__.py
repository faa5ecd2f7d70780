"""Learning depth from the true depth of simulated frames: the network that needs no training of its own."""

from depthscope.supervised.augmentation import Looks, Placement
from depthscope.supervised.batch import StillBatch
from depthscope.supervised.draws import StillDraws
from depthscope.supervised.losses import TrueDepthLoss
from depthscope.supervised.task import TrueDepth
from depthscope.supervised.validation import UnseenPatients

__all__ = ["Looks", "Placement", "StillBatch", "StillDraws", "TrueDepth", "TrueDepthLoss", "UnseenPatients"]
