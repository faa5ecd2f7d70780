"""Training: one visible loop, examples as a pure function of seed and number, checkpoints that resume exactly."""

from depthscope.training.augmentation import Augmentation
from depthscope.training.checkpoint import BEST, LAST, load_checkpoint, save_checkpoint, weights_of
from depthscope.training.draws import PairDraws
from depthscope.training.loop import TrainingResult, launched, train
from depthscope.training.options import Adam, Constant, Cosine, Drop, Sgd, Training, Triangular
from depthscope.training.resume import check_resumable
from depthscope.training.snippet_augmentation import SnippetAugmentation
from depthscope.training.snippet_draws import SnippetDraws
from depthscope.training.task import SiameseDepth, Task
from depthscope.training.view_synthesis import VideoDepth, snippet_network

__all__ = [
    "BEST",
    "LAST",
    "Adam",
    "Augmentation",
    "Constant",
    "Cosine",
    "Drop",
    "PairDraws",
    "Sgd",
    "SiameseDepth",
    "SnippetAugmentation",
    "SnippetDraws",
    "Task",
    "Training",
    "TrainingResult",
    "Triangular",
    "VideoDepth",
    "check_resumable",
    "launched",
    "load_checkpoint",
    "weights_of",
    "save_checkpoint",
    "snippet_network",
    "train",
]
