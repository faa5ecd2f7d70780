"""How a pretext network starts, and from where on its draws are new."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

UNSEEN = 1 << 40
"""Draws from this number on are never reached in training: what is measured is drawn there."""

Network = TypeVar("Network", bound=nn.Module)


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """A new network with the random weights of this seed; random numbers drawn elsewhere stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()
