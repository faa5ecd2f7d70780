"""Rays as channels: of pinholes and fisheyes, known and not known."""

import math

import pytest
import torch

from depthscope.geometry import Pinhole
from depthscope.networks import ResUNet
from depthscope.networks.ray_channels import channels_of, log_cosine, ray_channels, with_rays


def camera(focal: float = 40.0, centre: tuple[float, float] = (32.0, 16.0), count: int = 1) -> Pinhole:
    return Pinhole(torch.full((count, 2), focal), torch.tensor([centre] * count))


def test_a_channel_is_the_angle_from_the_axis_along_its_direction():
    rays = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, -2.0, 0.0], [3.0, 4.0, -5.0]])
    expected = torch.tensor(
        [[0.0, 0.0], [math.pi / 4, 0.0], [0.0, -math.pi / 2], [0.6 * 3 * math.pi / 4, 0.8 * 3 * math.pi / 4]]
    )
    torch.testing.assert_close(ray_channels(rays), expected)


def test_the_length_of_a_ray_does_not_matter_and_no_ray_is_zero():
    ray = torch.tensor([[0.3, -0.2, 1.0]])
    torch.testing.assert_close(ray_channels(7 * ray), ray_channels(ray))
    assert ray_channels(torch.full((2, 3), torch.nan)).abs().max() == 0


def test_channels_of_a_pinhole_are_those_of_its_rays():
    channels = channels_of(camera(), (64, 32))
    assert channels.shape == (1, 2, 32, 64)
    x, y = (10.5 - 32) / 40, (20.5 - 16) / 40
    angle = math.atan(math.hypot(x, y))
    expected = torch.tensor([x, y]) / math.hypot(x, y) * angle
    torch.testing.assert_close(channels[0, :, 20, 10], expected)


def test_z_is_the_cosine_of_the_distance():
    channels = channels_of(camera(), (64, 32))
    x, y = (torch.arange(64) + 0.5 - 32) / 40, (torch.arange(32) + 0.5 - 16) / 40
    cosine = 1 / (1 + x[None] ** 2 + y[:, None] ** 2).sqrt()
    torch.testing.assert_close(log_cosine(channels)[0], cosine.log(), atol=1e-6, rtol=1e-5)


def network(rays: bool) -> torch.nn.Module:
    torch.manual_seed(0)
    return ResUNet(width=8, levels=3, widest=16, uncertainty=True, rays=rays).build().eval()


def test_only_a_network_of_rays_is_given_them():
    images = torch.rand(2, 3, 32, 64)
    assert with_rays(network(False), images, camera(count=2)).shape[1] == 3
    assert with_rays(network(True), images, camera(count=2)).shape[1] == 5
    assert with_rays(network(True), images, None).shape[1] == 3


def test_without_a_camera_it_works_as_with_zeros():
    images, net = torch.rand(2, 3, 32, 64), network(True)
    zeros = net(torch.cat([images, torch.zeros(2, 2, 32, 64)], 1))
    torch.testing.assert_close(net(images).log_depth, zeros.log_depth)


def test_the_rays_reach_the_depth():
    images, net = torch.rand(1, 3, 32, 64), network(True)
    near, far = (net(with_rays(net, images, camera(focal))).log_depth for focal in (30.0, 60.0))
    assert (near - far).abs().max() > 1e-3


@pytest.mark.parametrize("focal", [10.0, 200.0])
def test_gradients_are_finite_also_for_wide_fields(focal):
    net = network(True)
    net(with_rays(net, torch.rand(1, 3, 32, 64), camera(focal))).log_depth.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)
