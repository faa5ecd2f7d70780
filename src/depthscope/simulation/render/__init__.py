"""Rays through the true lens onto a mesh: exact depth and normals at the pixels' centres, and the light they bring.

Truth is cast through the centre of every pixel, once. The picture is the mean of several rays through each pixel,
spread over its area and over the time that the shutter is open. Embree finds the triangle; where on it the ray meets
its plane is computed again in float64, so that depth is exact for the mesh.
"""

from depthscope.simulation.render.frames import LUMA, Rendered, render, wanted_gains
from depthscope.simulation.render.scene import OFF_THE_WALL_MM, Placed, Scene, cavity
from depthscope.simulation.render.shading import RaySamples, Shading, sampled
from depthscope.simulation.render.translucency import within_tissue
from depthscope.simulation.render.truth import HitPoints, flow_to, sight, truth
from depthscope.simulation.render.view import RenderView, in_picture

__all__ = [
    "LUMA",
    "OFF_THE_WALL_MM",
    "Placed",
    "Rendered",
    "RaySamples",
    "Scene",
    "Shading",
    "HitPoints",
    "RenderView",
    "cavity",
    "flow_to",
    "in_picture",
    "render",
    "sampled",
    "sight",
    "truth",
    "wanted_gains",
    "within_tissue",
]
