"""Every depth network: shapes, sizes, gradients, and what it does at the extremes."""

import copy
from dataclasses import replace

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.networks import DepthPrediction, NetworkOptions, ResUNet, as_prediction
from depthscope.networks.depth_head import LOG_RANGE, LOG_STD_RANGE
from depthscope.networks.fc_densenet import FCDENSENET_67, FCDENSENET_103, FCDenseNet
from depthscope.networks.red_net import RedNet

NETWORKS = {
    "res_unet": ResUNet(width=8, levels=3),
    "red_net": RedNet(width=4, stages=3),
    "red_net_normalised": RedNet(width=4, stages=3, depth=1, normalised=True),
    "fc_densenet": FCDenseNet(layers=(2, 2, 2), bottleneck=2, growth=4, first=8),
    "fc_densenet_checkpointed": FCDenseNet(layers=(2, 2, 2), bottleneck=2, growth=4, first=8, checkpointing=True),
}

networks = pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS.keys())


def images(batch: int = 2, height: int = 32, width: int = 48) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def parameters(options: NetworkOptions) -> int:
    return sum(p.numel() for p in options.build().parameters())


@networks
def test_depth_has_the_size_of_the_image(options):
    assert isinstance(options, NetworkOptions)
    prediction = options.build()(images())
    assert isinstance(prediction, DepthPrediction)
    assert prediction.log_depth.shape == (2, 32, 48)
    assert prediction.log_depth.dtype == torch.float32
    assert prediction.log_std is None


@networks
def test_uncertainty_is_bounded(options):
    prediction = replace(options, uncertainty=True).build()(images())
    low, high = LOG_STD_RANGE
    assert prediction.log_std.shape == (2, 32, 48)
    assert bool((prediction.log_std > low).all()) and bool((prediction.log_std < high).all())


@networks
@pytest.mark.parametrize(("height", "width"), [(33, 48), (32, 44), (36, 36)])
def test_a_side_that_does_not_divide_is_told(options, height, width):
    with pytest.raises(BadInputError, match=f"{width} x {height} pixels.*divisible by {options.divisor}"):
        options.build()(images(height=height, width=width))


@networks
def test_gradients_reach_every_parameter(options):
    torch.manual_seed(3)
    network = replace(options, uncertainty=True).build()
    prediction = network(images())
    (prediction.log_depth.square().mean() + prediction.log_std.mean()).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not still


@networks
@pytest.mark.parametrize("training", [True, False])
def test_extreme_images_give_finite_depth_and_gradients(options, training):
    network = options.build().train(training)
    for value in (0.0, 1.0):
        prediction = network(torch.full((2, 3, 32, 48), value))
        assert bool(prediction.depth.isfinite().all()) and bool((prediction.depth > 0).all())
        assert float(prediction.log_depth.detach().abs().max()) <= LOG_RANGE
        network.zero_grad()
        prediction.log_depth.mean().backward()
        assert all(bool(p.grad.isfinite().all()) for p in network.parameters())


@networks
def test_a_new_network_starts_near_a_flat_wall(options):
    torch.manual_seed(0)
    assert float(options.build()(images()).log_depth.detach().abs().max()) < 0.7


@networks
def test_memory_format_does_not_matter(options):
    torch.manual_seed(0)
    network = options.build().eval()
    plain = network(images()).log_depth
    other = network.to(memory_format=torch.channels_last)(images().contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(other.log_depth, plain, atol=1e-5, rtol=1e-5)


@networks
def test_a_frame_does_not_know_its_batch_in_prediction(options):
    network = options.build().eval()
    both = network(images())
    torch.testing.assert_close(network(images()[:1]).log_depth, both.log_depth[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "millions"),
    [(FCDenseNet(), 1.375), (FCDENSENET_67, 3.46), (FCDENSENET_103, 9.32)],
    ids=["57", "67", "103"],
)
def test_fc_densenet_has_the_published_number_of_parameters(options, millions):
    assert parameters(options) / 1e6 == pytest.approx(millions, abs=0.5 * 10 ** -len(str(millions).split(".")[1]))
    assert options.divisor == 32


def test_red_net_takes_the_size_of_the_paper():
    assert RedNet().divisor == 16
    assert 464 % RedNet().divisor == 0 and 512 % RedNet().divisor == 0


def test_checkpointing_changes_memory_and_nothing_else():
    options = FCDenseNet(layers=(2, 2), bottleneck=2, growth=4, first=8)
    kept = options.build()
    again = replace(options, checkpointing=True).build()
    again.load_state_dict(copy.deepcopy(kept.state_dict()))
    for network in (kept, again):
        network(images()).log_depth.square().mean().backward()
    for (name, a), b in zip(kept.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, msg=name)
    for (name, a), (_, b) in zip(kept.named_buffers(), again.named_buffers(), strict=True):
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(b, a, msg=name)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RedNet(width=6),
        lambda: RedNet(stages=0),
        lambda: RedNet(widest=8),
        lambda: RedNet(depth=0),
        lambda: FCDenseNet(layers=()),
        lambda: FCDenseNet(layers=(4, 0)),
        lambda: FCDenseNet(growth=0),
        lambda: ResUNet(width=3),
    ],
)
def test_options_that_make_no_network_are_refused(wrong):
    with pytest.raises(BadInputError, match="network."):
        wrong()


def test_a_plugged_in_network_may_return_depth():
    depth = torch.full((2, 1, 4, 6), 2.0)
    torch.testing.assert_close(as_prediction(depth).depth, depth[:, 0])
    with pytest.raises(ValueError, match="positive"):
        as_prediction(depth - 2)


def test_a_narrow_network_trains_in_channels_last() -> None:
    """A strided 1x1 convolution of 8 channels wrote beyond its memory here (torch 2.13, CPU)."""
    network = ResUNet(width=8).build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(4, 3, 128, 160).contiguous(memory_format=torch.channels_last)
    for _ in range(3):
        network(images).log_depth.mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
