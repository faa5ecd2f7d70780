"""What comes of learning a pretext task: an encoder, and figures that say what they are worth."""

from dataclasses import dataclass, field

from depthscope.networks.adapters import AdaptedEncoder
from depthscope.training import TrainingResult


@dataclass(frozen=True)
class Score:
    """A figure with what it must be read against: a pretext score alone proves nothing.

    Attributes:
        name: What was measured.
        value: The figure.
        beside: Other figures of the same kind by name: chance, the ceiling, the trivial solver.
    """

    name: str
    value: float
    beside: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        others = ", ".join(f"{name} {value:.3g}" for name, value in self.beside.items())
        return f"{self.name} {self.value:.3g}" + (f" ({others})" if others else "")


@dataclass(frozen=True, eq=False)
class Learned:
    """What came of a pretext run.

    Attributes:
        encoder: Trained, behind what it saw of the images.
        scores: On frames that were kept from training.
        result: Of the training loop; of the last round where there were several, with the steps of all.
        notes: Sentences that the user should read.
    """

    encoder: AdaptedEncoder
    scores: tuple[Score, ...]
    result: TrainingResult
    notes: tuple[str, ...] = ()
