"""Frames of one clip whose camera is known: all that learning by view synthesis needs. SfM may be there or not."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.geometry import Camera, RigidMotion
from depthscope.geometry.units import LengthUnit
from depthscope.sequence import FrameMasks, Sequence


@dataclass(frozen=True, eq=False)
class RightCamera:
    """The second view of a stereo clip, frame by frame.

    Attributes:
        images: Its frames at the same times.
        cameras: Their cameras.
        other_from_this: Motion from the first eye to it, without a batch.
        unit: Of that motion.
    """

    images: tuple[Path, ...]
    cameras: tuple[Camera, ...]
    right_from_left: RigidMotion
    unit: LengthUnit = "mm"

    def __post_init__(self) -> None:
        if not float(self.baseline) > 0:
            raise BadInputError("a stereo pair without a baseline", "eyes that are apart", "check the calibration")

    @property
    def baseline(self) -> float:
        """Distance of the eyes."""
        return float(self.right_from_left.translation.norm())


@dataclass(frozen=True, eq=False)
class UnposedClip:
    """A clip to learn from by view synthesis, validated and never changed.

    Attributes:
        name: What the clip is called.
        images: Its frames in order of time.
        cameras: The camera of each frame.
        mask: True where the camera shows tissue, shape (height, width) of the images, or None for everywhere.
        sequence: SfM of these very frames, or None.
        right_camera: The second view of each frame, or None.
        targets: Which frames may be looked at as targets, or None for all; the others serve as sources.
        foreign: What hides the tissue in single frames, as in `Sequence`; not of the right camera.
    """

    name: str
    images: tuple[Path, ...]
    cameras: tuple[Camera, ...]
    mask: Bool[Tensor, "height width"] | None = None
    sequence: Sequence | None = None
    right_camera: RightCamera | None = None
    targets: tuple[int, ...] | None = None
    foreign: FrameMasks | None = None

    def __post_init__(self) -> None:
        frames = len(self.images)
        if frames < 1:
            raise BadInputError(f"{self.name} holds no frames", "at least one", "check the path")
        counts = {"cameras": len(self.cameras)}
        sizes = {camera.size_px for camera in self.cameras}
        if self.right_camera is not None:
            counts |= {"frames of the other eye": len(self.right_camera.images)}
            counts |= {"cameras of the other eye": len(self.right_camera.cameras)}
        if self.sequence is not None:
            counts |= {"registered frames": len(self.sequence)}
        for what, count in counts.items():
            if count != frames:
                raise BadInputError(f"{self.name}: {count} {what} for {frames} frames", "one for each frame")
        if len(sizes) > 1:
            raise BadInputError(f"{self.name}: frames of different sizes {sorted(sizes)}", "one size", "resize them")
        if self.targets is not None and not all(0 <= frame < frames for frame in self.targets):
            raise BadInputError(f"{self.name}: targets beyond its {frames} frames", "numbers of its frames")
        width, height = self.size_px
        if self.mask is not None and tuple(self.mask.shape) != (height, width):
            raise BadInputError(
                f"{self.name}: a mask of {self.mask.shape[1]} x {self.mask.shape[0]} pixels",
                f"the frames' {width} x {height}",
                "resize the mask",
            )

    @classmethod
    def of(cls, sequence: Sequence) -> "UnposedClip":
        """The frames of a sequence with its SfM."""
        foreign = sequence.foreign
        return cls(sequence.name, sequence.images, sequence.cameras, sequence.mask, sequence, foreign=foreign)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the frames."""
        return self.cameras[0].size_px

    @property
    def frame_names(self) -> tuple[str, ...]:
        """File names of the frames without their endings."""
        return tuple(path.stem for path in self.images)

    @property
    def other(self) -> "UnposedClip | None":
        """The other eye's frames as a clip of their own, which sees this one as its other eye."""
        eye = self.right_camera
        if eye is None:
            return None
        this = RightCamera(self.images, self.cameras, eye.right_from_left.inverse(), eye.unit)
        return UnposedClip(f"{self.name}-other", eye.images, eye.cameras, None, None, this, self.targets)


def tissue_in(clip: Sequence | UnposedClip, frame: int) -> Bool[Tensor, "height width"] | None:
    """Where a frame shows tissue: the clip's mask without what hides the tissue in that frame; None for everywhere.

    Raises:
        BadInputError: The frame has no mask of its own though others have, or one of another size.
    """
    if clip.foreign is None:
        return clip.mask
    tissue = ~clip.foreign.not_tissue(clip.frame_names[frame], clip.size_px)
    return tissue if clip.mask is None else tissue & clip.mask
