"""What a network keeps of the weights it started from."""

from dataclasses import replace

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.objectives.prior import gradient_difference
from depthscope.pretrained import read_start
from depthscope.pretrained.start import with_start
from depthscope.recipes import FAST, Recipe, to_yaml, with_steps
from depthscope.runs import train_recipe
from depthscope.runs.run import begin
from depthscope.training import load_checkpoint, save_checkpoint
from tiny_runs import TINY, tube_clip


def test_a_factor_costs_nothing_and_a_ramp_its_slope():
    known = torch.ones(2, 24, 32, dtype=torch.bool)
    assert float(gradient_difference(torch.full((2, 24, 32), 0.7), known)) == 0
    ramp = (0.01 * torch.arange(32.0)).expand(2, 24, 32)
    assert float(gradient_difference(ramp, known)) == pytest.approx(0.01 * (1 + 2 + 4 + 8), rel=1e-4)
    down = (0.02 * torch.arange(24.0))[:, None].expand(2, 24, 32)  # the other axis, at another slope
    assert float(gradient_difference(down, known)) == pytest.approx(0.02 * (1 + 2 + 4 + 8), rel=1e-4)
    assert float(gradient_difference(ramp + down, known)) == pytest.approx(0.03 * (1 + 2 + 4 + 8), rel=1e-4)
    short = down[:, :3]  # of 3 rows only steps of 1 and 2 have pairs down
    assert float(gradient_difference(short, known[:, :3])) == pytest.approx(0.02 * (1 + 2), rel=1e-4)


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
    with pytest.raises(BadInputError, match="--weights"):
        begin(recipe.network.build(), recipe)


def test_no_start_leaves_the_random_weights():
    network = FAST.network.build()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    begin(network, FAST)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_start_is_part_of_the_recipe_in_yaml():
    assert "start: shipped" in to_yaml(replace(FAST, start="shipped"))
    assert "start: ''" in to_yaml(with_steps(FAST, 3))


@pytest.fixture(scope="module")
def tube(tmp_path_factory):
    return tube_clip(tmp_path_factory.mktemp("start") / "tube")


def trained(tube, out, recipe: Recipe) -> dict[str, torch.Tensor]:
    train_recipe(recipe, [tube], out, quiet=True)
    return load_checkpoint(out / "checkpoint.pt")["network"]


def test_training_starts_from_the_weights_and_a_prior_holds_it_there(tmp_path, tube):
    network = replace(TINY.network, rays=True)
    start_of(tmp_path / "start.pt", replace(TINY, network=network))
    plain = replace(TINY, network=network, start=str(tmp_path / "start.pt"))
    held = replace(plain, objective=replace(plain.objective, prior_weight=50.0))
    begun = read_start(plain.start).weights
    far, near = (
        sum(float((weights[name] - begun[name]).abs().sum()) for name in begun)
        for weights in (trained(tube, tmp_path / "plain", plain), trained(tube, tmp_path / "held", held))
    )
    assert near > 0 and far > 0  # both moved, and the loss of the held one names what it kept
    assert "prior" in (tmp_path / "held" / "log.csv").read_text("utf-8").splitlines()[0]
    assert "prior" not in (tmp_path / "plain" / "log.csv").read_text("utf-8").splitlines()[0]


def test_start_takes_the_network_of_the_run(tmp_path):
    start_of(tmp_path / "start.pt", replace(TINY, network=replace(TINY.network, rays=True, uncertainty=True)))
    recipe = with_start(FAST, str(tmp_path / "start.pt"))
    assert recipe.network.rays and recipe.network.uncertainty and recipe.start == str(tmp_path / "start.pt")
    assert recipe.objective == FAST.objective
