"""The explorer's page: three files that a server sends, or one file with answers inside."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from ipt.explore.requests import as_json

# By what the page asks for, the kinds of its files.
FILES = {"": "text/html", "explore.js": "text/javascript", "explore.css": "text/css"}
# What the page may do: run and show its own files, and ask its own server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LINKS = """<link rel="stylesheet" href="explore.css">
<script type="module" src="explore.js"></script>"""
HEAD = "<!-- head -->"


def file_of(name: str) -> bytes:
    """Return one of the page's files."""
    if name == "explore.css":
        return _style().encode()
    if name == "explore.js":
        return _text("explore.js").encode()
    return _text("page.html").replace(HEAD, LINKS).encode()


def single_file(stored: Any) -> bytes:
    """Return the page with all that it shows, for a file that is opened without a server.

    stored: answers by question, as explore.js reads them.
    """
    style = _style()
    script = _text("explore.js")
    # A file has no headers: the policy names what stands in it.
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = [
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f"<style>{style}</style>",
        f'<script type="application/json" id="stored">{as_json(stored).decode()}</script>',
        f'<script type="module">{script}</script>',
    ]
    return _text("page.html").replace(HEAD, "\n".join(head)).encode()


def _digest(text: str) -> str:
    """Return what a content security policy calls a script or a style that stands in the page."""
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()


def _style() -> str:
    """Return the look of the report's page, and what the explorer adds to it."""
    report = files("ipt.analysis.report") / "page.css"
    return report.read_text(encoding="utf8") + _text("explore.css")


def _text(name: str) -> str:
    return (files("ipt.explore") / name).read_text(encoding="utf8")
