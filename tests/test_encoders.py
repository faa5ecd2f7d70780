"""Encoders that move between tasks: adapters that fold, decoders, files of weights."""

import re
from pathlib import Path

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.networks import ResidualDisparity, ResUNet
from depthscope.networks.adapters import AdaptedEncoder, Colour, Luma, Sobel
from depthscope.networks.dense_decoder import DenseDecoder
from depthscope.networks.efficient_encoder import EfficientEncoder
from depthscope.networks.encoder import Encoder, EncoderOptions, started
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.networks.residual_encoder import ResidualEncoder
from depthscope.pretrained import read_start
from depthscope.pretrained.encoders import IMAGENET, IMAGENET_WEIGHTS, encoder_named, steps_of, with_encoder
from depthscope.recipes import recipe_named

OPTIONS = [ResUNetEncoder(width=8), ResidualEncoder(), EfficientEncoder()]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("adapter", [Colour(), Luma(), Sobel()])
def test_an_adapter_folds_into_the_first_convolution(options: EncoderOptions, adapter) -> None:
    torch.manual_seed(0)
    adapted = AdaptedEncoder(options.build(), adapter).eval()
    images = torch.rand(2, 3, 64, 96)
    before = adapted.encoder.first(adapter(adapted.encoder.normalised(images)))
    folded = adapted.folded()
    after = folded.first(folded.normalised(images))
    inside = slice(3, -3)
    assert torch.allclose(before[..., inside, inside], after[..., inside, inside], atol=3e-6)
    assert isinstance(folded, Encoder)
    grown = 2 if isinstance(adapter, Sobel) else 0
    assert folded.first.weight.shape[-1] == adapted.encoder.first.weight.shape[-1] + grown


def test_luma_sees_no_colour_and_sobel_no_brightness() -> None:
    images = torch.rand(1, 3, 8, 8)
    luma = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(Luma()(images), Luma()(luma), atol=1e-6)
    assert torch.allclose(Sobel()(images + 0.3), Sobel()(images), atol=1e-6)
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    assert torch.allclose(Sobel()(ramp)[0, 0, 1:-1, 1:-1], torch.ones(6, 6)) and not Sobel()(ramp)[0, 1].any()


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_a_dense_decoder_gives_its_stride(options: EncoderOptions, stride: int) -> None:
    images = torch.rand(1, 3, 64, 96)
    out = DenseDecoder(options.channels, 5, stride)(options.build()(images), images)
    assert out.shape == (1, 5, 64 // stride, 96 // stride)


def test_a_decoder_of_an_odd_stride_is_refused() -> None:
    for stride in (0, 3, 64):
        with pytest.raises(BadInputError, match="decoder of stride"):
            DenseDecoder((8, 8, 8, 8, 8), 2, stride)


def test_depth_starts_from_an_encoder_file_and_leaves_heads_behind(tmp_path: Path) -> None:
    learned = AdaptedEncoder(ResUNetEncoder(width=8).build(), Sobel()).folded()
    torch.save(learned.state_dict(), tmp_path / "encoder.pt")
    options = ResUNet(width=8, stem=5, weights=str(tmp_path / "encoder.pt"))
    network = options.build()
    head = network.head.outputs.weight.clone()
    options.load_start(network)
    for name, value in learned.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value)
    assert torch.equal(network.head.outputs.weight, head)
    with pytest.raises(BadInputError, match="does not fit the encoder"):
        ResUNet(width=8, weights=str(tmp_path / "encoder.pt")).load_start(ResUNet(width=8).build())
    with pytest.raises(BadInputError, match="stem 4"):
        ResUNet(stem=4)


def test_efficientnet_pads_as_the_published_weights_expect() -> None:
    torch.manual_seed(0)
    encoder = EfficientEncoder().build().eval()
    images = torch.rand(1, 3, 64, 96)
    maps = encoder(images)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    normal = encoder.normalised(images)
    stem = torch.nn.functional.conv2d(torch.nn.functional.pad(normal, (0, 1, 0, 1)), encoder.first.weight, stride=2)
    block = encoder.blocks[0](
        torch.nn.functional.relu6(encoder.bn0(stem))
    )  # TensorFlow's "same", at the far side alone
    assert torch.allclose(block, maps[0], atol=1e-5)


def test_efficientnet_takes_published_names_and_leaves_the_classifier(tmp_path: Path) -> None:
    learned = EfficientEncoder().build()
    layers = re.compile(r"\b(blocks|conv_stem|bn\d|expand_conv|depthwise_conv|project_conv)\b")
    published = {layers.sub(r"_\1", name): value for name, value in learned.state_dict().items()}
    assert "_blocks.1._expand_conv.weight" in published and "_blocks.1._bn0.running_mean" in published
    torch.save({**published, "_fc.weight": torch.ones(1), "_bn1.bias": torch.ones(1)}, tmp_path / "published.pth")
    options = EfficientEncoder(str(tmp_path / "published.pth"), frozen=True)
    network = ResidualDisparity(options).build()
    ResidualDisparity(options).load_start(network)
    for name, value in learned.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value)
    network.train()
    assert not network.encoder.training and not any(one.requires_grad for one in network.encoder.parameters())
    torch.save(ResUNetEncoder(width=8).build().state_dict(), tmp_path / "other.pt")
    with pytest.raises(BadInputError, match="no EfficientNet"):
        EfficientEncoder(str(tmp_path / "other.pt")).build().load(tmp_path / "other.pt")


def test_imagenet_weights_come_from_their_package() -> None:
    if IMAGENET_WEIGHTS.path is None:
        with pytest.raises(BadInputError, match=r"depthscope\[imagenet\]"):
            encoder_named(IMAGENET)
        return
    encoder = started(encoder_named(IMAGENET)).eval()
    assert isinstance(encoder, Encoder) and steps_of(IMAGENET) == 0
    images = torch.nn.functional.interpolate(torch.rand(4, 3, 6, 6), (192, 192), mode="bicubic").clamp(0, 1)
    seen = []
    encoder.blocks[0].bn1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    encoder(images)
    expected, spread = encoder.blocks[0].bn1.running_mean, encoder.blocks[0].bn1.running_var.sqrt()
    assert float(((seen[0].mean((0, 2, 3)) - expected) / spread).abs().median()) < 0.6  # as at their own training


def test_the_encoder_of_the_weights_that_ship_moves_alone() -> None:
    options = encoder_named("shipped")
    network = read_start("shipped").network.build()
    network.load_state_dict(read_start("shipped").weights)
    images = torch.rand(1, 3, 64, 64)
    found, expected = started(options)(images), network.encoder(images)
    assert all(torch.allclose(one, other) for one, other in zip(found, expected, strict=True))
    recipe = with_encoder(recipe_named("fast"), "shipped")
    assert recipe.network.widest == 256 and recipe.network.weights.endswith("depth.pt") and not recipe.network.rays
    with pytest.raises(BadInputError, match="a ResUNetEncoder for the network"):
        with_encoder(recipe_named("monodepth2-m"), "shipped")
