"""Names of arrays, and the conventions that hold everywhere.

- Camera axes: x right, y down, z forward (as OpenCV and COLMAP). Depth is z, not the length of the ray; 0 is unknown.
- Pixels: the centre of the top-left pixel is (0.5, 0.5) (as COLMAP); an image covers [0, width] x [0, height].
  OpenCV's (0, 0) is converted where OpenCV is called, and nowhere else.
- Motions are named ``target_from_source``; products cancel: ``a_from_c = a_from_b @ b_from_c``.
- Images are sRGB in 0..1, channels first.

The shapes are checked in the tests and free in production.
"""

from typing import TypeAlias

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Points: TypeAlias = Float[Tensor, "*points 3"]
Vectors: TypeAlias = Float[Tensor, "*vectors 3"]
Rotations: TypeAlias = Float[Tensor, "*motions 3 3"]
Pixels: TypeAlias = Float[Tensor, "*pixels 2"]
Scalars: TypeAlias = Float[Tensor, "*scalars"]
Images: TypeAlias = Float[Tensor, "*batch 3 height width"]
DepthMaps: TypeAlias = Float[Tensor, "*batch height width"]
Masks: TypeAlias = Bool[Tensor, "*batch height width"]
Indices: TypeAlias = Int[Tensor, "*indices"]
Colours: TypeAlias = UInt8[Tensor, "*points 3"]
