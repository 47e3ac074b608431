"""How the documentation is built: `make docs`."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from generated_pages import write_pages

import warp_phys

project = "warp-phys"
author = "The warp-phys developers"
copyright = author  # noqa: A001 (Sphinx's own name)
release = version = warp_phys.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser"]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# Names between single backticks in docstrings.
default_role = "literal"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Class attributes", "params_style")]

html_theme = "furo"
html_title = f"warp-phys {release}"

write_pages(Path(__file__).parent / "_generated")


def setup(app: Any) -> None:
    """Let Sphinx read the shapes in docstrings."""
    app.connect("autodoc-process-docstring", _escape_stars)


def _escape_stars(*arguments: Any) -> None:
    """Keep the star of shapes like (S, *batch) from starting emphasis."""
    lines = arguments[-1]
    lines[:] = [re.sub(r"(?<!\\)\*batch", r"\\*batch", line) for line in lines]
