"""A user's own files: every problem is one error that names the file.

A drawn split keeps a family on one side.
"""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipt.cli import app as cli
from ipt.data import Task
from ipt.tasks.readers import schema
from ipt.tasks.splits import draw_split
from ipt.tasks.suites import embedded


def a_record(name: str = "toy", rows: int = 240, **change: object) -> dict:
    examples = [
        {"input": f"{name} input {i}", "output": [f"answer {i}", "other"]} for i in range(rows)
    ]
    record = {
        "name": name,
        "category": "non-cls",
        "subcategory": "toy",
        "metric": "exact-match",
        "examples": examples,
    }
    return record | {"definition": "Say it.", "licence": "unknown fields are ignored"} | change


def write(path: Path, record: object) -> Path:
    text = json.dumps(record).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_a_folder_is_read_in_the_order_of_file_names(tmp_path):
    write(tmp_path / "b.json.gz", a_record("b"))
    write(tmp_path / "a.json", a_record("a"))
    write(tmp_path / "index.json", {"tasks": []})
    (tmp_path / "README.md").write_text("notes")
    tasks = schema.load(tmp_path)
    assert [t.name for t in tasks] == ["a", "b"] and not schema.find_problems(tmp_path)
    assert tasks[0].examples[0].output == ("answer 0", "other")
    assert schema.load(tmp_path / "b.json.gz") == tasks[1:]


LABELS = {"category": "cls", "metric": "accuracy", "options": ["yes", "no"]}
WRONG = {
    "a list": ([1], "a task is a JSON object, found list"),
    "no name": (a_record(name=""), "field 'name' is missing or empty"),
    "a number as name": (a_record() | {"name": 3}, "field 'name' must be a text, found 3"),
    "an unknown metric": (a_record(metric="blue"), "metric must be one of"),
    "no examples": (a_record(rows=0), "field 'examples' is missing or empty"),
    "a number of examples": (a_record(examples=600), "field 'examples' must be a list, found int"),
    "options as text": (a_record(options="yes"), "field 'options' must be a list of texts"),
    "an option twice": (
        a_record(**LABELS | {"options": ["yes", "yes"]}),
        "option 'yes' is listed twice",
    ),
    "cls without options": (a_record(**LABELS | {"options": []}), "a cls task needs 'options'"),
    "a label outside": (
        a_record(
            **LABELS,
            examples=[{"input": "a", "output": ["yes"]}, {"input": "b", "output": ["maybe"]}],
        ),
        "example 2: label 'maybe' is not among the options",
    ),
    "a name that is a path": (a_record("../toy"), "a name is up to 100 letters"),
    "draws without a test set": (
        a_record(draws={"100": [0]}),
        "'draws' and 'sets' need the task's own 'test' set",
    ),
    "one input with two labels": (
        a_record(
            **LABELS,
            examples=[{"input": "A  b", "output": ["yes"]}, {"input": "a B", "output": ["no"]}],
        ),
        "example 2: the input of example 1 again, 'yes' there and 'no' here",
    ),
    "an option that no example has": (
        a_record(**LABELS, examples=[{"input": "a", "output": ["yes"]}]),
        "no example has the label 'no'",
    ),
    "texts where numbers are scored": (
        a_record(
            metric="pearson",
            examples=[{"input": "a", "output": ["3.5"]}, {"input": "b", "output": ["high"]}],
        ),
        "example 2: the metric pearson needs numbers as outputs, found 'high'",
    ),
    "an empty output": (
        a_record(examples=[{"input": "a", "output": [""]}]),
        "example 1: 'output' must be",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_record_is_one_error_with_its_file(tmp_path, case):
    record, message = WRONG[case]
    path = write(tmp_path / "task.json", record)
    problems = schema.find_problems(path)
    assert len(problems) == 1 and problems[0].startswith(f"{path}: ") and message in problems[0]
    with pytest.raises(ValueError, match="task.json"):
        schema.load(path)


def test_malformed_json_names_the_line(tmp_path):
    path = tmp_path / "task.json"
    path.write_text('{"name": "a",\n "category": "cls"\n "metric": 1}')
    assert schema.find_problems(path) == [
        f"{path}: line 3, column 2: not valid JSON (Expecting ',' delimiter)"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"", "the file is empty"),
        ("a.json", b"\xff\xfe{", "not UTF-8"),
        ("a.json.gz", b"not gzip", "cannot be read"),
        ("a.json.gz", gzip.compress(b"{}" * 99, mtime=0)[:-9], "cannot be read"),
        ("a.json.gz", gzip.compress(b"{}" * 99, mtime=0)[:10] + b"\xff" * 30, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    problems = schema.find_problems(tmp_path)
    assert (
        len(problems) == 1
        and problems[0].startswith(str(tmp_path / name))
        and message in problems[0]
    )


def test_every_problem_of_a_folder_is_reported(tmp_path):
    bad = [{"input": "", "output": ["b"]}, {"input": "a", "output": ["b"]}, {"input": "c"}]
    write(tmp_path / "a.json", a_record("a", examples=bad))
    write(tmp_path / "b.json", a_record("twin"))
    write(tmp_path / "c.json", a_record("twin"))
    write(tmp_path / "d.json", a_record("d", examples=[{}] * 50))
    problems = schema.find_problems(tmp_path)
    assert (
        "a.json: example 1: 'input'" in problems[0] and "a.json: example 3: 'output'" in problems[1]
    )
    assert (
        problems[-2].endswith("d.json: 30 more examples are wrong")
        and "named 'twin'" in problems[-1]
    )
    assert len(problems) == 2 + 21 + 1
    with pytest.raises(
        ValueError, match=r"a\.json: example 1: .* \(and 23 more problems: ipt tasks check"
    ):
        schema.load(tmp_path)


def test_a_missing_or_empty_folder_is_named(tmp_path):
    assert "no such file" in schema.find_problems(tmp_path / "none")[0]
    assert "no task files" in schema.find_problems(tmp_path)[0]


def some_tasks(folder: Path, families: dict[str, int], small: int = 0) -> tuple:
    for family, count in families.items():
        for i in range(count):
            write(
                folder / f"{family}{i}.json",
                a_record(f"{family}{i}", family=family, subcategory=family),
            )
    for i in range(small):
        write(folder / f"small{i}.json", a_record(f"small{i}", rows=40))
    return schema.load(folder)


def test_a_split_keeps_families_on_one_side(tmp_path):
    tasks = some_tasks(tmp_path, dict.fromkeys("abcdefgh", 2), small=2)
    family = {t.name: t.family for t in tasks}
    splits = [draw_split(tasks, 7, 4, seed) for seed in range(5)]
    for split, skipped in splits:
        assert (len(split.seen), len(split.unseen), skipped) == (7, 4, ("small0", "small1"))
        assert not {family[n] for n in split.seen} & {family[n] for n in split.unseen}
        assert split.new_subcategories == split.unseen
    assert len({split.seen for split, _ in splits}) > 1
    assert draw_split(tasks[::-1], 7, 4, 0) == splits[0]
    names = sorted(family)
    crossed = {family[n] for n in names[:7]} & {family[n] for n in names[7:11]}
    assert crossed, "control: a draw without families puts one on both sides"


def test_a_split_is_found_where_one_family_is_large(tmp_path):
    tasks = some_tasks(tmp_path, {"large": 12, "b": 1})
    for seed in range(6):
        split, _ = draw_split(tasks, 12, 1, seed)
        assert split.unseen == ("b0",)


def test_too_few_tasks_are_one_error(tmp_path):
    tasks = some_tasks(tmp_path, {"large": 12}, small=1)
    with pytest.raises(
        ValueError,
        match=r"8 seen and 4 unseen .* 12 usable tasks of 1 families .*\(1 tasks are too small",
    ):
        draw_split(tasks, 8, 4, 0)
    with pytest.raises(ValueError, match="--seen must be at least 1"):
        draw_split(tasks, 0, 4, 0)


def test_a_folder_of_real_tasks():
    folder = os.environ.get("IPT_REAL_TASKS")
    if not folder:
        pytest.skip("set IPT_REAL_TASKS to a folder of real tasks in the schema")
    assert schema.find_problems(folder) == []
    tasks = schema.load(folder)
    split, skipped = draw_split(tasks, 12, 4, 42)
    assert len(split.all) == 16 and not set(skipped) & set(split.all)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = sorted({*a_record(), *LABELS, "test", "draws", "novel", "family"})


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    change=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3),
    row=JSON | st.fixed_dictionaries({"input": JSON, "output": JSON}),
)
def test_no_record_whatever_ends_in_a_trace(change, row):
    """Whatever stands in a file, it is a task or a list of problems that name the file."""
    base = a_record(rows=2)
    record = base | {"examples": [*base["examples"], row]} | change
    problems = schema.record_problems(record, "task.json")
    assert all(p.startswith("task.json: ") for p in problems)
    if not problems:
        assert Task.from_dict(record, "task.json").examples


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    suffix=st.sampled_from([".json", ".json.gz", ".yaml"]),
)
def test_no_content_whatever_ends_in_a_trace(tmp_path_factory, content, suffix):
    path = tmp_path_factory.getbasetemp() / f"task{suffix}"
    path.write_bytes(content)
    assert schema.find_problems(path) and all(
        p.startswith(str(path)) for p in schema.find_problems(path)
    )


def test_exported_tasks_read_back_as_they_were(tmp_path, capsys):
    assert cli.main(["tasks", "write", "ari_max,gra_actor", "--to", str(tmp_path / "mine")]) == 0
    back = schema.load(tmp_path / "mine")
    assert [t.name for t in back] == ["ari_max", "gra_actor"] and back == embedded.load(
        ["ari_max", "gra_actor"]
    )
    assert [t.digest for t in back] == [t.digest for t in embedded.load(["ari_max", "gra_actor"])]
    (tmp_path / "file").write_text("")
    assert cli.main(["tasks", "write", "ari_max", "--to", str(tmp_path / "file")]) == 2
    assert "is a file and no folder" in capsys.readouterr().err


def test_own_tasks_are_listed_and_shown_as_they_are(tmp_path, capsys):
    write(
        tmp_path / "toy.json",
        a_record(examples=[{"input": "a [bold]text[/bold] [SEP]", "output": ["[x]"]}] * 2),
    )
    assert cli.main(["tasks", "list", "--tasks", str(tmp_path)]) == 0
    assert "toy" in capsys.readouterr().out
    assert cli.main(["tasks", "show", "toy", "--tasks", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "a [bold]text[/bold] [SEP]" in shown and "[x]" in shown
    assert cli.main(["tasks", "show", "tox", "--tasks", str(tmp_path)]) == 2
    assert "unknown task 'tox'; did you mean toy" in capsys.readouterr().err
