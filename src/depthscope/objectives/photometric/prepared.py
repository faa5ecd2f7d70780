"""A batch of snippets made ready for the objective: all that does not depend on depth is computed here, once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.geometry import Lens, RigidMotion
from depthscope.geometry.depth import MaskMaps, sample
from depthscope.geometry.scale import ScaleEstimator
from depthscope.networks import SnippetPrediction
from depthscope.networks.snippet_network import corrected
from depthscope.objectives.photometric.error import PhotometricError, Reference
from depthscope.objectives.photometric.light import AffineBrightness, Highlights
from depthscope.objectives.photometric.synthesis import Synthesis, synthesised
from depthscope.supervision import SnippetBatch


@dataclass(frozen=True, eq=False)
class PreparedSnippet:
    """A batch with everything decided: masks, cameras, motions, scale.

    Attributes:
        images: Target, sources in time, other eye; 0 outside the mask.
        mask: Where they show tissue and no highlight, shape (batch, frames, height, width), or None for everywhere.
        camera: Batch shape (batch, frames).
        motions: source_from_target of each source.
        factor: Brings the target's depth to the unit of the motions.
        supported: Samples for which it is known.
        target_depth: In that unit.
        source_depths: The same for the sources in time, or None where they were not predicted.
        explained: Logits of the explainability masks by scale; empty for none.
    """

    images: Float[Tensor, "batch frames 3 height width"]
    mask: Tensor | None
    camera: Lens
    motions: tuple[RigidMotion, ...]
    factor: Float[Tensor, " batch"]
    supported: Tensor
    target_depth: Float[Tensor, "batch height width"]
    source_depths: Float[Tensor, "batch offsets height width"] | None
    explained: tuple[Tensor, ...]

    @classmethod
    def of(
        cls,
        prediction: SnippetPrediction,
        batch: SnippetBatch,
        highlights: Highlights | None,
        estimator: ScaleEstimator,
    ) -> "PreparedSnippet":
        """What the objective needs of a batch.

        Raises:
            BadInputError: A source's motion is neither known nor predicted.
        """
        images, mask = batch.clean, batch.mask
        if mask is not None:  # what is outside must not reach anything, be it NaN
            images = torch.where(mask[:, :, None], images, 0.0)
        if highlights is not None:
            shiny = highlights(images.flatten(0, 1)).unflatten(0, images.shape[:2])
            mask = ~shiny if mask is None else mask & ~shiny
            images = torch.where(mask[:, :, None], images, 0.0)
        camera = batch.camera
        if prediction.camera is not None:
            camera = corrected(camera, prediction.camera, batch.mirrored)
        temporal = batch.temporal if prediction.motions is None else prediction.motions.source_from_target
        motions: list[RigidMotion] = []
        if temporal is not None:
            motions += [temporal[:, number] for number in range(temporal.translation.shape[1])]
        if batch.stereo is not None:
            motions.append(batch.stereo)
        if len(motions) != images.shape[1] - 1:
            raise BadInputError(
                f"{len(motions)} motions for {images.shape[1] - 1} sources",
                "one for each",
                "known motions need clips with structure from motion",
            )
        size = (images.shape[-2], images.shape[-1])
        disparity = _enlarged(full_precision(prediction.disparities[0])[:, None], size)[:, 0]
        factor, supported = (
            images.new_ones(len(images)),
            torch.ones(len(images), dtype=torch.bool, device=images.device),
        )
        source_depths = None
        if prediction.source_disparities is not None:
            source_depths = 1 / _enlarged(full_precision(prediction.source_disparities), size)
        if prediction.motions is None and batch.temporal is not None:
            # Known motions are in the unit of the sparse points: depth is brought to them first (scaling layer).
            factor, supported, source_depths = cls._scales(disparity, source_depths, batch, estimator)
        return cls(
            images=images,
            mask=mask,
            camera=camera,
            motions=tuple(motions),
            factor=factor,
            supported=supported,
            target_depth=factor[:, None, None] / disparity,
            source_depths=source_depths,
            explained=() if prediction.motions is None else prediction.motions.explained,
        )

    @staticmethod
    def _scales(
        disparity: Tensor, source_depths: Tensor | None, batch: SnippetBatch, estimator: ScaleEstimator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Factor of each target, whether it has points, and the sources' depths in the same unit."""
        points = batch.points
        if points is None:
            raise BadInputError("known motions without sparse points", "clips with structure from motion")

        def scale_of(inverse: Tensor, frame: int):
            at = sample(inverse[:, None], points.pixels[:, frame])[:, 0]
            return estimator(points.depth[:, frame].log() + at.log(), points.weight[:, frame])

        scale = scale_of(disparity, 0)
        supported = scale.supported
        if source_depths is not None:
            scaled = []
            for number, depth in enumerate(source_depths.unbind(1)):
                other = scale_of(1 / depth, 1 + number)
                supported = supported & other.supported
                scaled.append(depth * other.factor[:, None, None])
            source_depths = torch.stack(scaled, 1)
        return scale.factor, supported, source_depths

    @property
    def sources(self) -> int:
        """How many frames the target is synthesised from."""
        return len(self.motions)

    @property
    def offsets(self) -> int:
        """How many of them have a depth map: the first ones, or none."""
        return 0 if self.source_depths is None else self.source_depths.shape[1]

    def scaled(self, depth: Tensor) -> Tensor:
        """Depth of the target in the unit of the motions."""
        return depth * self.factor[:, None, None]

    def camera_of(self, frame: int) -> Lens:
        """The camera of a frame, batch shape (batch,)."""
        return self.camera[:, frame]

    def mask_of(self, frame: int) -> MaskMaps | None:
        """The mask of a frame."""
        return None if self.mask is None else self.mask[:, frame]

    def source_depths_at(self, size: tuple[int, int]) -> Tensor:
        """Depths of the sources at another size, enlarged or reduced in inverse depth."""
        assert self.source_depths is not None
        if self.source_depths.shape[-2:] == size:
            return self.source_depths
        return 1 / _enlarged(1 / self.source_depths, size)

    def target_at(self, size: tuple[int, int]) -> tuple[Tensor, MaskMaps | None]:
        """The target's image and mask at another size; smaller images are means over areas."""
        image, mask = self.images[:, 0], self.mask_of(0)
        if image.shape[-2:] == size:
            return image, mask
        return _smaller(image, size), None if mask is None else _smaller_mask(mask, size)


def full_precision(values: Tensor) -> Tensor:
    """Half-precision values in float32; others as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear; the maps themselves where they have the size."""
    return maps if maps.shape[-2:] == size else functional.interpolate(maps, size=size, mode="bilinear")


def _smaller(images: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(images, size=size, mode="area")


def _smaller_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Where all pixels that fall together are in the mask."""
    outside = (~mask)[:, None].to(torch.float32)
    return functional.adaptive_max_pool2d(outside, size)[:, 0] == 0


@dataclass(frozen=True, eq=False)
class Level:
    """The images of a batch at the size at which they are compared, with all that does not depend on depth.

    Attributes:
        size: (height, width).
        images, mask, camera: As of the snippet, at this size.
        reference: The target, with the moments of its windows.
        still: Errors of the unwarped sources, shape (batch, sources, height, width), or None where not asked for.
        still_valid: Where they say something.
    """

    size: tuple[int, int]
    images: Float[Tensor, "batch frames 3 height width"]
    mask: Tensor | None
    camera: Lens
    reference: Reference
    still: Tensor | None
    still_valid: Tensor | None

    @classmethod
    def of(
        cls,
        snippet: PreparedSnippet,
        size: tuple[int, int] | None,
        error: PhotometricError,
        at_rest: bool,
        brightness: AffineBrightness | None,
    ) -> "Level":
        """The images of a snippet at this size, or at their own."""
        images, mask, camera = snippet.images, snippet.mask, snippet.camera
        full = (images.shape[-2], images.shape[-1])
        if size is not None and size != full:
            frames = images.shape[:2]
            images = _smaller(images.flatten(0, 1), size).unflatten(0, frames)
            mask = None if mask is None else _smaller_mask(mask.flatten(0, 1), size).unflatten(0, frames)
            ratio = images.new_tensor([size[1] / full[1], size[0] / full[0]])
            camera = camera.with_intrinsics(camera.focal_px * ratio, camera.centre_px * ratio)
        reference = error.reference(images[:, 0])
        still, still_valid = None, None
        if at_rest:
            still, still_valid = cls._at_rest(images, mask, reference, error, brightness)
        return cls((images.shape[-2], images.shape[-1]), images, mask, camera, reference, still, still_valid)

    @staticmethod
    @torch.no_grad()
    def _at_rest(images: Tensor, mask: Tensor | None, reference: Reference, error: PhotometricError, brightness):
        """Errors of the unwarped sources: the same for every scale of depth, so computed once, and without gradient."""
        errors, valid = [], []
        for number in range(1, images.shape[1]):
            image = images[:, number]
            where = torch.ones_like(image[:, 0], dtype=torch.bool)
            if mask is not None:
                where = mask[:, 0] & mask[:, number]
                image = torch.where(where[:, None], image, 0.0)
            if brightness is not None:
                image = torch.where(where[:, None], brightness(image, reference.image, where), 0.0)
            errors.append(error(image, reference))
            valid.append(error.valid(where))
        return torch.stack(errors, 1), torch.stack(valid, 1)

    def warp(self, depth: Tensor, number: int, snippet: PreparedSnippet) -> Synthesis:
        """Source `number` on the target's pixels."""
        return synthesised(
            self.images[:, 1 + number],
            depth,
            snippet.motions[number],
            self.camera[:, 0],
            self.camera[:, 1 + number],
            None if self.mask is None else self.mask[:, 0],
            None if self.mask is None else self.mask[:, 1 + number],
        )
