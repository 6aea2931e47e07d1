"""Sphinx: `make docs` builds the pages from these files, the docstrings, the parser and the executed notebooks."""

import importlib.metadata
import re

project = "ipt"
copyright = "the authors of ipt, Apache-2.0"
release = importlib.metadata.version("intrinsic-prompt-tuning")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "ipt: the intrinsic subspace of soft prompts"
html_static_path, html_css_files = ["_static"], ["tables.css"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # `make docs` executes them before
nb_merge_streams = True
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "description"
suppress_warnings = ["myst.header", "ref.python"]  # two modules may have a function of one name


def as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text: keep their lines, and let no character be markup."""
    if name.startswith("ipt"):
        lines[:] = ["| " + re.sub(r"([\\*`|_])", r"\\\1", line) if line.strip() else "|" for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", as_written)
    app.connect("autodoc-skip-member", lambda app, what, name, obj, skip, options: skip or name.endswith("_request"))
