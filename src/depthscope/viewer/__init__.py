"""A case in a browser: the video with its depth, the surface with the camera in it, the CT about it."""

from depthscope.viewer.flight import fly_through, smoothed
from depthscope.viewer.folder import write_viewer
from depthscope.viewer.scene import ViewerScene, open_scene
from depthscope.viewer.server import ViewerServer, serving

__all__ = ["ViewerScene", "ViewerServer", "fly_through", "open_scene", "serving", "smoothed", "write_viewer"]
