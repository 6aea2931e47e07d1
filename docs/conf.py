"""Sphinx: `make docs` builds the pages from these files, docstrings, parser and notebooks."""

import importlib.metadata
import re
from pathlib import Path

from ipt.cli.app import app as ipt
from ipt.cli.help import PIPELINE

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
smartquotes_action = "qe"  # two dashes begin a flag
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


HEAD = """# Command line

`ipt VERB --help` shows the most used flags of a verb, `ipt VERB --help-all` all of them, in groups.
The pages below are those of `--help-all`; [Commands](../commands.md) is an overview by purpose.
"""
TREE = "```{{toctree}}\n:hidden:\n\n{}\n```\n"


def write_commands(folder):
    """Write a page for each verb, from the parser, and an index in the order of the work."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        path.unlink()
    # A section of the whole a verb, one level higher.
    # The parser takes the program that runs, `python -m sphinx`, for a part of the command.
    text = ipt.generate_docs().replace(" -m sphinx", "")
    pages = {}
    for section in re.split(r"(?m)^## ipt ", text)[1:]:
        pages[section.split("\n")[0]] = re.sub("(?m)^###", "##", f"# ipt {section}")
    index = HEAD
    names = []
    for group, verbs in PIPELINE.items():
        index += f"\n## {group}\n\n"
        for verb in verbs:
            if verb not in ipt:
                continue
            (folder / f"{verb}.md").write_text(pages[verb], encoding="utf8")
            summary = ipt[verb].help.strip().splitlines()[0]
            index += f"- [`ipt {verb}`]({verb}.md): {summary}\n"
            names.append(verb)
    index += "\n" + TREE.format("\n".join(names))
    (folder / "index.md").write_text(index, encoding="utf8")


def setup(app):
    write_commands(Path(__file__).parent / "cli")
    app.connect("autodoc-process-docstring", keep_lines)
    app.connect("autodoc-skip-member", skip_requests)
