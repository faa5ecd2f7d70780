"""Where the camera is while a frame is exposed and read out.

A frame's own moment is the middle of the exposure of its middle row; depth, flow and motions are true for that. A
rolling shutter reads the rows one after another, an interlaced camera every second row half a frame later, so that each
row has its own motion.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.geometry.motion import rotate


@dataclass(frozen=True)
class Shutter:
    """When a frame is taken, in shares of the time between frames.

    Attributes:
        open: How long each row is exposed.
        readout: Time from the first row to the last; 0 takes all at once.
        fields: How far the rows 1, 3, 5, ... lag behind the rows 0, 2, 4, ...; 0.5 is interlaced, 0 progressive.
    """

    open: float = 0.0
    readout: float = 0.0
    fields: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.open <= 1:
            raise BadInputError(f"a shutter open for {self.open:g} of the time", "0 to 1")
        if not 0 <= self.readout <= 1 or not 0 <= self.fields <= 0.5:
            raise BadInputError(
                f"a readout over {self.readout:g} of a frame and fields {self.fields:g} apart", "0 to 1, and 0 to 0.5"
            )

    @property
    def at_once(self) -> bool:
        """Whether all rows are taken at the same time."""
        return not self.readout and not self.fields

    def row_shares(self, rows: Float[Tensor, "*rows"], height: int) -> Float[Tensor, "*rows"]:
        """How much later than the frame's own moment rows are taken; the row of a pixel centre is 0.5 and so on."""
        odd = rows.floor().remainder(2)
        return self.readout * (rows / height - 0.5) + self.fields * (odd - 0.5)


def during(motions: RigidMotion, frame: int, shutter: float, count: int) -> tuple[RigidMotion, ...]:
    """Motions spread evenly over the exposure of a frame, which lies around its own moment."""
    if not shutter:
        return ()
    shares = [shutter * ((i + 0.5) / count - 0.5) for i in range(count)]
    return tuple(beside(motions, frame, torch.tensor(share, dtype=torch.float64)) for share in shares)


def beside(motions: RigidMotion, frame: Tensor | int, share: Float[Tensor, "*moments"]) -> RigidMotion:
    """Motions a share of a frame's time after frames, or before where it is negative.

    Args:
        motions: Of all frames, batch shape (frames,).
        frame: Number of the frame, or of the frame of each moment.
        share: -1 to 1.
    """
    number = torch.as_tensor(frame).expand(share.shape)
    forward = (share > 0) | (number == 0)
    other = torch.where(forward, (number + 1).clamp_max(len(motions.translation) - 1), number - 1)
    return between(motions[number], motions[other], torch.where(forward, share, -share))


def between(first: RigidMotion, second: RigidMotion, share: Float[Tensor, "*moments"] | float) -> RigidMotion:
    """The motion at a share of the way from one to another close by, or a little beyond: camera centres on a line."""
    share = torch.as_tensor(share, dtype=torch.float64)[..., None]
    q, p = first.quaternion_wxyz, second.quaternion_wxyz
    p = torch.where((q * p).sum(-1, keepdim=True) < 0, -p, p)
    turned = RigidMotion.from_quaternion((1 - share) * q + share * p, torch.zeros_like(first.translation))
    centre = (1 - share) * first.origin + share * second.origin
    return RigidMotion(turned.rotation, -rotate(turned.rotation, centre))


def row_by_row(
    motions: RigidMotion, frame: int, shutter: Shutter, rows: Float[Tensor, " pixels"], height: int, count: int
) -> tuple[RigidMotion, ...]:
    """As `during`, with a motion for each pixel by the row that it lies in; batch shape (pixels,).

    Args:
        motions: Of all frames.
        frame: Number of the frame.
        shutter: When its rows are taken.
        rows: y of the pixels' centres.
        height: Rows of the picture.
        count: Moments over the exposure.
    """
    centres = torch.arange(height, dtype=torch.float64) + 0.5
    shares = shutter.row_shares(centres, height)
    within = [shutter.open * ((i + 0.5) / count - 0.5) for i in range(count if shutter.open else 1)]
    return tuple(beside(motions, frame, shares + share)[rows.long()] for share in within)
