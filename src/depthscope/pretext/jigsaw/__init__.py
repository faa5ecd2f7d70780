"""Jigsaw puzzles of frames: an encoder that learned where tissue belongs."""

from depthscope.pretext.jigsaw.jigsaw import Jigsaw, Puzzles, descriptors
from depthscope.pretext.jigsaw.network import JigsawNetwork
from depthscope.pretext.jigsaw.permutations import permutations
from depthscope.pretext.jigsaw.puzzles import PuzzleBatch, PuzzleDraws, Tiles, cut, ordered

__all__ = [
    "Jigsaw",
    "JigsawNetwork",
    "PuzzleBatch",
    "PuzzleDraws",
    "Puzzles",
    "Tiles",
    "cut",
    "descriptors",
    "ordered",
    "permutations",
]
