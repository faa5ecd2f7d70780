"""A network that sees, one that hears, and how their answers are compared: as wholes, or place by place."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.networks.adapters import AdaptedEncoder, Colour
from depthscope.networks.encoder import EncoderOptions, started
from depthscope.networks.res_unet_encoder import convolution

EMBEDDING = 128

FIRM = 3.0
"""How firmly two unit vectors that are closer than 1 are first taken to correspond."""

Images = Float[Tensor, "batch 3 height width"]
Heard = Float[Tensor, "batch 1 frequencies times"]
Maps = Float[Tensor, "batch rows columns"]


class AudioTrunk(nn.Module):
    """Four blocks of two 3x3 convolutions on a spectrogram, each twice as wide as the one before, then the maximum.

    Args:
        width: Channels of the first block; the paper has 64.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(4)]
        self.blocks = nn.ModuleList(
            nn.Sequential(convolution(inputs, outputs, 2 if number == 0 else 1), convolution(outputs, outputs))
            for number, (inputs, outputs) in enumerate(zip([1, *widths[:-1]], widths, strict=True))
        )
        self.head = head(widths[-1])

    def forward(self, heard: Heard) -> Float[Tensor, "batch 128"]:
        """A vector for each snippet."""
        features = heard
        for number, block in enumerate(self.blocks):
            features = block(functional.max_pool2d(features, 2) if number else features)
        return self.head(features.amax((-1, -2), keepdim=True)).flatten(1)


def head(channels: int) -> nn.Sequential:
    """Two fully connected layers, as convolutions of one pixel, behind batch normalisation.

    What a new network sees, and hears, has nearly the same vector whatever it is; without taking off the mean over the
    batch nothing is learned here.
    """
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.Conv2d(channels, EMBEDDING, 1, bias=False),
        nn.BatchNorm2d(EMBEDDING),
        nn.ReLU(),
        nn.Conv2d(EMBEDDING, EMBEDDING, 1),
    )


class Senses(nn.Module):
    """Sight and hearing, before they are compared.

    Attributes:
        encoder: What moves on to other tasks.
    """

    def __init__(self, options: EncoderOptions, stride: int, audio_width: int, *, start: bool = True) -> None:
        super().__init__()
        self.encoder = AdaptedEncoder(started(options) if start else options.build(), Colour())
        if stride not in self.encoder.strides:
            raise BadInputError(f"stride {stride}", f"one of {', '.join(map(str, self.encoder.strides))}")
        self.place = self.encoder.strides.index(stride)
        self.sight = head(self.encoder.channels[self.place])
        self.hearing = AudioTrunk(audio_width)

    def seen(self, images: Images) -> Float[Tensor, "batch channels rows columns"]:
        """Features of each place."""
        return self.encoder(images)[self.place]


class WholeSenses(Senses):
    """Sight and hearing with one vector for each frame and each sound."""

    def of_images(self, images: Images) -> Float[Tensor, "batch 128"]:
        """Unit vectors of frames."""
        return functional.normalize(self.sight(self.seen(images).amax((-1, -2), keepdim=True)).flatten(1), dim=1)

    def of_sounds(self, heard: Heard) -> Float[Tensor, "batch 128"]:
        """Unit vectors of sounds."""
        return functional.normalize(self.hearing(heard), dim=1)


class Correspondence(WholeSenses):
    """AVE-Net: the distance between what is seen and what is heard decides whether they belong together."""

    def __init__(self, options: EncoderOptions, stride: int, audio_width: int, *, start: bool = True) -> None:
        super().__init__(options, stride, audio_width, start=start)
        self.judge = nn.Linear(1, 2)
        # Near corresponds: with the other sign vectors that point away from each other would do as well.
        self.judge.weight.data = torch.tensor([[FIRM], [-FIRM]])
        self.judge.bias.data = torch.tensor([-FIRM, FIRM])

    def forward(self, images: Images, heard: Heard) -> Float[Tensor, "batch 2"]:
        """Logits of "another moment" and "the same moment"."""
        return self.judge(distance(self.of_images(images).float(), self.of_sounds(heard).float())[:, None])


class FusedCorrespondence(WholeSenses):
    """L3-Net (Arandjelovic and Zisserman, ICCV 2017): two layers over both vectors, joined, decide.

    Nothing asks that a frame and its sound have the same vector: frames are found by frames, hardly by sounds.
    """

    def __init__(self, options: EncoderOptions, stride: int, audio_width: int, *, start: bool = True) -> None:
        super().__init__(options, stride, audio_width, start=start)
        self.judge = nn.Sequential(nn.Linear(2 * EMBEDDING, EMBEDDING), nn.ReLU(), nn.Linear(EMBEDDING, 2))

    def forward(self, images: Images, heard: Heard) -> Float[Tensor, "batch 2"]:
        """Logits of "another moment" and "the same moment"."""
        seen = self.sight(self.seen(images).amax((-1, -2), keepdim=True)).flatten(1)
        return self.judge(torch.cat([seen, self.hearing(heard)], 1).relu())


class Localisation(Senses):
    """AVOL-Net: each place is compared with the sound by a scalar product; the best one decides.

    Vectors keep their length, since what makes no sound should answer to none.
    """

    def __init__(self, options: EncoderOptions, stride: int, audio_width: int, *, start: bool = True) -> None:
        super().__init__(options, stride, audio_width, start=start)
        self.judge = nn.Conv2d(1, 1, 1)

    def products(self, images: Images, heard: Heard) -> Maps:
        """The scalar product of the sound with each place."""
        return torch.einsum("bcrk,bc->brk", self.sight(self.seen(images)).float(), self.hearing(heard).float())

    def forward(self, images: Images, heard: Heard) -> Maps:
        """The logit of each place."""
        return self.judge(self.products(images, heard)[:, None])[:, 0]

    def start_from(self, other: WholeSenses) -> None:
        """Takes sight and hearing of the network that compares wholes."""
        mine = {name: value for name, value in other.state_dict().items() if not name.startswith("judge.")}
        self.load_state_dict(mine | {f"judge.{name}": value for name, value in self.judge.state_dict().items()})

    def centre(self, mean: float, spread: float) -> None:
        """Sets the judge so that best products of this mean and standard deviation become logits of 0 and 1."""
        self.judge.weight.data.fill_(1 / spread)
        assert self.judge.bias is not None
        self.judge.bias.data.fill_(-mean / spread)


class Listener(nn.Module):
    """Both networks of a run.

    Attributes:
        correspondence: AVE-Net, or L3-Net.
        localisation: AVOL-Net.
    """

    def __init__(
        self, options: EncoderOptions, stride: int, audio_width: int, *, fused: bool = False, start: bool = True
    ) -> None:
        super().__init__()
        wholes = FusedCorrespondence if fused else Correspondence
        self.correspondence = wholes(options, stride, audio_width, start=start)
        self.localisation = Localisation(options, stride, audio_width, start=False)
        self.localisation.start_from(self.correspondence)


def distance(one: Float[Tensor, "batch size"], other: Float[Tensor, "batch size"]) -> Float[Tensor, " batch"]:
    """Euclidean distance; the root has no slope at 0, hence not quite 0 there."""
    return ((one - other).square().sum(1) + 1e-8).sqrt()


def shown_places(
    content: Bool[Tensor, "batch height width"], rows: int, columns: int
) -> Bool[Tensor, "batch rows columns"]:
    """Places of which at least a half shows tissue; all where none does."""
    share = functional.adaptive_avg_pool2d(content[:, None].float(), (rows, columns))[:, 0]
    shown = share >= 0.5
    return shown | ~shown.flatten(1).any(1)[:, None, None]


def best(maps: Maps, shown: Bool[Tensor, "batch rows columns"]) -> Float[Tensor, " batch"]:
    """The largest value of each map among the places that are shown."""
    return maps.masked_fill(~shown, float("-inf")).flatten(1).amax(1)
