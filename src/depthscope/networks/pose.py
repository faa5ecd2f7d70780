"""Pose networks: from a target frame and its sources in time to the motions between them."""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import RigidMotion
from depthscope.networks.residual_encoder import ResidualEncoder

SMALL = 0.01
"""Factor on the outputs: a new network starts near rest."""


class Motions(NamedTuple):
    """What a pose network says of a batch of snippets.

    Attributes:
        rotation: Of source_from_target for each source, shape (batch, sources, 3, 3), float32.
        translation: Shape (batch, sources, 3), in the unit of the depth network.
        explained: Logits of how well each source explains the target, at four sizes, finest first, each of shape
            (batch, sources, 2, height, width); the second is "well explained". Empty where there are none.
    """

    rotation: Float[Tensor, "batch sources 3 3"]
    translation: Float[Tensor, "batch sources 3"]
    explained: tuple[Tensor, ...] = ()

    @property
    def source_from_target(self) -> RigidMotion:
        """The motions, batch shape (batch, sources)."""
        return RigidMotion(self.rotation, self.translation)


class PoseNetwork(Protocol):
    """Options of a pose network."""

    def build(self, before: tuple[bool, ...]) -> nn.Module:
        """A new module from snippets (batch, 1 + sources, 3, height, width) in 0..1, target first, to `Motions`.

        Args:
            before: Which of the sources lie before the target in time.
        """
        ...


@dataclass(frozen=True)
class SnippetPose:
    """The pose network of Zhou et al. 2017: sees target and sources at once; 1.59 million parameters for two sources.

    Attributes:
        widths: Channels of the strided convolutions that pose and mask share.
        deep: Channels of the last two, which are the pose's alone.
        explainability: Also predict for each source how well it explains the target, pixel by pixel.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    deep: int = 256
    explainability: bool = False

    def __post_init__(self) -> None:
        if len(self.widths) != 5 or min(*self.widths, self.deep) < 1:
            raise BadInputError(f"pose.widths {self.widths}, deep {self.deep}", "5 numbers of channels, and 1 or more")

    def build(self, before: tuple[bool, ...]) -> nn.Module:
        """See `PoseNetwork`; the order in time plays no part."""
        return SnippetPoseNetwork(self, len(before))


class SnippetPoseNetwork(nn.Module):
    """Strided convolutions with ReLU; the mean over the image of a 1x1 convolution gives six numbers per source."""

    def __init__(self, options: SnippetPose, sources: int) -> None:
        super().__init__()
        self.sources = sources
        kernels, widths = (7, 5, 3, 3, 3), options.widths
        inputs = (3 * (1 + sources), *widths[:-1])
        self.shared = nn.ModuleList(
            nn.Conv2d(i, o, k, 2, k // 2) for i, o, k in zip(inputs, widths, kernels, strict=True)
        )
        self.turn = nn.Sequential(
            nn.Conv2d(widths[-1], options.deep, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(options.deep, options.deep, 3, 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(options.deep, 6 * sources, 1),
        )
        self.rise, self.heads = nn.ModuleList(), nn.ModuleList()
        if options.explainability:
            up, back = tuple(reversed(widths)), (3, 3, 3, 5, 7)
            for number, (outputs, kernel) in enumerate(zip(up, back, strict=True)):
                before = widths[-1] if number == 0 else up[number - 1]
                self.rise.append(nn.ConvTranspose2d(before, outputs, kernel, 2, kernel // 2, output_padding=1))
                if number > 0:
                    self.heads.append(nn.Conv2d(outputs, 2 * sources, kernel, 1, kernel // 2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, images: Float[Tensor, "batch frames 3 height width"]) -> Motions:
        """Motions and masks of snippets whose images are in 0..1."""
        features = images.flatten(1, 2) * 2 - 1
        sizes = []
        for convolution in self.shared:
            sizes.append(features.shape[-2:])
            features = functional.relu(convolution(features))
        six = SMALL * self.turn(features).float().mean((-1, -2)).unflatten(1, (self.sources, 6))
        angles = six[..., 3:].clamp(-torch.pi, torch.pi)
        motion = RigidMotion.from_euler(angles, six[..., :3])
        explained = []
        for number, rise in enumerate(self.rise):
            features = functional.relu(rise(features))
            size = sizes[len(sizes) - 1 - number]
            features = features[..., : size[0], : size[1]]  # an odd side was rounded up on the way down
            if number > 0:
                explained.insert(0, self.heads[number - 1](features).float().unflatten(1, (self.sources, 2)))
        return Motions(motion.rotation, motion.translation, tuple(explained))


@dataclass(frozen=True)
class PairPose:
    """The pose network of Godard et al. 2019: a residual encoder of two stacked frames; 12.5 million parameters.

    Attributes:
        encoder: Its options; ImageNet weights are repeated for the two frames and halved.
        width: Channels behind it.
    """

    encoder: ResidualEncoder = field(default_factory=ResidualEncoder)
    width: int = 256

    def __post_init__(self) -> None:
        if self.width < 1:
            raise BadInputError(f"pose.width {self.width}", "1 or more")

    def build(self, before: tuple[bool, ...]) -> nn.Module:
        """See `PoseNetwork`."""
        return PairPoseNetwork(self, before)

    def load_start(self, network: nn.Module) -> None:
        """Takes the encoder's weights from the file that the options name, if they name one."""
        if self.encoder.weights:
            assert isinstance(network, PairPoseNetwork)
            network.encoder.load(self.encoder.weights)


class PairPoseNetwork(nn.Module):
    """Sees the two frames in the order of time, and inverts the motion for a source that lies before the target."""

    def __init__(self, options: PairPose, before: tuple[bool, ...]) -> None:
        super().__init__()
        self.before = before
        self.encoder = options.encoder.build(images=2)
        self.motion = nn.Sequential(
            nn.Conv2d(options.encoder.channels[-1], options.width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(options.width, options.width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(options.width, options.width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(options.width, 12, 1),  # as published: two motions, of which the first is used
        )

    def forward(self, images: Float[Tensor, "batch frames 3 height width"]) -> Motions:
        """Motions of snippets whose images are in 0..1."""
        target, sources = images[:, 0], images[:, 1:].unbind(1)
        pairs = [
            torch.cat([source, target] if back else [target, source], 1)
            for source, back in zip(sources, self.before, strict=True)
        ]
        later_from_earlier = self.later_from_earlier(torch.cat(pairs)).unflatten(0, (len(pairs), -1)).unbind(0)
        motions = []
        for numbers, back in zip(later_from_earlier, self.before, strict=True):
            motion = RigidMotion.from_axis_angle(numbers[:, :3], numbers[:, 3:6])
            motions.append(motion.inverse() if back else motion)
        return Motions(
            torch.stack([motion.rotation for motion in motions], 1),
            torch.stack([motion.translation for motion in motions], 1),
        )

    def later_from_earlier(self, pairs: Float[Tensor, "pairs 6 height width"]) -> Float[Tensor, "pairs 12"]:
        """Rotation vectors and translations, twice, of the motion from the first frame to the second."""
        return SMALL * self.motion(self.encoder(pairs)[-1]).float().mean((-1, -2))


@dataclass(frozen=True)
class KnownMotion:
    """No pose network: motions come from structure from motion, or from the calibration of two eyes."""
