"""What the pixels of depth maps are: of the recorded or of an undistorted frame, and which kind of depth they hold."""

from dataclasses import dataclass

from depthscope.geometry.camera import Camera
from depthscope.geometry.lens import Kind


@dataclass(frozen=True)
class MapGrid:
    """Pixels and kind of the depth maps of a clip.

    Attributes:
        kind: Of the depth; None: as the camera of each frame has it.
        undistorted: Camera of maps that were exported without distortion; None for maps on the recorded frame.
    """

    kind: Kind | None = None
    undistorted: Camera | None = None

    def camera(self, recorded: Camera, size_px: tuple[int, int]) -> Camera:
        """The camera of a map of this size, from that of the recorded frame."""
        return (self.undistorted or recorded).resized(size_px)

    def kind_of(self, recorded: Camera) -> Kind:
        """What depth is on the map of a frame."""
        return self.kind or (self.undistorted or recorded).depth_kind


RECORDED = MapGrid()
"""Maps on the recorded frames."""
