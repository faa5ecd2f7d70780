"""Training: one visible loop, examples as a pure function of seed and number, checkpoints that resume exactly."""

from depthscope.training.augmentation import Augmentation
from depthscope.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint
from depthscope.training.draws import PairDraws
from depthscope.training.loop import TrainingResult, check_resumable, launched, train
from depthscope.training.options import Adam, Constant, Cosine, Sgd, Training, Triangular
from depthscope.training.task import SiameseDepth, Task

__all__ = [
    "BEST",
    "LAST",
    "Adam",
    "Augmentation",
    "Constant",
    "Cosine",
    "PairDraws",
    "Sgd",
    "SiameseDepth",
    "Task",
    "Training",
    "TrainingResult",
    "Triangular",
    "check_resumable",
    "launched",
    "load_checkpoint",
    "save_checkpoint",
    "train",
]
