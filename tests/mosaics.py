"""Frames of random smooth colours: something to see everywhere, different in every frame."""

import signal

import torch
from torch.nn import functional

from depthscope.corpus import Corpus, corpus_of
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.training import Adam, Training

ENCODER = ResUNetEncoder(width=8, levels=3)
"""Learns in seconds."""


def mosaic_corpus(frames: int = 24, side_px: int = 64, videos: int = 2, holdout: float = 0.2) -> Corpus:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.rand(frames, 3, 8, 8, generator=generator)
    smooth = functional.interpolate(blocks, size=(side_px, side_px), mode="bicubic").clamp(0, 1)
    bytes_ = (smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    video = torch.arange(frames) * videos // frames
    return corpus_of(bytes_, video=video, holdout=holdout)


def flat_corpus(frames: int = 24, side_px: int = 64) -> Corpus:
    """Frames of one colour each."""
    shades = torch.arange(frames, dtype=torch.uint8)[:, None, None, None]
    return corpus_of(shades.expand(-1, side_px, side_px, 3).contiguous(), holdout=0.0)


def short(steps: int = 6, batch: int = 8) -> Training:
    return Training(steps=steps, batch=batch, optimiser=Adam(1e-3), precision="fp32", save_every=2, log_every=2)


def stop_after(monkeypatch, task: type, steps: int) -> None:
    """The user presses Ctrl-C in the course of a step."""
    loss, done = task.loss, []

    def interrupted(self, network, batch):
        done.append(0)
        if len(done) == steps:
            signal.raise_signal(signal.SIGINT)
        return loss(self, network, batch)

    monkeypatch.setattr(task, "loss", interrupted)
