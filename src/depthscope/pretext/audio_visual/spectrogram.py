"""The log-spectrogram of a snippet of sound."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError

QUIET = 1e-3
"""Added to magnitudes before the logarithm; a full-scale tone has about 120."""

MIDDLE, SPREAD = -2.0, 4.0
"""Taken off and divided by, so that values are of the order of 1."""


@dataclass(frozen=True)
class Spectrogram:
    """How sound is seen; the defaults give 257 x 200 values for a second.

    Attributes:
        snippet_s: Length of a snippet.
        rate_hz: Samples per second.
        bins: Length of the Fourier transform.
        window: Samples under the Hann window.
        hop: Samples from one column to the next.
    """

    snippet_s: float = 1.0
    rate_hz: int = 48_000
    bins: int = 512
    window: int = 480
    hop: int = 240

    def __post_init__(self) -> None:
        if not 8 <= self.hop <= self.bins or not 8 <= self.window <= self.bins or self.bins % 2 or self.rate_hz < 1000:
            raise BadInputError(
                f"a spectrogram of {self.bins} bins, a window of {self.window} and a hop of {self.hop} at "
                f"{self.rate_hz} Hz",
                "window and hop from 8 to the bins, an even number of these, and 1000 Hz or more",
            )
        if self.samples < 16 * self.hop or self.snippet_s > 60:
            raise BadInputError(f"snippets of {self.snippet_s:g} s", f"{16 * self.hop / self.rate_hz:g} to 60 s")

    @property
    def samples(self) -> int:
        """Of a snippet."""
        return round(self.snippet_s * self.rate_hz)

    @property
    def shape(self) -> tuple[int, int]:
        """Frequencies and columns of a snippet."""
        return self.bins // 2 + 1, (self.samples + 2 * self.padding - self.bins) // self.hop + 1

    @property
    def padding(self) -> int:
        """Zeros on each side, so that every hop has its column."""
        return (self.bins - self.hop) // 2

    def __call__(self, sound: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch 1 frequencies columns"]:
        """The logarithm of magnitudes, shifted and scaled to about -1 to 1."""
        padded = functional.pad(sound.float(), (self.padding, self.padding))
        spectrum = torch.stft(
            padded,
            self.bins,
            hop_length=self.hop,
            win_length=self.window,
            window=torch.hann_window(self.window, device=sound.device),
            center=False,
            return_complex=True,
        )
        return (torch.log(spectrum.abs() + QUIET)[:, None] - MIDDLE) / SPREAD
