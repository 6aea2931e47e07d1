"""Imports point one way: a module imports from lower rows only, at its top or inside a function."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"ipt": "ipt", "ipt.tasks": "tasks", "ipt.analysis": "analysis"}

# Lowest first. Modules of one set never import each other; a package's own modules may.
BASE = {
    "config",
    "data",
    "metrics",
    "recovery",
    "storage",
    "distributed",
    "progress",
    "hub",
}
ROWS = (
    {"example"},
    BASE,
    {"checkpoint", "fewshot", "results"},
    {"run"},
    {"backbones"},
    {"tuners", "heads", "encoded"},
    {"training"},
    {"methods"},
    {"experiment"},
    {"provenance"},
    {"bank", "interop", "estimate"},
    {"workflows", "benchmarks"},
    {"predict"},
    {"tasks"},
    {"analysis"},
    {"explore"},
    {"resolve"},
    {"api"},
    {"cli"},
    {"__main__"},
)
PACKAGES = {
    "backbones",
    "tuners",
    "heads",
    "training",
    "methods",
    "interop",
    "workflows",
    "benchmarks",
    "explore",
    "cli",
}
PACKAGES |= {"tasks", "analysis"}
ROW = {name: row for row, names in enumerate(ROWS) for name in names}
# What is stricter than the rows.
ONLY = {
    "tasks": {"example", "data", "fewshot", "hub", "storage", "tasks"},
    "analysis": {"data", "metrics", "run", "results", "recovery", "storage", "analysis"},
    "__init__": set(),
}


def unit(module: str) -> str:
    """Return the name in the table for a module: ipt.tasks.files -> tasks, ipt.run -> run, ipt -> __init__."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(source: str) -> list[tuple[int, str]]:
    """Return line and full name of everything imported, `from a import b` as a.b where a is a package of ours."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            lead = "." * node.level + (node.module or "")
            found += [
                (node.lineno, f"{lead}.{alias.name}" if lead in FOLDERS else lead)
                for alias in node.names
            ]
    return found


def problems(module: str, source: str) -> list[str]:
    """Return a line for each import that a module must not have."""
    name = unit(module)
    if name not in ROW and name != "__init__":
        return [
            f"{module} is unknown: add it to the table in tests/test_layering.py and in CONTRIBUTING.md"
        ]
    found = []
    for line, target in imports(source):
        top, other = target.split(".")[0], unit(target)
        if top in {"tasks", "analysis", ""}:
            found.append(f"{module}:{line} imports {target}: write ipt.tasks... or ipt.analysis...")
        elif top == "ipt" and other != "__init__":
            if other not in ROW:
                found.append(
                    f"{module}:{line} imports {target}, which the table in tests/test_layering.py does not have: add it"
                )
            elif name in ONLY and other not in ONLY[name]:
                found.append(f"{module}:{line} imports {target}, which is not below it")
            elif name in PACKAGES and other == name:
                continue
            elif name not in ONLY and ROW[other] >= ROW[name]:
                found.append(f"{module}:{line} imports {target}, which is not below it")
    return found


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *inner]).removesuffix(".__init__")] = path
    return found


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    found = problems(module, modules()[module].read_text(encoding="utf8"))
    assert not found, "\n".join(found)


def test_packages_import_nothing_of_ours() -> None:
    for package, folder in FOLDERS.items():
        found = [
            t
            for _, t in imports((ROOT / folder / "__init__.py").read_text(encoding="utf8"))
            if t.split(".")[0] in {"ipt", ""}
        ]
        assert not found, f"{package} imports {found}: an import must have no side effects"


def test_tests_and_notebooks_use_installed_names() -> None:
    texts = {p.name: p.read_text(encoding="utf8") for p in (ROOT / "tests").glob("*.py")}
    for name, text in texts.items():
        bare = [t for _, t in imports(text) if t.split(".")[0] in {"tasks", "analysis", ""}]
        assert not bare, f"{name} imports {bare}: write ipt.tasks... or ipt.analysis..."


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ipt.data", "import ipt.config"),  # the same row
        ("ipt.run", "from ipt.backbones.base import Backbone"),
        ("ipt.backbones.base", "def late():\n    from ipt import bank"),
        ("ipt.training.loop", "from ipt.methods.msf import find_subspace"),
        ("ipt.tuners.soft_prompt", "from ipt.heads.base import Head"),
        ("ipt.methods.msf", "from ipt.tasks.suites import embedded"),
        ("ipt.methods.msf", "from ipt.experiment import Experiment"),
        ("ipt.workflows.msf", "import ipt.tasks.catalog as catalog"),
        ("ipt.experiment", "from ipt import analysis"),
        ("ipt.tasks.suites.embedded", "from ipt.config import LoopConfig"),
        ("ipt.analysis.scores", "from ipt.training.loop import fit"),
        ("ipt.analysis.report.page", "from ipt.tasks.suites.embedded import load"),
        ("ipt.resolve", "from ipt.cli.app import main"),
        ("ipt.cli.app", "from tasks import catalog"),
        ("ipt.cli.app", "import analysis.scores"),
        ("ipt.cli.app", "from . import run"),
        ("ipt.cli.app", "from ipt.utils import anything"),
        ("ipt.utils", ""),
        ("ipt", "from ipt.run import Run"),
    ],
)
def test_control_planted_violation_is_found(module: str, source: str) -> None:
    assert len(problems(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "ipt.bank",
            "from ipt.experiment import Experiment\nfrom ipt.run import Run\nimport ipt.data",
        ),
        (
            "ipt.tasks.catalog",
            "from ipt.data import Task\nfrom ipt.tasks import readers\nimport json",
        ),
        (
            "ipt.analysis.report.page",
            "from ipt.analysis.scores import lines\nfrom ipt.run import Run",
        ),
        ("ipt.cli.app", "from ipt.tasks import catalog\nfrom ipt.resolve import find_msf"),
        (
            "ipt.workflows.msf",
            "from ipt.methods.msf import find_subspace\nfrom sklearn import tasks",
        ),
        ("ipt.training.loop", "from ipt.training.source import Source"),
    ],
)
def test_control_allowed_imports_pass(module: str, source: str) -> None:
    assert problems(module, source) == []
