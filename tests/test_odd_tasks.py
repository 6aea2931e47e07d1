"""Odd task files and lists: one clear line each, never a trace, a hang or a silent reading."""

import codecs
import gzip
import json
import os
import time

import pytest

from ipt.cli import app as cli
from ipt.storage import read_user_text
from ipt.tasks.catalog import load_tasks
from ipt.tasks.readers import schema
from ipt.tasks.readers.fields import read_yaml

ROWS = [{"input": f"text {i}", "output": ["a"]} for i in range(3)]


def put(folder, file="task.json", /, **change):
    record = {"name": "toy", "category": "non-cls", "metric": "exact-match", "examples": ROWS}
    path = folder / file
    path.write_text(json.dumps(record | change), encoding="utf8")
    return path


def told(capsys, *arguments):
    """Return the one line that a command ends with."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("ipt: ")
    return lines[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"test": 3, "draws": {"100": [0]}}, "field 'test' must be a list of examples, found int"),
        ({"test": {"a": 1}, "draws": {"100": [0]}}, "field 'test' must be a list of examples"),
        ({"test": ROWS, "draws": {"\u00b2": [0]}}, "'draws' must give a list of example numbers"),
        ({"test": ROWS, "draws": {"9" * 5000: [0]}}, "'draws' must give a list of example numbers"),
        ({"test": ROWS, "draws": {"100": [True]}}, "draw 100 must list different numbers"),
        ({"subcategory": []}, "field 'subcategory' must be a text, found []"),
        ({"definition": False}, "field 'definition' must be a text, found False"),
        ({"options": {}}, "field 'options' must be a list of texts that are not empty"),
        ({"options": ""}, "field 'options' must be a list of texts that are not empty"),
        ({"novel": "no"}, "field 'novel' must be true or false, found 'no'"),
        ({"knowledge": 1}, "field 'knowledge' must be true or false, found 1"),
        ({"name": "\u6f22" * 100}, "a name is up to 200 bytes of UTF-8"),
        ({"subcategory": "\ud800"}, r"field 'subcategory' has a lone surrogate (\ud800, sign 1)"),
        ({"definition": "a \udfff"}, r"field 'definition' has a lone surrogate (\udfff, sign 3)"),
        (
            {"examples": [*ROWS, {"input": "x\ud83d", "output": "a"}]},
            r"example 4: 'input' has a lone surrogate (\ud83d, sign 2), which is half of a sign",
        ),
        (
            {"examples": [*ROWS, {"input": "x", "output": ["a", "\ud83d"]}]},
            "example 4: 'output' has a lone surrogate",
        ),
        (
            {"examples": [*ROWS, {"input": "x", "output": ["a"], "entity": "\ud83d"}]},
            "example 4: 'entity' has a lone surrogate",
        ),
    ],
)
def test_a_field_that_no_task_can_have_is_told(tmp_path, capsys, change, says):
    path = put(tmp_path, **change)
    for verb in ("list", "show"):
        arguments = ("toy",) if verb == "show" else ()
        line = told(capsys, "tasks", verb, *arguments, "--tasks", path)
        assert f"{path}: " in line and says in line


def test_a_whole_sign_beyond_the_first_plane_is_right(tmp_path):
    """The control: two halves that JSON writes one after the other are one sign."""
    path = tmp_path / "task.json"
    put(tmp_path, subcategory="\U0001f600")
    assert "\\ud83d\\ude00" in path.read_text()
    assert schema.load(path)[0].subcategory == "\U0001f600"


def test_markup_in_a_subcategory_is_shown_as_it_is(tmp_path, capsys):
    path = put(tmp_path, subcategory="[/x][bold]")
    for arguments in (("list",), ("show", "toy")):
        assert cli.main(["tasks", *arguments, "--tasks", str(path)]) == 0
        assert "[/x][bold]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tasks": 3}, "'tasks' must be a folder, relative to this file, or crossfit, found 3"),
        ({"tasks": ["a"]}, "'tasks' must be a folder"),
        ({"tasks": ""}, "'tasks' must be a folder"),
        ({"seen": [3]}, "'seen' must be a list of task names"),
        ({"x" * 9000: 1}, "unknown fields xxx"),
    ],
)
def test_a_list_of_tasks_that_is_none(tmp_path, capsys, change, says):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"seen": ["ari_larger"]} | change))
    line = told(capsys, "tasks", "list", "--tasks", path)
    assert says in line and len(line) < 800


def test_a_list_with_a_byte_order_mark_or_nested_too_deeply(tmp_path, capsys):
    path = tmp_path / "list.json"
    path.write_bytes(codecs.BOM_UTF8 + json.dumps({"seen": ["ari_larger"]}).encode())
    assert [task.name for task in load_tasks(str(path))] == ["ari_larger"]
    path.write_text('{"seen": ' + "[" * 100_000)
    assert "nested too deeply" in told(capsys, "tasks", "list", "--tasks", path)


@pytest.mark.parametrize("names", ["", ",", " , "])
def test_no_name_at_all(capsys, names):
    assert "--tasks names no task" in told(capsys, "tasks", "list", "--tasks", names)


def test_names_that_differ_in_case_only(tmp_path, capsys):
    put(tmp_path, "one.json", name="Toy")
    put(tmp_path, "two.json", name="toy")
    line = told(capsys, "tasks", "list", "--tasks", tmp_path)
    assert line == f"ipt: {tmp_path}: tasks 'Toy' and 'toy' differ in case only; rename one"
    put(tmp_path, "two.json", name="toy-2")
    assert len(schema.load(tmp_path)) == 2


def test_an_empty_table(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text("")
    line = told(capsys, "tasks", "list", "--tasks", tmp_path / "x.jsonl")
    assert line.endswith("x.jsonl: the table has no rows")


def test_what_is_no_regular_file_is_not_opened(tmp_path, capsys):
    for name in ("pipe.json", "pipe.csv", "pipe.yaml", "rows.csv"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "made.yaml").write_text(
        "task: t\ndataset_path: csv\ndata_files: rows.csv\ndoc_to_text: a\ndoc_to_target: b\n"
        "category: non-cls\nmetric: exact-match\n"
    )
    for name in ("pipe.json", "pipe.csv", "pipe.yaml", "zero.json", "made.yaml"):
        line = told(capsys, "tasks", "list", "--tasks", tmp_path / name)
        assert f"{tmp_path / name}: " in line and "regular file" in line
    assert "not a regular file" in told(capsys, "tasks", "list", "--tasks", "/dev/zero")


def test_texts_of_a_user_are_read_up_to_a_size(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(codecs.BOM_UTF8 + "a\u00e9\r\n".encode())
    assert read_user_text(path) == "a\u00e9\r\n"
    path.write_text("x" * 100)
    assert read_user_text(path, most_bytes=100) == "x" * 100
    with pytest.raises(ValueError, match=f"^{path}: more than .* MiB, which is the most"):
        read_user_text(path, most_bytes=99)
    packed = tmp_path / "x.json.gz"
    packed.write_bytes(gzip.compress(b"x" * 10**7))
    with pytest.raises(ValueError, match=f"^{packed}: more than 1 MiB"):
        read_user_text(packed, most_bytes=2**20)
    for content in (b"no archive", packed.read_bytes()[:50]):
        packed.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{packed}: cannot be read"):
            read_user_text(packed)
    with pytest.raises(ValueError, match="not UTF-8 text .byte 1.; save it as UTF-8"):
        path.write_bytes(b"a\xff")
        read_user_text(path)
    with pytest.raises(ValueError, match="absent: no such file"):
        read_user_text(tmp_path / "absent")
    with pytest.raises(ValueError, match="not a regular file"):
        read_user_text(tmp_path)


def bomb(kind):
    """A few hundred bytes of YAML that stand for more than a machine holds."""
    levels = "abcdefghijkl"
    start = "[x, x, x, x, x, x, x, x, x]" if kind == "list" else "{k: x, l: x, m: x, n: x}"
    lines = [f"a: &a {start}"]
    for before, level in zip(levels, levels[1:], strict=False):
        items = [f"*{before}"] * 9
        if kind == "map":
            items = [f"k{i}: {item}" for i, item in enumerate(items)]
        opening, closing = "[]" if kind == "list" else "{}"
        lines.append(f"{level}: &{level} {opening}{', '.join(items)}{closing}")
    return "\n".join([*lines, "description: *l"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bomb("list"), "its aliases stand for too much"),
        (bomb("map"), "its aliases stand for too much"),
        ("a: &a [*a]", "its aliases stand for too much"),
        ("a: &a {b: *a}", "its aliases stand for too much"),
        (f"a: &a {'x' * 100_000}\nb: [{'*a, ' * 20}]", "its aliases stand for too much"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("task: a\ntask: b", "line 2: not valid YAML (the field 'task' stands twice)"),
        ("a: 2024-13-01", "not valid YAML (month must be in"),
        ("a: !!timestamp x", "not valid YAML ("),
        ("a: !!int ''", "not valid YAML ("),
        ("a: !!python/object/apply:os.system [x]", "line 1: not valid YAML (could not determine"),
        ("a: !function x.y", "line 1: not valid YAML (could not determine a constructor"),
        ("? [a]\n: b", "not valid YAML"),
        ("a: 1\n--- \nb: 2", "not valid YAML (but found another document)"),
        ("a: 'b", "not valid YAML"),
    ],
)
def test_yaml_that_is_none_or_too_much(tmp_path, content, says):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    start = time.monotonic()
    with pytest.raises(ValueError) as error:
        read_yaml(path)
    assert says in str(error.value) and str(error.value).startswith(f"{path}: ")
    assert time.monotonic() - start < 10
    (problem,) = schema.find_problems(path)
    assert len(problem) < 500


def test_yaml_with_aliases_that_are_small(tmp_path):
    """The control of the bound."""
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [x, y]\nb: *a\nc: [*a, *a]\n")
    assert read_yaml(path) == {"a": ["x", "y"], "b": ["x", "y"], "c": [["x", "y"]] * 2}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("task: no", "field 'task' must be a text, found False; write it in quotes"),
        ("task: 2024-01-01", "field 'task' must be a text, found datetime.date(2024, 1, 1); write"),
        ("description: 5", "field 'description' must be a text, found 5; write it in quotes"),
        ("doc_to_choice: [yes, no]", "found [True, False]; write yes, no, on and off in quotes"),
        ("doc_to_choice: [1, 2]", "found [1, 2]; write yes, no, on and off in quotes, numbers"),
        ("doc_to_target: 2024-01-01", "must be a text or a number, found datetime.date(2024, 1"),
        ("doc_to_target: [a]", "field 'doc_to_target' must be a text or a number, found ['a']"),
        ("rows: 0", "field 'rows' must be a whole number, 1 or more, found 0"),
        ("rows: -5", "field 'rows' must be a whole number, 1 or more, found -5"),
        ("rows: true", "field 'rows' must be a whole number, 1 or more, found True"),
        ("splits: []", "field 'splits' is empty"),
        ("doc_to_text: ", "fields missing: doc_to_text"),
        ("doc_to_target: ", "fields missing: doc_to_target"),
    ],
)
def test_a_field_of_another_kind(tmp_path, field, says):
    settings = {
        "task": "t",
        "dataset_path": "csv",
        "data_files": "rows.csv",
        "doc_to_text": "input",
        "doc_to_target": "output",
        "category": "non-cls",
        "metric": "exact-match",
    }
    settings.pop(field.split(":")[0], None)
    lines = [f"{name}: {value}" for name, value in settings.items()]
    (tmp_path / "rows.csv").write_text("input,output\na,b\n")
    path = tmp_path / "t.yaml"
    path.write_text("\n".join([*lines, field]))
    (problem,) = schema.find_problems(path)
    assert says in problem
