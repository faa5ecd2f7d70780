"""What moves or stands before the camera: each is off by default, and then costs nothing."""

from dataclasses import dataclass, field, replace

import numpy as np

from depthscope.errors import BadInputError
from depthscope.simulation.breathing import Breathing
from depthscope.simulation.debris import Debris
from depthscope.simulation.instrument import Instrument


@dataclass(frozen=True)
class Disturbances:
    """What disturbs a clip.

    Attributes:
        breathing: Tissue that moves.
        instrument: An instrument in the view, or None.
        debris: On and before the lens.
        planar: 0 shows the anatomy; above 0 a patch of tissue before the camera takes its place, flat at 1.
    """

    breathing: Breathing = field(default_factory=Breathing)
    instrument: Instrument | None = None
    debris: Debris = field(default_factory=Debris)
    planar: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.planar <= 1:
            raise BadInputError(f"a patch that is {self.planar:g} flat", "0 to 1")

    def of_clip(self, patient: int, clip: int) -> "Disturbances":
        """The same, at the places and moments of one clip."""
        seed = int(np.random.default_rng((patient, clip, 53)).integers(2**31))
        return replace(
            self,
            breathing=replace(self.breathing, seed=seed),
            instrument=replace(self.instrument, seed=seed) if self.instrument else None,
            debris=replace(self.debris, seed=seed),
        )
