"""Configuration of the manual: Sphinx, MyST and Furo."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "depthscope"
author = "The depthscope contributors"
copyright = author  # noqa: A001
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "depthscope"
html_show_sphinx = False
