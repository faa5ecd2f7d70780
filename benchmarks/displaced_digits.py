"""Toy data for the pretext proofs: handwritten digits at random places of a noisy field, and a probe of encoders.

Pixels of a displaced digit tell little, a random encoder not much more: what a linear probe reads from ten examples of
each digit is what the encoder has learned. The digits ship with scikit-learn; nothing is downloaded.
"""

import dataclasses

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depthscope.corpus import Corpus, corpus_of

TRAINED = 1200
"""Digits to learn from; the other 597 are looked at by probes only."""


@dataclasses.dataclass(frozen=True)
class Digits:
    """Displaced digits.

    Attributes:
        corpus: The pictures; those to measure on are kept from training.
        labels: Which digit each shows.
    """

    corpus: Corpus
    labels: Tensor


def displaced_digits(digit_px: int = 22, field_px: int = 32, seed: int = 0) -> Digits:
    """The 1797 digits, each enlarged to a square of `digit_px` somewhere on a grey, noisy square of `field_px`."""
    from sklearn.datasets import load_digits

    drawn = load_digits()
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(drawn.target))
    frames = generator.normal(60, 20, (len(order), field_px, field_px))
    for frame, number in zip(frames, order, strict=True):
        digit = cv2.resize(drawn.images[number].astype(np.float32) / 16, (digit_px, digit_px))
        left, top = generator.integers(0, field_px - digit_px + 1, 2)
        frame[top : top + digit_px, left : left + digit_px] += 170 * digit
    bytes_ = torch.from_numpy(frames.clip(0, 255).astype(np.uint8))[..., None].expand(-1, -1, -1, 3).contiguous()
    kept = torch.arange(len(order)) >= TRAINED
    corpus = dataclasses.replace(corpus_of(bytes_, holdout=0.0), kept=kept)
    return Digits(corpus, torch.from_numpy(drawn.target[order]))


@torch.no_grad()
def features(encoder: nn.Module, images: Tensor) -> Tensor:
    """Mean and maximum over each channel of the deepest map."""
    encoder = encoder.eval()
    maps = torch.cat([encoder(part)[-1] for part in images.split(256)])
    return torch.cat([maps.mean((-1, -2)), maps.amax((-1, -2))], 1)


def probed(values: Tensor, digits: Digits, draws: int = 3) -> dict[str, float]:
    """Accuracy on unseen digits of a linear probe that learns from 10 examples of each digit, and from all.

    Args:
        values: Features of all pictures.
        digits: The pictures.
        draws: Choices of the ten examples that are averaged over.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    trained, held = digits.corpus.trained, digits.corpus.held
    labels = digits.labels.numpy()
    flat = values.flatten(1).double().numpy()

    def accuracy(chosen: np.ndarray) -> float:
        scaler = StandardScaler().fit(flat[trained])
        probe = LogisticRegression(C=1.0, max_iter=500).fit(scaler.transform(flat[chosen]), labels[chosen])
        return float((probe.predict(scaler.transform(flat[held])) == labels[held]).mean())

    few = []
    for draw in range(draws):
        generator = np.random.default_rng(draw)
        order = generator.permutation(trained.numpy())
        few.append(accuracy(np.concatenate([order[labels[order] == digit][:10] for digit in range(10)])))
    return {"ten": float(np.mean(few)), "all": accuracy(trained.numpy())}


def probed_encoder(encoder: nn.Module, digits: Digits) -> dict[str, float]:
    """`probed` of an encoder's features."""
    return probed(features(encoder, digits.corpus.images(range(len(digits.corpus)))), digits)


def probed_pixels(digits: Digits) -> dict[str, float]:
    """`probed` of the pixels themselves."""
    return probed(digits.corpus.images(range(len(digits.corpus)))[:, 0], digits)


def probed_random(build, digits: Digits, count: int = 10) -> list[dict[str, float]]:
    """`probed_encoder` of several random encoders: one alone is good or bad by luck."""
    found = []
    for seed in range(count):
        torch.manual_seed(1000 + seed)
        found.append(probed_encoder(build(), digits))
    return found


def table(rows: list[dict]) -> str:
    """Rows with an arm, a seed and figures, as lines."""
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("arm", "seed")))
    lines = ["| arm | seed | " + " | ".join(names) + " |"]
    for row in rows:
        cells = [f"{row[name]:.3f}" if name in row else "-" for name in names]
        lines.append(f"| {row['arm']} | {row['seed']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
