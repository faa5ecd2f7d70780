"""Networks of view synthesis: sizes, limits, the order of time, and weights that the user has fetched."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Pinhole, RigidMotion
from depthscope.networks import (
    DepthPrediction,
    DepthRange,
    DispNet,
    NetworkOptions,
    PairPose,
    ResidualDisparity,
    ResidualEncoder,
    ResUNet,
    SnippetNetwork,
    SnippetPose,
    SnippetPrediction,
)
from depthscope.networks.disparity import MultiScale, disparities_of
from depthscope.networks.residual_encoder import BLOCKS, MEAN, SPREAD
from depthscope.networks.snippet_network import corrected, depth_weights

SMALL = DispNet(widths=(8, 8, 8, 8, 8, 8, 8))
LITTLE_POSE = SnippetPose(widths=(4, 4, 4, 4, 4), deep=4)


def millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: ResidualDisparity().build(), 14.33),
        (lambda: DispNet().build(), 31.60),
        (lambda: PairPose().build((True, False)), 12.50),
        (lambda: SnippetPose().build((True, False)), 1.59),
    ],
    ids=["monodepth2", "sfmlearner", "pair pose", "snippet pose"],
)
def test_they_have_the_published_number_of_parameters(network, expected):
    assert millions(network()) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("layers", sorted(BLOCKS))
def test_encoders_have_the_published_number_of_parameters(layers):
    with torch.device("meta"):
        encoder = ResidualEncoder(layers).build()
    published = {18: 11.690, 34: 21.798, 50: 25.557, 101: 44.549, 152: 60.193}[layers]  # with the classifier
    classifier = (encoder.channels[-1] + 1) * 1000 / 1e6
    assert millions(encoder) + classifier == pytest.approx(published, abs=0.001)


@pytest.mark.parametrize("options", [ResidualDisparity(), SMALL], ids=["monodepth2", "sfmlearner"])
def test_disparity_comes_at_four_sizes_within_its_limits(options):
    assert isinstance(options, NetworkOptions)
    torch.manual_seed(0)
    network = options.build().eval()
    assert isinstance(network, MultiScale)
    maps = network.disparities(images(2, 3, 64, 96))
    assert [tuple(one.shape) for one in maps] == [(2, 64, 96), (2, 32, 48), (2, 16, 24), (2, 8, 12)]
    low, high = 1 / options.depth.furthest, 1 / options.depth.nearest
    assert all(low < one.min().item() and one.max().item() < high for one in maps)
    prediction = network(images(2, 3, 64, 96))
    assert isinstance(prediction, DepthPrediction)
    assert torch.allclose(prediction.depth, 1 / maps[0], 1e-5)
    with pytest.raises(BadInputError, match="sides divisible"):
        network(images(1, 3, 60, 91))


@pytest.mark.parametrize("options", [ResidualDisparity(), DispNet()], ids=["monodepth2", "sfmlearner"])
def test_a_new_network_sees_a_wall_at_about_its_start(options):
    torch.manual_seed(0)
    depth = options.build()(images(2, 3, 64, 96)).depth
    assert 0.7 < depth.log().mean().exp().item() < 1.4


def test_odd_sides_of_the_coarse_maps_are_met():
    maps = SMALL.build().disparities(images(1, 3, 40, 104))  # 104 / 16 = 6.5
    assert [tuple(one.shape[1:]) for one in maps] == [(40, 104), (20, 52), (10, 26), (5, 13)]
    pose = SnippetPose(explainability=True).build((True, False))
    explained = pose(images(1, 3, 3, 40, 104)).explained
    assert [tuple(one.shape) for one in explained] == [
        (1, 2, 2, *size) for size in ((40, 104), (20, 52), (10, 26), (5, 13))
    ]


def test_limits_of_depth_are_met_and_depth_falls_with_the_output():
    limits = DepthRange(0.1, 100.0)
    sigma = torch.linspace(0, 1, 11, dtype=torch.float64)
    depth = 1 / limits.disparity(sigma)
    assert depth[0].item() == pytest.approx(100.0) and depth[-1].item() == pytest.approx(0.1)
    assert bool((depth.diff() < 0).all())
    sfmlearner = DispNet().depth.disparity(sigma)
    assert torch.allclose(sfmlearner, 0.01 + 10 * sigma, 0, 1e-12)
    assert limits.disparity(torch.sigmoid(torch.tensor(limits.start_logit))).item() == pytest.approx(1.0)
    for wrong in ((2.0, 1.0), (0.1, 10.0, 20.0)):
        with pytest.raises(BadInputError):
            DepthRange(*wrong)


def test_a_network_of_one_size_gives_its_depth_as_one_disparity():
    network = ResUNet(width=8, levels=2).build()
    frames = images(1, 3, 16, 24)
    (disparity,) = disparities_of(network, frames)
    assert torch.allclose(disparity, 1 / network(frames).depth)


# --- motions


@pytest.mark.parametrize("options", [PairPose(), LITTLE_POSE], ids=["pair", "snippet"])
def test_motions_start_near_rest_and_can_leave_it(options):
    torch.manual_seed(0)
    network = options.build((True, False))
    motions = network(images(2, 3, 3, 64, 64))
    assert motions.rotation.shape == (2, 2, 3, 3) and motions.translation.shape == (2, 2, 3)
    found = motions.source_from_target
    assert not any(found.to(torch.float64).defects(1e-5))
    assert found.angle_rad.max().item() < 0.1 and found.translation.abs().max().item() < 0.1
    loss = motions.rotation[..., 0, 1].sum() + motions.translation.sum()
    loss.backward()
    last = [p for p in network.parameters() if p.requires_grad][-2]
    assert float(last.grad.abs().max()) > 0


def test_a_pair_is_seen_in_the_order_of_time():
    torch.manual_seed(0)
    network = PairPose(width=16).build((True, False)).eval()
    for p in network.motion.parameters():
        p.data *= 3  # motions that can be told apart
    a, b = images(1, 3, 64, 64), images(1, 3, 64, 64, seed=1)
    # target b with the earlier source a, and target a with the later source b
    a_from_b = network(torch.stack([b, a, a], 1)).source_from_target[:, 0]
    b_from_a = network(torch.stack([a, b, b], 1)).source_from_target[:, 1]
    still = a_from_b @ b_from_a
    assert float(b_from_a.translation.norm()) > 1e-4
    assert torch.allclose(still.rotation[0], torch.eye(3), 0, 1e-6)
    assert float(still.translation.abs().max()) < 1e-7


def test_translations_and_angles_come_in_the_published_order():
    network = LITTLE_POSE.build((True,))
    last = network.turn[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    motion = network(images(1, 2, 3, 64, 64)).source_from_target[0, 0]
    assert torch.allclose(motion.translation, torch.tensor([0.01, 0.02, 0.03]))
    expected = RigidMotion.from_euler(torch.tensor([0.04, 0.05, 0.06]), torch.zeros(3)).rotation
    assert torch.allclose(motion.rotation, expected)


# --- weights from a file


def torchvision_like(layers: int = 18, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the names and in the shapes of a published residual network of basic blocks."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}

    def convolution(name: str, outputs: int, inputs: int, side: int) -> None:
        weights[f"{name}.weight"] = torch.randn(outputs, inputs, side, side, generator=generator)
        weights[f"{name}.weight"] *= (2 / (inputs * side * side)) ** 0.5

    def normalisation(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean"):
            weights[f"{name}.{part}"] = torch.randn(channels, generator=generator) * 0.1 + (part == "weight")
        weights[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5

    convolution("conv1", 64, 3, 7)
    normalisation("bn1", 64)
    inputs = 64
    for group, (width, count) in enumerate(zip((64, 128, 256, 512), BLOCKS[layers], strict=True), 1):
        for block in range(count):
            name = f"layer{group}.{block}"
            convolution(f"{name}.conv1", width, inputs, 3)
            normalisation(f"{name}.bn1", width)
            convolution(f"{name}.conv2", width, width, 3)
            normalisation(f"{name}.bn2", width)
            if inputs != width:
                convolution(f"{name}.downsample.0", width, inputs, 1)
                normalisation(f"{name}.downsample.1", width)
            inputs = width
    weights |= {"fc.weight": torch.randn(1000, 512, generator=generator), "fc.bias": torch.zeros(1000)}
    return weights


def residual_features(weights: dict[str, torch.Tensor], frames: torch.Tensor) -> list[torch.Tensor]:
    """He et al. 2016 written out over a dictionary of weights."""

    def normalised(x, name):
        return functional.batch_norm(
            x, *(weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        )

    def convolved(x, name, stride):
        kernel = weights[f"{name}.weight"]
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    x = functional.relu(normalised(convolved((frames - MEAN) / SPREAD, "conv1", 2), "bn1"))
    features = [x]
    x = functional.max_pool2d(x, 3, 2, 1)
    for group in range(1, 5):
        for block in range(2):
            name, stride = f"layer{group}.{block}", 2 if group > 1 and block == 0 else 1
            inner = functional.relu(normalised(convolved(x, f"{name}.conv1", stride), f"{name}.bn1"))
            inner = normalised(convolved(inner, f"{name}.conv2", 1), f"{name}.bn2")
            if f"{name}.downsample.0.weight" in weights:
                x = normalised(convolved(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = functional.relu(inner + x)
        features.append(x)
    return features


def test_published_weights_give_the_published_network(tmp_path):
    weights = torchvision_like()
    torch.save(weights, tmp_path / "resnet18.pth")
    options = ResidualDisparity(ResidualEncoder(weights=str(tmp_path / "resnet18.pth")))
    network = options.build().eval()
    before = network.encoder.conv1.weight.clone()
    options.load_start(network)
    assert not torch.equal(before, network.encoder.conv1.weight)
    frames = images(2, 3, 64, 96)
    for found, expected in zip(network.encoder(frames), residual_features(weights, frames), strict=True):
        assert torch.allclose(found, expected, 1e-4, 1e-4)


def test_two_equal_frames_give_the_features_of_one(tmp_path):
    torch.save(torchvision_like(), tmp_path / "resnet18.pth")
    one, two = ResidualEncoder().build().eval(), ResidualEncoder().build(images=2).eval()
    for encoder in (one, two):
        encoder.load(tmp_path / "resnet18.pth")
    frames = images(1, 3, 64, 64)
    doubled = two(torch.cat([frames, frames], 1))
    for found, expected in zip(doubled, one(frames), strict=True):
        assert torch.allclose(found, expected, 1e-4, 1e-4)


def test_wrong_files_of_weights_are_told(tmp_path):
    encoder = ResidualEncoder(34).build()
    torch.save(torchvision_like(18), tmp_path / "18.pth")
    with pytest.raises(BadInputError, match="does not fit the encoder.*number of layers"):
        encoder.load(tmp_path / "18.pth")
    with pytest.raises(BadInputError, match="is missing"):
        encoder.load(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(BadInputError, match="cannot be read"):
        encoder.load(tmp_path / "text.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BadInputError, match="no residual network"):
        encoder.load(tmp_path / "other.pth")


# --- as one module


def test_with_images_alone_it_is_the_depth_network():
    depth, pose = SMALL.build(), LITTLE_POSE.build((True, False))
    network = SnippetNetwork(depth, pose, learn_camera=True).eval()
    frames = images(2, 3, 3, 32, 32)
    alone = network(frames[:, 0])
    assert isinstance(alone, DepthPrediction) and torch.equal(alone.log_depth, depth(frames[:, 0]).log_depth)
    everything = network(frames[:, 0], frames[:, 1:])
    assert isinstance(everything, SnippetPrediction) and everything.motions.translation.shape == (2, 2, 3)
    assert everything.source_disparities is None and everything.camera.tolist() == [0.0] * 4
    weights = depth_weights(network.state_dict())
    assert weights.keys() == depth.state_dict().keys()


def test_depth_of_the_sources_is_theirs():
    depth = SMALL.build().eval()
    network = SnippetNetwork(depth, None, of_sources=True).eval()
    frames = images(2, 3, 3, 32, 32)
    found = network(frames[:, 0], frames[:, 1:])
    for number in (1, 2):
        expected = depth.disparities(frames[:, number])[0]
        assert torch.allclose(found.source_disparities[:, number - 1], expected, 1e-5, 1e-6)
    assert torch.allclose(found.disparities[2], depth.disparities(frames[:, 0])[2], 1e-5, 1e-6)
    stereo = network(frames[:, 0], frames[:, :0])
    assert stereo.source_disparities is None and stereo.motions is None


def test_a_correction_of_the_camera_is_in_focal_lengths():
    camera = Pinhole(torch.tensor([[[50.0, 40.0]]]), torch.tensor([[[30.0, 20.0]]]))
    correction = torch.tensor([np.log(2.0), 0.0, 0.1, -0.2], dtype=torch.float32)
    plain, turned = (corrected(camera, correction, torch.tensor([flipped])) for flipped in (False, True))
    assert torch.allclose(plain.focal_px, torch.tensor([100.0, 40.0]))
    assert torch.allclose(plain.centre_px, torch.tensor([35.0, 12.0]))
    assert torch.allclose(turned.centre_px, torch.tensor([25.0, 12.0]))
