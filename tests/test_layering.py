"""Imports point one way: a module imports only from lower rows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = (
    ("config", "data", "metrics", "recovery", "progress"),
    ("run",),
    ("backbone", "autoencoder"),
    ("prompts",),
    ("train", "evaluate"),
    ("grid",),
    ("pretrain", "tuning", "msf", "ist"),
    ("tasks",),
    ("analysis",),
    ("pipeline",),
    ("plan", "flags"),
    ("cli",),
    ("__main__",),
)
ROW = {name: i for i, names in enumerate(ROWS) for name in names}
FOLDERS = {"ipt": ROOT / "ipt", "tasks": ROOT / "tasks", "analysis": ROOT / "analysis"}
READS = {"tasks": {"data"}, "analysis": {"run", "recovery"}}  # all that these rooms may use of the core


def imports(text):
    """Return the names that a module imports, dotted."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" if node.module == "ipt" else str(node.module) for alias in node.names]
    return found


def offences(room, name, text):
    """Return what a module imports against the rule."""
    own = name if room == "ipt" else room
    wrong = []
    for target in imports(text):
        head, *rest = target.split(".")
        if head in ("tasks", "analysis"):
            wrong.append(target)
        if head == "ipt" and rest:
            other = rest[0]
            if room in READS:
                fine = other == room or other in READS[room]
            else:
                fine = ROW[other] < ROW[own]
            wrong += [] if fine else [target]
    return wrong


def modules():
    return [(room, path) for room, folder in FOLDERS.items() for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda x: getattr(x, "stem", x))
def test_imports_point_down(room, path):
    if room == "ipt":
        assert path.stem in ROW, f"add {path.name} to the rows of this test"
    assert offences(room, path.stem, path.read_text(encoding="utf8")) == []


def test_a_violation_is_found():
    assert offences("ipt", "train", "from ipt.cli import main") == ["ipt.cli"]
    assert offences("ipt", "msf", "from ipt.ist import x") == ["ipt.ist"]
    assert offences("tasks", "suite", "import ipt.train") == ["ipt.train"]
    assert offences("ipt", "cli", "from tasks import suite") == ["tasks"]
    assert offences("ipt", "msf", "from ipt.train import fit") == []
