"""What a network keeps of the weights it started from."""

from dataclasses import replace

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.objectives.prior import gradient_difference
from depthscope.pretrained import read_start
from depthscope.recipes import FAST, Recipe, to_yaml, with_steps
from depthscope.runs.run import begin
from depthscope.training import save_checkpoint


def test_a_factor_costs_nothing_and_a_ramp_its_slope():
    known = torch.ones(2, 24, 32, dtype=torch.bool)
    assert float(gradient_difference(torch.full((2, 24, 32), 0.7), known)) == 0
    ramp = (0.01 * torch.arange(32.0)).expand(2, 24, 32)
    assert float(gradient_difference(ramp, known)) == pytest.approx(0.01 * (1 + 2 + 4 + 8), rel=1e-4)


def test_pixels_that_are_not_known_do_not_count():
    error, known = torch.zeros(1, 16, 16), torch.ones(1, 16, 16, dtype=torch.bool)
    error[:, 4:7, 4:7], known[:, 4:7, 4:7] = 9.0, False
    assert float(gradient_difference(error, known)) == 0
    assert float(gradient_difference(error, torch.zeros_like(known))) == 0


def start_of(path, recipe: Recipe) -> None:
    torch.manual_seed(3)
    network = recipe.network.build()
    save_checkpoint(path, {"recipe": to_yaml(recipe), "network": network.state_dict()})


def test_a_recipe_begins_with_the_weights_that_it_names(tmp_path):
    start_of(tmp_path / "start.pt", FAST)
    recipe = replace(FAST, start=str(tmp_path / "start.pt"))
    network = FAST.network.build()
    begin(network, recipe)
    for name, value in read_start(recipe.start).weights.items():
        assert torch.equal(network.state_dict()[name], value)


def test_weights_of_another_network_are_refused(tmp_path):
    start_of(tmp_path / "start.pt", replace(FAST, network=replace(FAST.network, width=8)))
    recipe = replace(FAST, start=str(tmp_path / "start.pt"))
    with pytest.raises(BadInputError, match="--start"):
        begin(recipe.network.build(), recipe)


def test_no_start_leaves_the_random_weights():
    network = FAST.network.build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    begin(network, FAST)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_start_is_part_of_the_recipe_in_yaml():
    assert "start: shipped" in to_yaml(replace(FAST, start="shipped"))
    assert "start: ''" in to_yaml(with_steps(FAST, 3))
