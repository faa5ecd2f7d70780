"""Deviations that a network tells, brought to its errors on patients that were not trained on."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from depthscope.errors import BadInputError
from depthscope.networks import DepthHead
from depthscope.simulation.still_store import PackedPatient, StillStore
from depthscope.supervised import UnseenPatients
from depthscope.supervised.calibration import calibration, moved

PATIENTS = StillStore(tuple(PackedPatient(Path(), "nasal", seed, 3, (8, 8)) for seed in (3, 4)))


@dataclass(frozen=True, eq=False)
class Told(UnseenPatients):
    """Normal errors of the deviation `true`, where the network tells `told`, both log."""

    store: StillStore = PATIENTS
    true: float = 0.0
    told: float = 0.0
    frames: int = 6

    def deviations(self, network, most=4000):
        draw = torch.Generator().manual_seed(3)
        for _ in range(self.frames):
            spread = 0.4 * torch.randn(3000, generator=draw)  # some pixels are harder than others, and told so
            yield torch.randn(3000, generator=draw).abs() * (self.true + spread).exp(), self.told + spread


@pytest.mark.parametrize(("true", "told"), [(-2.5, -1.8), (-2.5, -3.0), (-2.0, -2.0)])
def test_told_deviations_are_brought_to_the_errors(true, told):
    found = calibration(nn.Identity(), Told(true=true, told=told))
    assert found.within == pytest.approx((0.683, 0.954), abs=0.015)
    assert (found.before[0] > 0.75) == (told > true)
    assert (found.shift < -0.1) == (told > true) and found.patients == ("nasal 3", "nasal 4")


def test_a_shift_is_what_a_bias_of_the_head_does():
    torch.manual_seed(0)
    head, features = DepthHead(4, uncertainty=True), torch.randn(1, 4, 5, 6)
    nn.init.normal_(head.outputs.weight)
    before = head(features).log_std
    with torch.no_grad():
        head.outputs.bias[1] += 0.7
    torch.testing.assert_close(head(features).log_std, moved(before, 0.7), atol=1e-4, rtol=1e-4)


def test_a_network_that_tells_none_is_refused():
    silent = Told(frames=0)
    with pytest.raises(BadInputError, match="without deviations"):
        calibration(nn.Identity(), silent)
