"""Configuration of the manual: Sphinx, MyST and Furo."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "src")]

import generate  # noqa: E402 - from the folder of this file

generate.main()

project = "depthscope"
author = "The depthscope contributors"
copyright = author  # noqa: A001
release = version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False  # a shape such as "*batch" is no markup

html_theme = "furo"
html_title = "depthscope"
html_show_sphinx = False
