"""What gets installed is what the folders hold; nothing that is read can run code."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
TOP = set(FOLDERS.values())
NOT_INSTALLED = {"__pycache__", "notebooks", ".ipynb_checkpoints"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"torch.load", "eval", "exec", "pd.read_pickle", "pandas.read_pickle"}
UNSAFE_FLAGS = {"trust_remote_code", "allow_pickle"}


def folder_of(package: str) -> str:
    """Return a package's folder: ipt.tasks.readers -> tasks/readers."""
    for name in sorted(FOLDERS, key=len, reverse=True):
        if package == name or package.startswith(f"{name}."):
            return FOLDERS[name] + package.removeprefix(name).replace(".", "/")
    raise ValueError(f"{package} lies in none of {sorted(FOLDERS)}")


LISTED = {name: folder_of(name) for name in SETUPTOOLS["packages"]}


def sources(*folders: str) -> list[Path]:
    return [
        p
        for folder in folders
        for p in sorted((ROOT / folder).rglob("*.py"))
        if "__pycache__" not in p.parts
    ]


def packages_of(root: Path, folders: Iterable[str]) -> set[str]:
    """Return the folders with modules, as paths below the root."""
    return {
        p.parent.relative_to(root).as_posix()
        for folder in folders
        for p in (root / folder).rglob("*.py")
    }


def plain_name(requirement: str) -> str:
    """Return the package of a requirement, as registries spell it."""
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def uncovered(files: Iterable[str], globs: Iterable[str]) -> list[str]:
    """Return the files that no glob of package-data matches; a glob's * stays inside its folder."""
    parts = [glob.split("/") for glob in globs]
    return [
        f
        for f in files
        if not any(len(g) == f.count("/") + 1 and all(map(fnmatch, f.split("/"), g)) for g in parts)
    ]


def unsafe(source: str) -> list[str]:
    """Return what in a source can run code from a file it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in UNSAFE_MODULES]
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{a.name}" for a in node.names}
            found += (
                [node.module]
                if node.module and node.module.split(".")[0] in UNSAFE_MODULES
                else sorted(names & UNSAFE_CALLS)
            )
        elif isinstance(node, ast.Call):
            found += [ast.unparse(node.func)] if ast.unparse(node.func) in UNSAFE_CALLS else []
            flags = [k for k in node.keywords if k.arg in UNSAFE_FLAGS]
            found += [
                str(k.arg)
                for k in flags
                if not (isinstance(k.value, ast.Constant) and not k.value.value)
            ]
    return found


def test_packages_listed_are_the_folders() -> None:
    data_only = {"ipt/backbones/mini", "ipt/presets", "analysis/studies"}
    folders = packages_of(ROOT, TOP)
    assert set(LISTED.values()) == folders | data_only, (
        "pyproject.toml's packages are not the folders"
    )
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)


def test_control_a_new_folder_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "tasks" / "more").mkdir(parents=True)
    (tmp_path / "tasks" / "more" / "one.py").touch()
    assert packages_of(tmp_path, ["tasks"]) == {"tasks/more"}


@pytest.mark.parametrize("package", sorted(LISTED))
def test_data_files_are_installed(package: str) -> None:
    folder = ROOT / LISTED[package]
    inner = [ROOT / other for other in LISTED.values() if folder in (ROOT / other).parents]
    paths = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}]
    paths = [p.relative_to(folder) for p in paths if not set(inner) & set(p.parents)]
    files = [p.as_posix() for p in paths if not NOT_INSTALLED & set(p.parts)]
    missing = uncovered(files, SETUPTOOLS["package-data"].get(package, []))
    assert not missing, f"package-data of {package} in pyproject.toml leaves out {missing}"
    idle = [
        glob for glob in SETUPTOOLS["package-data"].get(package, []) if not list(folder.glob(glob))
    ]
    assert not idle, f"package-data of {package} in pyproject.toml: nothing matches {idle}"


def test_data_files_are_there() -> None:
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {
        p.name for p in (ROOT / "ipt" / "backbones" / "mini").iterdir()
    }
    assert (ROOT / "ipt" / "py.typed").is_file()
    assert (ROOT / "tasks" / "suites" / "suite.parquet").is_file()


def test_control_a_new_kind_of_data_is_noticed() -> None:
    assert uncovered(["a.json", "a.csv", "deep/a.json", "mini/a.json"], ["*.json", "mini/*"]) == [
        "a.csv",
        "deep/a.json",
    ]


def test_licence_files_and_readme_exist() -> None:
    named = [*PROJECT["project"]["license-files"], PROJECT["project"]["readme"]]
    assert not [name for name in named if not (ROOT / name).is_file()]
    text = (ROOT / "LICENSE").read_text(encoding="utf8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_constraints_hold_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    versions = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *extras["test"],
        *extras["dev"],
        *extras["notebooks"],
    ]
    pinned = {plain_name(name) for name in versions} | {PROJECT["project"]["name"]}
    assert not {plain_name(w) for w in wanted} - pinned
    assert not [v for v in versions.values() if "+" in v], "a local version is tied to one machine"


@pytest.mark.parametrize(
    "path", sources("ipt", "tasks", "analysis"), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_nothing_read_can_run_code(path: Path) -> None:
    found = unsafe(path.read_text(encoding="utf8"))
    assert not found, f"{path.relative_to(ROOT)} uses {found}: safetensors and JSON do without"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def late():\n    import joblib",
        "torch.load('x')",
        "from torch import load",
        "eval('1')",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "AutoModel.from_pretrained('x', trust_remote_code=flag)",
        "np.load('x', allow_pickle=True)",
    ],
)
def test_control_unsafe_source_is_found(source: str) -> None:
    assert len(unsafe(source)) == 1


def test_control_safe_source_passes() -> None:
    lines = (
        "model.eval()",
        "load_file('x')",
        "T.load('x', trust_remote_code=False)",
        "np.load('x', allow_pickle=False)",
    )
    assert unsafe("\n".join(lines)) == []


def undeclared(source: str, declared: set[str]) -> set[str]:
    """Return the imported packages that are neither Python's, ours, nor declared."""
    names = {"sklearn": "scikit-learn", "yaml": "pyyaml", "umap": "umap-learn"}
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    found -= sys.stdlib_module_names | {
        "ipt",
        *(path.stem for path in Path(__file__).parent.glob("*.py")),
    }
    return {
        name for name in found if names.get(name, name).lower().replace("_", "-") not in declared
    }


def declared_names() -> set[str]:
    wanted = PROJECT["project"]["dependencies"] + sum(
        PROJECT["project"]["optional-dependencies"].values(), []
    )
    return {plain_name(w) for w in wanted}


@pytest.mark.parametrize(
    "path",
    sources("ipt", "tasks", "analysis", "tests"),
    ids=lambda p: p.relative_to(ROOT).as_posix(),
)
def test_every_import_is_a_declared_dependency(path: Path) -> None:
    found = undeclared(path.read_text(encoding="utf8"), declared_names())
    assert not found, (
        f"{path.relative_to(ROOT)} imports {found}, which pyproject.toml does not name"
    )


def test_control_undeclared_import_is_found() -> None:
    assert undeclared(
        "import json, absent\nfrom sklearn import svm\nfrom rouge_score import x", declared_names()
    ) == {"absent"}
