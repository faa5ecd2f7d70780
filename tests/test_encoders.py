"""Encoders that move between tasks: adapters that fold, decoders, files of weights."""

from pathlib import Path

import pytest
import torch

from depthscope.errors import BadInputError
from depthscope.networks import ResUNet
from depthscope.networks.adapters import AdaptedEncoder, Colour, Luma, Sobel
from depthscope.networks.dense_decoder import DenseDecoder
from depthscope.networks.encoder import Encoder, EncoderOptions
from depthscope.networks.res_unet_encoder import ResUNetEncoder
from depthscope.networks.residual_encoder import ResidualEncoder

OPTIONS = [ResUNetEncoder(width=8), ResidualEncoder()]


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
