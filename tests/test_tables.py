"""Tasks from CSV, JSON lines and Parquet, with a task file and bare."""

import json

import pytest
from conftest import toy_task
from datasets import Dataset

from ipt.tasks.readers import hub, schema

ROWS = [{"text": f"  word {i}", "label": i % 2, "other": f"w{i}"} for i in range(40)]
FILE = """
task: tone
dataset_path: csv
data_files: rows.csv
doc_to_text: "{{text | trim}} / {{other}}"
doc_to_target: label
doc_to_choice: [low, high]
category: cls
metric: accuracy
description: Say the tone.
entity: other
"""


@pytest.fixture
def folder(tmp_path):
    Dataset.from_list(ROWS).to_csv(tmp_path / "rows.csv")
    (tmp_path / "tone.yaml").write_text(FILE, encoding="utf8")
    return tmp_path


def test_a_task_file_says_how_rows_become_inputs_and_outputs(folder):
    (task,) = schema.load(folder)  # the table beside it is its data, not a task
    assert (task.name, task.category, task.metric, task.definition, task.options) == (
        "tone",
        "cls",
        "accuracy",
        "Say the tone.",
        ("low", "high"),
    )
    assert len(task.examples) == 40
    assert (task.examples[3].input, task.examples[3].output, task.examples[3].entity) == (
        "word 3 / w3",
        ("high",),
        "w3",
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_bare_table_of_inputs_and_outputs(tmp_path, suffix):
    table = Dataset.from_list(
        [{"input": e.input, "output": e.output[0]} for e in toy_task("first").examples]
    )
    path = str(tmp_path / f"mine.{suffix}")
    {"csv": table.to_csv, "jsonl": table.to_json, "parquet": table.to_parquet}[suffix](path)
    for place in (tmp_path, path):
        (task,) = schema.load(place)
        assert task.name == "mine" and task.category == "non-cls" and task.metric == "exact-match"
        assert [(e.input, e.output) for e in task.examples] == [
            (e.input, e.output) for e in toy_task("first").examples
        ]


def test_several_accepted_answers_are_a_list(tmp_path):
    rows = [{"input": f"x {i}", "output": [f"a{i}", f"b{i}"]} for i in range(5)]
    (tmp_path / "two.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    (task,) = schema.load(tmp_path)
    assert task.examples[2].output == ("a2", "b2")


def test_at_most_so_many_rows_are_taken_and_the_same_each_time(folder):
    (folder / "tone.yaml").write_text(FILE + "rows: 10\n", encoding="utf8")
    first, second = schema.load(folder), schema.load(folder)
    assert (
        first == second
        and len(first[0].examples) == 10
        and first[0].examples[0].input != "word 0 / w0"
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            ("metric: accuracy", "metrics: accuracy"),
            "fields missing: metric; unknown fields: metrics",
        ),
        (("data_files: rows.csv", "data_files: nothing.csv"), "nothing.csv is not there"),
        (("data_files: rows.csv", ""), "'data_files' belongs to dataset_path csv, json, parquet"),
        (
            ("{{other}}", "{{another}}"),
            "row 1: .*'another' is undefined.*columns are text, label, other",
        ),
        (
            ("doc_to_target: label", "doc_to_target: answer"),
            "row 1: no column 'answer'; there are text, label, other",
        ),
        (("[low, high]", "[low]"), "row 2: target 1 is beyond the 1 choices"),
        (("doc_to_choice: [low, high]", "doc_to_choice: [low"), "line 8: not valid YAML"),
        (
            ("[low, high]", "[no, yes]"),
            "'doc_to_choice' must be a list of texts, found .False, True.; write yes, no",
        ),
        (("entity: other", "splits: train"), "'splits' must be a list of texts, found 'train'"),
        (("entity: other", "rows: many"), "'rows' must be a whole number, 1 or more, found 'many'"),
        (("{{text | trim}}", "{{''.__class__.__mro__}}"), "row 1: .* unsafe"),
    ],
)
def test_a_wrong_task_file_says_where(folder, change, says):
    (folder / "tone.yaml").write_text(FILE.replace(*change), encoding="utf8")
    with pytest.raises(ValueError, match=says):
        schema.load(folder)
    assert str(folder / "tone.yaml") in schema.find_problems(folder)[0]


@pytest.mark.parametrize(
    ("offline", "says"),
    [(False, "out of reach; set HF_HUB_OFFLINE=1"), (True, "nobody/nothing cannot be read")],
)
def test_a_data_set_of_the_hub_fails_at_once_without_it(folder, monkeypatch, offline, says):
    monkeypatch.setattr("ipt.hub.is_reachable", lambda: False)
    monkeypatch.setattr("ipt.hub.is_offline", lambda: offline)
    if offline:
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (folder / "tone.yaml").write_text(
        FILE.replace("csv", "nobody/nothing", 1).replace("data_files: rows.csv", ""),
        encoding="utf8",
    )
    with pytest.raises(ValueError, match=says):
        schema.load(folder)


def test_a_table_without_its_columns_is_refused(folder):
    with pytest.raises(
        ValueError, match="needs the columns input and output, input and output missing"
    ):
        schema.load(folder / "rows.csv")


def test_a_converted_data_set_is_read_by_its_files(tmp_path, monkeypatch):
    """Only what the pattern names, whichever configuration holds it.

    Where it has none, the message says what was sought.
    """
    for part, rows in (("train", ROWS), ("test", ROWS[:3])):
        (tmp_path / "plain" / part).mkdir(parents=True)
        Dataset.from_list(rows).to_parquet(tmp_path / "plain" / part / "0000.parquet")
    asked = []
    monkeypatch.setattr("ipt.hub.is_reachable", lambda: True)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda name, **more: asked.append((name, more)) or str(tmp_path),
    )
    assert (
        hub.read_converted("here", "some/set", "refs/convert/parquet", "*/test/*.parquet").to_list()
        == ROWS[:3]
    )
    assert asked == [
        (
            "some/set",
            {
                "repo_type": "dataset",
                "revision": "refs/convert/parquet",
                "allow_patterns": "*/test/*.parquet",
            },
        )
    ]
    with pytest.raises(
        ValueError,
        match=r"here: some/set has no file \*/dev/\*.parquet in its revision refs/convert/parquet",
    ):
        hub.read_converted("here", "some/set", "refs/convert/parquet", "*/dev/*.parquet")


def test_a_data_sets_folder_is_read_and_its_script_is_not(tmp_path):
    (tmp_path / "tone" / "data").mkdir(parents=True)
    for part, rows in (("train", ROWS[:30]), ("test", ROWS[30:])):
        Dataset.from_list(rows).to_parquet(
            tmp_path / "tone" / "data" / f"{part}-00000-of-00001.parquet"
        )
    (tmp_path / "tone" / "tone.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf8"
    )
    file = FILE.replace(
        "dataset_path: csv\ndata_files: rows.csv", "dataset_path: tone\nsplits: [train, test]"
    )
    (tmp_path / "tone.yaml").write_text(file, encoding="utf8")
    try:
        (task,) = schema.load(tmp_path / "tone.yaml")
        assert len(task.examples) == 40 and task.options == ("low", "high")
    except ValueError as error:  # some versions refuse a folder with a script, none may run it
        assert "script" in str(error)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "tone" / "tone.py").unlink()
    assert len(schema.load(tmp_path / "tone.yaml")[0].examples) == 40
