"""The package list, the shipped data, the size of files, and what no source may contain."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
SOURCES = [p for room in ("ipt", "tasks", "analysis", "tests") for p in sorted((ROOT / room).glob("**/*.py"))]
FORBIDDEN = re.compile(r"\bpickle\b|torch\.load\(|(?<!\.)\beval\(|(?<!\.)\bexec\(|trust_remote_code=True|weights_only=False")


def test_the_package_list_names_every_folder_with_modules():
    setup = PROJECT["tool"]["setuptools"]
    folders = {folder: name for name, folder in setup["package-dir"].items()}
    assert set(setup["packages"]) == set(folders.values())
    for room in ("ipt", "tasks", "analysis"):
        inside = {str(p.parent.relative_to(ROOT)) for p in (ROOT / room).glob("**/*.py")}
        assert inside == {room}, "a folder with modules must be listed in pyproject.toml"


def test_shipped_data_exists():
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        folder = ROOT / PROJECT["tool"]["setuptools"]["package-dir"][package]
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package}: nothing matches {pattern}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_and_load_nothing_that_runs(path):
    text = path.read_text(encoding="utf8")
    assert text.count("\n") <= 350
    if path.name != Path(__file__).name:
        assert not re.search(FORBIDDEN, text)


def test_forbidden_words_are_found():
    assert re.search(FORBIDDEN, "x = torch.load(path)") and re.search(FORBIDDEN, "eval(text)")
    assert not re.search(FORBIDDEN, "model.eval()")


def test_every_import_is_a_declared_dependency():
    import ast
    import sys

    declared = " ".join(PROJECT["project"]["dependencies"] + sum(PROJECT["project"]["optional-dependencies"].values(), []))
    names = {"sklearn": "scikit-learn", "huggingface_hub": "huggingface-hub", "rouge_score": "rouge-score"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            heads = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for head in {h.split(".")[0] for h in heads}:
                known = head in sys.stdlib_module_names or head in ("ipt", "conftest") or names.get(head, head) in declared
                assert known, f"{path.name} imports {head}, which pyproject.toml does not name"
