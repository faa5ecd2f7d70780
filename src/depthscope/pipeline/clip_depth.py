"""The depth of a clip as a value: every frame's map, made when asked for, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from depthscope.memory import BUDGET_BYTES, array_bytes
from depthscope.prediction import DepthMap, DepthModel, Recording, predict as predict_maps
from depthscope.sequence import Sequence
from depthscope.training.devices import Device, resolved_device
from depthscope.training.options import resolved_precision


@dataclass(frozen=True, eq=False)
class ClipDepth:
    """The depth of every frame of a sequence, in the sequence's unit: made when asked for, and kept while it is little.

    Attributes:
        model: What predicts.
        sequence: The frames, and the points that give each map its scale.
        device: Where to compute.
        budget_bytes: What is kept in memory; a longer clip is predicted again whenever it is gone through.
    """

    model: DepthModel
    sequence: Sequence
    device: Device = "auto"
    budget_bytes: int = BUDGET_BYTES
    _kept: list[DepthMap] = field(default_factory=list, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.sequence)

    def __iter__(self) -> Iterator[DepthMap]:
        if self._kept:
            yield from self._kept
            return
        device, maps, taken = resolved_device(self.device), list[DepthMap](), 0
        bf16 = resolved_precision("auto", device) == "bf16"
        recording = Recording.of_sequence(self.sequence)
        for one in predict_maps(self.model, recording, scaled=True, device=device, bf16=bf16):
            taken += sum(array_bytes(a) for a in (one.depth, one.std, one.content, one.image) if a is not None)
            if taken <= self.budget_bytes:
                maps.append(one)
            else:
                maps.clear()
            yield one
        if len(maps) == len(self):
            self._kept[:] = maps
