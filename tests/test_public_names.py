"""The names of `import ipt`: quick to import, documented by an example that runs."""

import pydoc
import subprocess
import sys
import textwrap
from importlib import import_module

import pytest

import ipt
from ipt.run import Run, load_run

HEAVY = ("torch", "transformers", "datasets", "numpy", "sklearn")
CODE = f"""
import sys
import time
before = time.process_time()
{{statement}}
seconds = time.process_time() - before
print(seconds, *[name for name in {HEAVY} if name in sys.modules])
"""


def fresh_import(statement):
    """Return the seconds of an import in a new process, and the large libraries it loaded."""
    made = subprocess.run(
        [sys.executable, "-c", CODE.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, *loaded = made.stdout.split()
    return float(seconds), loaded


def example():
    """Return the lines of code in the package's docstring."""
    indented = [line for line in ipt.__doc__.splitlines() if line.startswith("    ") or not line]
    return textwrap.dedent("\n".join(indented)).strip()


def test_the_import_is_quick_and_loads_no_large_library():
    seconds, loaded = fresh_import("import ipt")
    assert seconds < 0.3
    assert loaded == []


@pytest.mark.parametrize("name", ["Run", "load_run"])
def test_a_run_is_read_without_a_large_library(name):
    assert fresh_import(f"from ipt import {name}")[1] == []


def test_control_a_large_library_is_seen():
    assert "numpy" in fresh_import("import ipt.recovery")[1]


@pytest.mark.parametrize("name", ipt.__all__)
def test_every_public_name_is_what_its_module_defines(name):
    module = import_module(ipt._MODULES[name])
    assert getattr(ipt, name) is getattr(module, name)
    assert name in dir(ipt)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ipt' has no attribute 'Bench'"):
        ipt.Bench  # noqa: B018
    with pytest.raises(ImportError):
        from ipt import Bench  # noqa: F401


def test_modules_and_hidden_names_are_imported_as_ever():
    from ipt import storage

    assert storage is sys.modules["ipt.storage"]
    assert "__path__" in dir(ipt)


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    code = example()
    lines = [line for line in code.splitlines() if line]
    assert len(lines) <= 8
    monkeypatch.chdir(tmp_path)
    few = 'tasks="ari_m*,gra_tense,let_*", seen=4, unseen=2, limit=5'
    quick = code.replace('tasks="random-20", limit=5', few)
    quick = quick.replace("60", "2").replace("100", "2").replace("steps=40", "steps=2")
    quick = quick.replace("dim=5", "dim=2")
    names = {}
    exec(compile(quick, "example", "exec"), names)
    assert names["deltas"].shape == (4, 10 * 192) and names["vectors"].shape == (2, 2)
    assert list(names["scores"]) == names["experiment"].unseen
    assert "{'" in capsys.readouterr().out


def test_help_shows_the_docstring_and_the_public_names():
    text = pydoc.plain(pydoc.render_doc(ipt))
    assert ipt.__doc__.splitlines()[0] in text
    for name in ipt.__all__:
        assert name in text


def test_a_run_is_loaded_by_its_folder_or_by_its_name(tmp_path, monkeypatch):
    made = Run.open(tmp_path / "runs" / "mine", {"kind": "msf", "split": "toy", "seed": 7})
    assert load_run(made.folder).folder == made.folder
    assert load_run(str(made.folder)).folder == made.folder
    assert load_run("mine", out=tmp_path / "runs").folder == made.folder
    monkeypatch.chdir(tmp_path)
    assert load_run("mine").config == made.config
    with pytest.raises(ValueError, match="is no run folder; ipt runs --out runs lists"):
        load_run("other")
