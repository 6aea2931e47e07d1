"""Imports point one way: a module imports from lower rows only, at its top or inside a function."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"ipt": "ipt", "ipt.tasks": "tasks", "ipt.analysis": "analysis"}

# Lowest first. Modules of one set never import each other; ipt.tasks and ipt.analysis are packages whose own modules may.
BASE = ({"config", "data", "hub", "metrics", "recovery", "progress"},)
MODELS = ({"run", "ranks"}, {"backbone"}, {"families", "autoencoder", "gguf"}, {"prompts", "peft_folder"})
STAGES = ({"train", "evaluate"}, {"grid", "newton"}, {"pretrain", "tuning", "msf", "ist"}, {"rivals"})
ROWS = (
    *BASE,
    *MODELS,
    *STAGES,
    {"tasks"},
    {"analysis"},
    {"pipeline", "bench"},
    {"race", "stability", "probe"},
    {"adapters", "plan", "flags", "look", "report"},
    {"tools", "study"},
    {"cli"},
    {"__main__"},
)
ROW = {name: row for row, names in enumerate(ROWS) for name in names}
# What is stricter than the rows.
ONLY = {
    "tasks": {"data", "hub", "tasks"},
    "analysis": {"data", "run", "recovery", "analysis"},
    "pipeline": set().union(*BASE, *MODELS, *STAGES),
    "bench": set().union(*BASE, *MODELS, *STAGES),
    "race": set().union(*BASE, *MODELS, *STAGES, {"bench"}),
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
            found += [(node.lineno, f"{lead}.{alias.name}" if lead in FOLDERS else lead) for alias in node.names]
    return found


def problems(module: str, source: str) -> list[str]:
    """Return a line for each import that a module must not have."""
    name = unit(module)
    if name not in ROW and name != "__init__":
        return [f"{module} is unknown: add it to the table in tests/test_layering.py and in CONTRIBUTING.md"]
    found = []
    for line, target in imports(source):
        top, other = target.split(".")[0], unit(target)
        if top in {"tasks", "analysis", ""}:
            found.append(f"{module}:{line} imports {target}: write ipt.tasks... or ipt.analysis...")
        elif top == "ipt" and other != "__init__":
            if other not in ROW:
                found.append(f"{module}:{line} imports {target}, which the table in tests/test_layering.py does not have: add it")
            elif name in ONLY and other not in ONLY[name] or name not in ONLY and ROW[other] >= ROW[name]:
                found.append(f"{module}:{line} imports {target}, which is not below it")
    return found


def modules() -> dict[str, Path]:
    paths = {f"{package}.{p.stem}": p for package, folder in FOLDERS.items() for p in sorted((ROOT / folder).glob("*.py"))}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    found = problems(module, modules()[module].read_text(encoding="utf8"))
    assert not found, "\n".join(found)


def test_packages_import_nothing_of_ours() -> None:
    for package, folder in FOLDERS.items():
        found = [t for _, t in imports((ROOT / folder / "__init__.py").read_text(encoding="utf8")) if t.split(".")[0] in {"ipt", ""}]
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
        ("ipt.run", "from ipt.backbone import Backbone"),
        ("ipt.backbone", "def late():\n    from ipt import prompts"),
        ("ipt.train", "from ipt.evaluate import score_prompts"),
        ("ipt.ist", "from ipt.msf import find_subspace"),
        ("ipt.msf", "from ipt.tasks import suite"),
        ("ipt.pipeline", "import ipt.tasks.suite as suite"),
        ("ipt.pipeline", "from ipt import analysis"),
        ("ipt.tasks.suite", "from ipt.config import PRESETS"),
        ("ipt.analysis.scores", "from ipt.train import fit"),
        ("ipt.analysis.report", "from ipt.tasks.suite import load"),
        ("ipt.flags", "from ipt.plan import resolve"),
        ("ipt.plan", "from ipt.cli import main"),
        ("ipt.cli", "from tasks import suite"),
        ("ipt.cli", "import analysis.scores"),
        ("ipt.cli", "from . import run"),
        ("ipt.cli", "from ipt.utils import anything"),
        ("ipt.utils", ""),
        ("ipt", "from ipt.run import Run"),
    ],
)
def test_control_planted_violation_is_found(module: str, source: str) -> None:
    assert len(problems(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ipt.prompts", "from ipt.backbone import Backbone\nfrom ipt.run import Run\nimport ipt.data"),
        ("ipt.tasks.suite", "from ipt.data import Task\nfrom ipt.tasks import files\nimport json"),
        ("ipt.analysis.report", "from ipt.analysis.scores import lines\nfrom ipt.run import Run"),
        ("ipt.cli", "from ipt.tasks import suite\nfrom ipt.plan import resolve"),
        ("ipt.pipeline", "from ipt.tuning import tune_prompts\nfrom sklearn import tasks"),
    ],
)
def test_control_allowed_imports_pass(module: str, source: str) -> None:
    assert problems(module, source) == []
