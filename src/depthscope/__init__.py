"""Dense depth and measured 3D surfaces from plain endoscopic video."""

__version__ = "0.1.0"
