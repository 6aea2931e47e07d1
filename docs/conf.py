"""Sphinx: `make docs` builds the pages from these files, docstrings, parser and notebooks."""

import importlib.metadata
import re

project = "ipt"
copyright = "the authors of ipt, Apache-2.0"
release = importlib.metadata.version("intrinsic-prompt-tuning")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "ipt: tasks as five numbers"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # `make docs` executes them before
nb_merge_streams = True
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    "show-inheritance": True,
}
autodoc_typehints = "description"
suppress_warnings = ["myst.header", "ref.python"]  # two modules may have a function of one name


def keep_lines(app, what, name, obj, options, lines):
    """Show docstrings as they are written: their lines stay, and no character is markup."""
    if not name.startswith("ipt"):
        return
    for index, line in enumerate(lines):
        escaped = re.sub(r"([\\*`|_])", r"\\\1", line)
        lines[index] = f"| {escaped}" if line.strip() else "|"


def skip_requests(app, what, name, obj, skip, options):
    """Leave out the metadata methods that scikit-learn adds to `Subspace`."""
    return skip or name.endswith("_request")


def setup(app):
    app.connect("autodoc-process-docstring", keep_lines)
    app.connect("autodoc-skip-member", skip_requests)
