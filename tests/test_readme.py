"""Commands, files, tables and examples of README, log and docs are those of the project."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from test_layering import ROWS

from ipt.analysis.plots import method, overview
from ipt.analysis.summaries import table_of, update_text
from ipt.cli import app as cli
from ipt.run import chosen_run

ROOT = Path(__file__).parent.parent
# `make docs` writes these itself.
GENERATED = {"cli/index.md"}
# What was run once, with the flags of its day.
LOGS = ("LOG.md", "docs/log-archive.md")
DOCS = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))
DOCS = [name for name in DOCS if Path(name).name not in GENERATED]
PAGES = {name: (ROOT / name).read_text(encoding="utf8") for name in ["README.md", "LOG.md", *DOCS]}
README = PAGES["README.md"]
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def commands_of(text: str) -> set[str]:
    """Return the commands of a page: lines of its code blocks, and what stands in backticks."""
    lines = re.findall(r"^ipt .*$", text, re.M)
    inline = re.findall(r"`(ipt [^`\n]+)`", text)
    commands = set()
    for line in lines + inline:
        # A table's source may name two: `ipt msf ..., then ipt ist ...`.
        for command in line.split("#")[0].split(", then "):
            commands.add(command.strip())
    return commands


COMMANDS = sorted(set().union(*(commands_of(PAGES[n]) for n in PAGES if n not in LOGS)))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist_with_their_flags(command, capsys):
    # RUN, PATH and NAME stand for something.
    words = [word for word in command.split() if word == word.lower()][1:]
    assert cli.main([*words, "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: ipt " in shown
    for flag in re.findall(r"--[a-z-]+(?:\.[a-z-]+)?", command.removesuffix("--help-all")):
        assert flag in shown


def test_commands_are_found():
    text = (
        "```\nipt msf --dim 5  # a subspace\n```\nand `ipt runs`, `ipt.data`, `ipt a, then ipt b`"
    )
    assert commands_of(text) == {"ipt msf --dim 5", "ipt runs", "ipt a", "ipt b"}
    assert len(COMMANDS) >= 40


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150
    assert len(README.encode()) <= 8000
    assert len(NUMBER.findall(README)) <= 30
    assert max(len(line) for line in README.splitlines()) <= 140


def test_the_answers_are_those_of_the_run_that_comes_with_ipt(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^ipt predict (\w+) --task (\w+) +# (.*)$", README, re.M)
    # One text, three answers: the numbers make the difference.
    assert len({text for text, _, _ in shown}) == 1
    assert len({answer for _, _, answer in shown}) == len(shown) == 3
    for text, task, answer in shown:
        assert cli.main(["predict", text, "--task", task]) == 0
        assert capsys.readouterr().out == f"{answer}\n"
    run = chosen_run(None, tmp_path)
    unseen = [task for _, task, _ in shown if task in run.config["parts"]["unseen"]]
    assert unseen == [shown[-1][1]]


def test_files_that_are_named_exist():
    block = README[README.index("## Files") :]
    for name in re.findall(r"(\w+\.(?:py|parquet))\b", block):
        assert [p for top in ("ipt", "tasks", "analysis") for p in (ROOT / top).glob(name)], name

    tree = re.findall(r"```\n(.*?)```", block, re.S)[0]
    above = ROOT
    for indent, name, text in re.findall(r"^( *)(\w+)/ *(.*)$", tree, re.M):
        folder = above / name if indent else ROOT / name
        assert folder.is_dir(), folder
        if not indent:
            above = folder
        for inner in re.findall(r"(\w+)/", text):
            assert (folder / inner).is_dir(), inner


@pytest.mark.parametrize("name", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([\w./-]+\.(?:md|png))(?:#[\w-]+)?\)", page.read_text("utf8")):
        assert target in GENERATED or (page.parent / target).exists(), target


@pytest.mark.parametrize("name", PAGES)
def test_tables_are_made_from_their_results(name):
    assert update_text(PAGES[name], ROOT) == PAGES[name]


def test_every_result_is_shown():
    shown = set()
    for text in PAGES.values():
        for pattern in re.findall(r"<!-- table (\S+) -->", text):
            shown |= {path.name for path in ROOT.glob(pattern)}
    assert shown >= {path.name for path in (ROOT / "results").glob("*.json")} - {
        "mutants.json",
        "torture.json",
        "hero.json",
    }


def test_the_overview_is_made_from_the_study():
    shares, record = overview.measured(ROOT)
    path = ROOT / "results" / "overview.json"
    assert json.loads(path.read_text(encoding="utf8")) == record

    study = json.loads((ROOT / "results/study/recovery.json").read_text(encoding="utf8"))
    figures = {row["cell"]: row["figures"] for row in study["rows"]}
    ours, mixture = figures["random, dim 5, ours"], figures["mixture, dim 5"]
    assert [row["relative"] for row in record["rows"]] == [
        ours["seen, other data"],
        ours["unseen"],
        mixture["mixture"],
        ours["PCA"],
        ours["random"],
    ]
    assert [row["floored"] for row in record["rows"][:3]] == [
        ours["seen, other data, above floor"],
        ours["unseen, above floor"],
        mixture["mixture, above floor"],
    ]

    bars = overview.draw(shares).axes[1].patches
    assert [round(bar.get_width()) for bar in bars] == [100, 67, 73, 46]


def test_whole_tables_of_studies_are_those_of_their_json():
    paths = sorted((ROOT / "results").glob("*/*.md"))
    assert {path.stem for path in paths} >= {"recovery", "validation"}
    for path in paths:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf8"))
        assert path.read_text(encoding="utf8") == table_of([record]), path


def examples_of(name: str) -> list[str]:
    """Return the blocks of Python of a page."""
    return re.findall(r"```python\n(.*?)```", PAGES[name], re.S)


def run_shortened(code: str, steps: int, folder: Path, monkeypatch) -> dict[str, Any]:
    """Run an example with few tasks and steps; return its names.

    steps: how many numbers of steps it gives.
    """
    monkeypatch.chdir(folder)
    shorter, count = re.subn(r"(steps(?:=|\": ))\d+", r"\g<1>2", code)
    assert count == steps
    few = shorter.replace('tasks="random-20"', 'tasks="ari_m*,gra_tense,let_*", seen=4, unseen=2')
    assert few != shorter
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(few, "example", "exec"), names)
    return names


def test_the_python_example_runs(tmp_path, monkeypatch):
    (code,) = examples_of("README.md")
    assert len([line for line in code.splitlines() if line]) <= 8
    names = run_shortened(code, 3, tmp_path, monkeypatch)
    assert names["deltas"].shape == (4, 10 * 192) and names["vectors"].shape == (2, 5)
    assert list(names["scores"]) == names["experiment"].unseen


def test_the_python_example_of_the_steps_runs(tmp_path, monkeypatch):
    code, _ = examples_of("docs/api.md")
    names = run_shortened(code, 3, tmp_path, monkeypatch)
    assert names["decoded"].shape == (2, 10 * 192)
    assert list(names["scores"]) == names["experiment"].unseen
    assert names["losses"].shape == (2,) and len(names["answers"]) == 2


def test_the_python_example_of_the_whole_method_runs(tmp_path, monkeypatch):
    _, code = examples_of("docs/api.md")
    names = run_shortened(code, 3, tmp_path, monkeypatch)
    assert set(names["result"].scores) >= {"train_same", "train_diff", "test"}
    assert names["vectors"].shape == (2, 5) and len(names["scores"]) == 2


def test_the_python_example_of_a_tuner_runs(tmp_path, monkeypatch):
    code, _ = examples_of("docs/extend.md")
    names = run_shortened(code, 1, tmp_path, monkeypatch)
    assert names["deltas"].shape == (2, 192) and names["deltas"].any(1).all()


def test_the_python_example_of_a_subspace_runs():
    _, code = examples_of("docs/extend.md")
    names: dict[str, Any] = {}
    exec(compile(code, "example", "exec"), names)
    assert names["again"].shape == (40, 24)


@pytest.mark.parametrize("theme", method.THEMES)
def test_the_picture_of_the_method_is_that_of_its_code(theme):
    path = ROOT / "docs" / "_static" / f"method-{theme}.svg"
    assert path.read_text(encoding="utf8") == method.draw(theme)
    assert path.name in PAGES["docs/method.md"]


def test_the_pages_of_the_commands_are_one_a_verb(tmp_path):
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    (tmp_path / "gone.md").write_text("of a verb that was renamed")
    conf.write_commands(tmp_path)
    verbs = {name for name in cli.app if not name.startswith("-")}
    assert {path.stem for path in tmp_path.iterdir()} == verbs | {"index"}
    index = (tmp_path / "index.md").read_text()
    for verb in verbs:
        page = (tmp_path / f"{verb}.md").read_text()
        assert page.startswith(f"# ipt {verb}\n") and f"\nipt {verb} " in page
        assert f"]({verb}.md)" in index and f"\n{verb}\n" in index
    page = (tmp_path / "msf.md").read_text()
    assert "--tune.steps" in page and "**Tuner**" in page and "--part" not in page
    assert "--no-" not in page and "--empty-" not in page


def test_every_page_is_in_the_table_of_contents():
    trees = []
    for text in PAGES.values():
        trees += re.findall(r"```\{toctree\}\n(.*?)```", text, re.S)
    tree = "\n".join(trees)
    named = set(re.findall(r"<([\w/]+)>", tree)) | set(re.findall(r"^([\w-]+)$", tree, re.M))
    assert named == {Path(name).stem for name in DOCS} - {"index"} | {"cli/index"}


def test_the_modules_of_the_python_page_exist():
    modules = re.findall(r"automodule:: ([\w.]+)", PAGES["docs/api.md"])
    assert len(modules) >= 25
    assert not [name for name in modules if importlib.util.find_spec(name) is None]


ENTRY = re.compile(r"^## (\d{4}-\d\d-\d\d): (.+)$", re.M)


def problems_of_log(text: str) -> list[str]:
    """Return what is wrong with the form of a log: dates, their order, entries that are too long."""
    parts = ENTRY.split(text)
    dates, titles, bodies = parts[1::3], parts[2::3], parts[3::3]
    problems = []
    if dates != sorted(dates, reverse=True):
        problems.append("not newest first")
    for title, body in zip(titles, bodies, strict=True):
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) > 15:
            problems.append(f"{len(lines)} lines: {title}")
        if "**Decision.**" not in body:
            problems.append(f"no decision: {title}")
    if len(re.findall("^## ", text, re.M)) != len(dates):
        problems.append("an entry without a date")
    return problems


def test_the_log_has_dated_short_entries():
    assert problems_of_log(PAGES["LOG.md"]) == []
    assert 15 <= len(ENTRY.findall(PAGES["LOG.md"])) <= 40
    assert PAGES["LOG.md"].count("(negative)") >= 5


def test_control_a_log_out_of_form_is_noticed():
    entry = "## 2026-01-0{}: A try\n" + 16 * "line\n"
    found = problems_of_log(entry.format(1) + entry.format(2) + "## No date\n**Decision.**\n")
    assert len(found) == 5


def test_the_table_of_imports_is_that_of_the_test():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    rows = {
        int(row): set(re.findall(r"`(\w+)`", names))
        for row, names in re.findall(r"^\| (\d+) \| (.*?) \|", text, re.M)
    }
    assert rows == dict(enumerate(ROWS))


def test_every_dependency_has_its_reason():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    reasons = text[text.index("## Dependencies") :]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    packages = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    names = {re.split(r"[^\w.-]", package)[0] for package in packages} - {project["name"]}
    assert not {name for name in names if not re.search(rf"(?i)\b{name}\b", reasons)}
