"""Runs ``depthscope`` as a child of a test; stands still before draw HOLD_AT, for a signal at a known step."""

import os
import signal
import sys

import torch

from depthscope.cli import main
from depthscope.training import PairDraws

torch.set_num_threads(1)

hold_at = int(os.environ.get("HOLD_AT", "-1"))
at_once = PairDraws.batch


def batch(draws, numbers):
    if hold_at in numbers:
        if "SIGNAL_SELF" in os.environ:  # one process of several, each of which takes its share of the draws
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            print("holding", flush=True)
            sys.stdin.readline()
    return at_once(draws, numbers)


PairDraws.batch = batch
sys.exit(main())
