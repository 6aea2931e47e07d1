"""Rows of CSV, JSON lines and Parquet become inputs, answers and entities: by hand.

Columns are named so that they are easily confused.
"""

import json

import pytest
from datasets import Dataset
from jinja2.sandbox import SecurityError

from ipt.tasks.readers import hub, schema, tables
from ipt.tasks.readers.templates import sandbox

FILE = """
task: made
dataset_path: json
data_files: rows.jsonl
doc_to_text: text
doc_to_target: answer
category: non-cls
metric: exact-match
"""


@pytest.fixture(autouse=True)
def unreachable(monkeypatch):
    """Local files never ask the hub."""

    def asked():
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("ipt.hub.is_offline", asked)
    monkeypatch.setattr("ipt.hub.is_reachable", asked)


def put(folder, rows, change=(), more=""):
    """Write rows as JSON lines and their task file."""
    lines = [json.dumps(row) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf8")
    text = FILE
    for before, after in dict(change).items():
        assert before in text
        text = text.replace(before, after)
    path = folder / "made.yaml"
    path.write_text(text + more, encoding="utf8")
    return path


def noting(asked, table):
    """Stand in for a reader that notes what it is asked for."""

    def read(*given, **more):
        asked.append((*given, *more.values()))
        return table

    return read


def record(*given, **more):
    return tables.from_task_file(put(*given, **more))


def test_every_field_of_a_task_file_has_its_place(tmp_path):
    more = "description: Say it.\nsubcategory: sub\nfamily: fam\n"
    more += "entity: about\ndoc_to_choice: [b, a]\n"
    row = {"text": "one", "answer": "a", "about": "x"}
    assert record(tmp_path, [row], more=more) == {
        "name": "made",
        "definition": "Say it.",
        "options": ["b", "a"],
        "examples": [{"input": "one", "output": ["a"], "entity": "x"}],
        "category": "non-cls",
        "metric": "exact-match",
        "subcategory": "sub",
        "family": "fam",
    }
    bare = record(tmp_path, [row])
    assert (bare["definition"], bare["subcategory"], bare["family"], bare["options"]) == (
        "",
        "",
        "",
        None,
    )
    assert bare["examples"][0]["entity"] == ""


def test_a_rule_is_a_column_or_a_template(tmp_path):
    row = {"text": "one", "{odd}": "two", "number": 7, "inner": {"part": "three"}, "answer": "a"}
    for rule, found in (
        ("text", "one"),
        ('"{odd}"', "two"),  # a column, whatever its name looks like
        ("number", "7"),
        ("\"{{inner.part}} & {{number + 1}} {{'<'}}\"", "three & 8 <"),
        ('"{{text|upper}}\\n{% if number > 3 %}many{% endif %}"', "ONE\nmany"),
    ):
        made = record(tmp_path, [row], {"doc_to_text: text": f"doc_to_text: {rule}"})
        assert made["examples"][0]["input"] == found


def test_the_target_and_the_entity_may_be_templates_of_their_own(tmp_path):
    change = {"doc_to_target: answer": 'doc_to_target: "{{answer}}!"'}
    made = record(
        tmp_path, [{"text": "t", "answer": "a"}], change, more='entity: "{{text}}-{{answer}}"\n'
    )
    assert made["examples"] == [{"input": "t", "output": ["a!"], "entity": "t-a"}]


@pytest.mark.parametrize(
    ("choices", "target", "answer"),
    [
        ("[low, mid, high]", 0, ["low"]),
        ("[low, mid, high]", 2, ["high"]),
        ("[low, mid, high]", "1", ["mid"]),
        ("[low, mid, high]", "mid", ["mid"]),
        ("['2', '0', '1']", 0, ["2"]),  # also where a choice is itself a number
        ("['2', '0', '1']", "1", ["0"]),
        ("['1', '2', '3', '4', '5']", 4, ["5"]),
        ("[low, mid, high]", "002", ["high"]),
        ("[low, mid, high]", True, ["mid"]),
        ("[low, mid, high]", 2.0, ["high"]),
        ("['0.5', '2.0', '1.0']", 1.0, ["1.0"]),  # a float that is written there is no index
        ("[low, mid, high]", [2, 0], ["high", "low"]),
        ("[low, mid, high]", [None, "mid"], ["mid"]),
        ("[low, mid, high]", ["mid", "low"], ["mid", "low"]),
        ("[low, mid, high]", -1, ["-1"]),
    ],
)
def test_a_number_is_the_index_of_a_choice(tmp_path, choices, target, answer):
    made = record(tmp_path, [{"text": "t", "answer": target}], more=f"doc_to_choice: {choices}\n")
    assert made["examples"][0]["output"] == answer


def test_without_choices_a_number_is_itself(tmp_path):
    assert record(tmp_path, [{"text": "t", "answer": 1}])["examples"][0]["output"] == ["1"]
    assert record(tmp_path, [{"text": "t", "answer": [1, 2]}])["examples"][0]["output"] == [
        "1",
        "2",
    ]


def test_a_target_beyond_the_choices_is_named_with_its_row(tmp_path):
    rows = [{"text": "t", "answer": i} for i in (0, 1, 2)]
    with pytest.raises(ValueError, match=r"made.yaml: row 3: target 2 is beyond the 2 choices"):
        record(tmp_path, rows, more="doc_to_choice: [a, b]\n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"doc_to_text: text": "doc_to_text: txt"},
            "row 1: no column 'txt'; there are text, answer",
        ),
        (
            {"doc_to_text: text": "doc_to_text: '{{text[0]}}{{absent}}'"},
            "row 1: .* cannot be filled .*'absent' is undefined",
        ),
        ({"doc_to_text: text": "doc_to_text: '{{text'"}, "row 1: .* cannot be filled"),
    ],
)
def test_a_rule_that_cannot_be_filled_is_named_with_its_row(tmp_path, change, says):
    with pytest.raises(ValueError, match=says):
        record(tmp_path, [{"text": "one", "answer": "a"}], change)


def test_the_row_that_lacks_a_value_is_counted_from_one(tmp_path):
    rows = [{"text": {"a": "x"}, "answer": "a"}, {"text": None, "answer": "a"}]
    with pytest.raises(ValueError, match="made.yaml: row 2: "):
        record(tmp_path, rows, {"doc_to_text: text": "doc_to_text: '{{text.a}}'"})


def test_a_null_is_no_word(tmp_path):
    """An input or an answer that is null is named with its row, an entity is none."""
    right = {"text": "t", "answer": "a", "about": None}
    assert record(tmp_path, [right], more="entity: about\n")["examples"] == [
        {"input": "t", "output": ["a"], "entity": ""}
    ]
    with pytest.raises(ValueError, match="made.yaml: row 2: it has no input: 'text' is empty"):
        record(tmp_path, [right, right | {"text": None}])
    with pytest.raises(ValueError, match="made.yaml: row 2: it has no answer: 'answer' is empty"):
        record(tmp_path, [right, right | {"answer": None}])


def test_a_null_in_a_list_is_no_word(tmp_path):
    rows = [{"text": ["a", "b"], "answer": ["x"]}, {"text": ["a", None], "answer": ["y", None]}]
    whole = {"doc_to_text: text": "doc_to_text: '{{answer[0]}}'"}
    targets = {
        "answer": (["x"], ["y"]),
        "'{{answer}}'": (["x"], ["y"]),
        "'All: {{answer[0]}}'": (["All: x"], ["All: y"]),
    }
    for target, outputs in targets.items():
        change = whole | {"doc_to_target: answer": f"doc_to_target: {target}"}
        examples = record(tmp_path, rows, change)["examples"]
        assert tuple(example["output"] for example in examples) == outputs
    for field in ("doc_to_text: text", "doc_to_target: answer"):
        name, column = field.split(": ")
        change = whole | {field: f"{name}: 'All: {{{{{column}}}}}'"}
        with pytest.raises(ValueError, match=rf"row 2: .*{column}\[1\] is empty or null"):
            record(tmp_path, rows, change)
        assert record(tmp_path, rows[:1], change)["examples"]  # control


def test_a_bare_table_by_hand(tmp_path):
    rows = [
        {"input": "x", "output": 5, "entity": None, "more": "m"},
        {"input": "y", "output": 6, "entity": 7, "more": "n"},
    ]
    Dataset.from_list(rows).to_parquet(tmp_path / "bare.parquet")
    assert tables.from_table(tmp_path / "bare.parquet") == {
        "name": "bare",
        "category": "non-cls",
        "metric": "exact-match",
        "examples": [
            {"input": "x", "output": ["5"], "entity": ""},
            {"input": "y", "output": ["6"], "entity": "7"},
        ],
    }


def test_an_empty_cell_of_a_csv_is_no_answer(tmp_path):
    (tmp_path / "bare.csv").write_text('input,output\n"a, b",c\nd,\n', encoding="utf8")
    found = tables.from_table(tmp_path / "bare.csv")["examples"]
    assert [(row["input"], row["output"], row["entity"]) for row in found] == [
        ("a, b", ["c"], ""),
        ("d", [], ""),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"input": "a"}, "columns input and output, output missing"),
        ({"output": "a"}, "columns input and output, input missing"),
        ({"x": "a"}, "columns input and output, input and output missing"),
    ],
)
def test_a_bare_table_says_which_column_is_missing(tmp_path, row, says):
    (tmp_path / "bare.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=f"bare.jsonl: a table needs the {says}"):
        tables.from_table(tmp_path / "bare.jsonl")


def test_of_too_many_rows_the_first_after_a_shuffle_are_taken(tmp_path, monkeypatch):
    rows = [
        {"text": f"t{i}", "answer": f"a{i}", "input": f"t{i}", "output": "b"} for i in range(12)
    ]
    texts = lambda made: [row["input"] for row in made["examples"]]
    shuffled = [row["text"] for row in Dataset.from_list(rows).shuffle(seed=42).to_list()]
    assert (
        texts(record(tmp_path, rows, more="rows: 5\n"))
        == shuffled[:5]
        != [f"t{i}" for i in range(5)]
    )
    for enough in (12, 13):
        assert texts(record(tmp_path, rows, more=f"rows: {enough}\n")) == [
            f"t{i}" for i in range(12)
        ]
    assert texts(record(tmp_path, rows, more="rows: 11\n")) == shuffled[:11]
    monkeypatch.setattr(tables, "MOST_ROWS", 7)
    assert (
        texts(record(tmp_path, rows))
        == shuffled[:7]
        == texts(tables.from_table(tmp_path / "rows.jsonl"))
    )
    made = record(tmp_path, rows, more="rows: 5\n")["examples"]
    assert all(
        row["output"] == [row["input"].replace("t", "a")] for row in made
    )  # pairs stay together


def test_five_thousand_rows_are_taken_where_nothing_is_said(tmp_path):
    rows = [{"input": f"t{i}", "output": "b"} for i in range(5001)]
    Dataset.from_list(rows).to_parquet(tmp_path / "bare.parquet")
    assert len(tables.from_table(tmp_path / "bare.parquet")["examples"]) == 5000


def a_folder(place):
    """A data set's folder as the hub has it: two parts of its own name."""
    (place / "data").mkdir(parents=True)
    for part in ("train", "test"):
        rows = [{"text": f"{place.parent.name} {part}", "answer": "a"}]
        Dataset.from_list(rows).to_parquet(place / "data" / f"{part}-00000-of-00001.parquet")


@pytest.mark.parametrize(
    ("splits", "texts"),
    [
        ("", ["tasks train"]),
        ("splits: [test, train]\n", ["tasks test", "tasks train"]),
        ("splits: [train, test]\n", ["tasks train", "tasks test"]),
        ("splits: [test]\n", ["tasks test"]),
    ],
)
def test_the_parts_of_a_data_sets_folder_come_in_the_order_asked_for(
    tmp_path, monkeypatch, splits, texts
):
    a_folder(tmp_path / "tasks" / "set")
    a_folder(tmp_path / "elsewhere" / "set")
    monkeypatch.chdir(tmp_path / "elsewhere")
    change = {"dataset_path: json": "dataset_path: set", "data_files: rows.jsonl\n": ""}
    made = record(tmp_path / "tasks", [], change, more=splits)
    assert [row["input"] for row in made["examples"]] == texts
    assert made["name"] == "made"


def test_files_lie_beside_the_task_file_and_not_where_the_command_is_given(tmp_path, monkeypatch):
    for place in ("tasks", "elsewhere"):
        (tmp_path / place).mkdir()
        path = put(tmp_path / place, [{"text": f"of {place}", "answer": "a"}])
    monkeypatch.chdir(path.parent)
    assert (
        tables.from_task_file(tmp_path / "tasks" / "made.yaml")["examples"][0]["input"]
        == "of tasks"
    )


def test_a_folder_named_like_a_kind_of_file_is_not_read_for_it(tmp_path, monkeypatch):
    asked = []
    table = Dataset.from_list([{"text": "t", "answer": "a"}])
    table.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(hub, "read_files", noting(asked, table))
    (tmp_path / "parquet").mkdir()
    change = {"path: json": "path: parquet", "rows.jsonl": "rows.parquet"}
    path = put(tmp_path, [], change)
    tables.from_task_file(path)
    assert asked == [(str(path), "parquet", str(tmp_path / "rows.parquet"), "train")]


def test_templates_may_have_filters_of_their_own_and_reach_no_code():
    made = sandbox({"twice": lambda text: 2 * text})
    assert made.from_string("{{x|twice}}").render(x="ab") == "abab"
    with pytest.raises(SecurityError):
        made.from_string("{{x.__class__.__mro__}}").render(x="ab")


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (
            {"data_files: rows.jsonl": ""},
            "",
            "'data_files' belongs to dataset_path csv, json, parquet, conll, and these need it",
        ),
        ({"dataset_path: json": "dataset_path: set"}, "", "'data_files' belongs to dataset_path"),
        ({"rows.jsonl": "lost.jsonl"}, "", "lost.jsonl is not there"),
        (
            {"task: made": "", "metric: exact-match": "metric: ''"},
            "b: 1\na: 2\n",
            "fields missing: task, metric; unknown fields: a, b; known",
        ),
        ({}, "1: x\n", "made.yaml: unknown fields: 1; known are task, dataset_path, doc_to_text"),
        ({}, "splits: [train, 1]\n", "'splits' must be a list of texts, found .'train', 1.; write it in quotes$"),
        (
            {},
            "doc_to_choice: [yes]\n",
            "'doc_to_choice' must be a list of texts, found .True.; "
            "write yes, no, on and off in quotes",
        ),
        ({}, "rows: '5'\n", "'rows' must be a whole number, 1 or more, found '5'"),
        ({}, "entity: 5\n", "'entity' must be a text, found 5"),
        ({"task: made": "task: 5"}, "", "'task' must be a text, found 5"),
        ({"metric: exact-match": "metric: [x"}, "", "line 9: not valid YAML"),
    ],
)
def test_a_wrong_task_file_says_what_is_wrong(tmp_path, change, more, says):
    path = put(tmp_path, [{"text": "t", "answer": "a"}], change, more)
    with pytest.raises(ValueError, match=says):
        tables.from_task_file(path)


def test_a_task_file_that_is_no_mapping_or_no_text(tmp_path):
    path = tmp_path / "made.yaml"
    path.write_text("- a\n- b\n")
    with pytest.raises(ValueError, match="made.yaml: a task file is a list of fields, found list"):
        tables.from_task_file(path)
    for content, says in ((b"task: \xff", "not UTF-8 text"), (b"task: \x07", "not valid YAML")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"made.yaml: {says}"):
            tables.from_task_file(path)
    assert schema.find_problems(tmp_path / "made.yml") == [
        f"{tmp_path / 'made.yml'}: no such file or folder"
    ]


@pytest.mark.parametrize(
    ("offline", "answers", "fails"),
    [(True, False, False), (False, True, False), (False, False, True)],
)
def test_the_hub_is_asked_for_a_data_set_of_the_hub_alone(
    tmp_path, monkeypatch, offline, answers, fails
):
    asked = []
    monkeypatch.setattr("ipt.hub.is_offline", lambda: offline)
    monkeypatch.setattr("ipt.hub.is_reachable", lambda: answers)
    monkeypatch.setattr(
        "datasets.load_dataset", lambda kind, **more: asked.append((kind, more)) or "rows"
    )
    if fails:
        with pytest.raises(
            ValueError,
            match="here: some/set is a data set of the hub, which is out of reach; "
            "set HF_HUB_OFFLINE=1",
        ):
            hub.read_split("here", "some/set", "test", "part")
    else:
        assert hub.read_split("here", "some/set", "test", "part") == "rows"
        assert asked == [("some/set", {"split": "test", "name": "part"})]


def test_the_configuration_of_a_data_set_is_asked_for(tmp_path, monkeypatch):
    asked = []
    table = Dataset.from_list([{"text": "t", "answer": "a"}])
    monkeypatch.setattr(hub, "read_split", noting(asked, table))
    change = {"dataset_path: json": "dataset_path: some/set", "data_files: rows.jsonl\n": ""}
    path = put(tmp_path, [], change, "dataset_name: part\nsplits: [test, dev]\n")
    assert len(tables.from_task_file(path)["examples"]) == 2
    assert asked == [(str(path), "some/set", split, "part") for split in ("test", "dev")]


def test_a_file_that_is_damaged_is_named_with_the_cause_in_a_line(tmp_path):
    path = put(tmp_path, [])
    (tmp_path / "rows.jsonl").write_text('{"text": "a"\n{]')
    says = r"^[^\n]*made.yaml: [^\n]*rows.jsonl: line 2, column 1: not valid JSON \([^\n]+\)$"
    with pytest.raises(ValueError, match=says):
        tables.from_task_file(path)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1" * 9)
    change = {"path: json": "path: parquet", "rows.jsonl": "rows.parquet"}
    path = put(tmp_path, [], change)
    says = r"^[^\n]*made.yaml: parquet cannot be read \(Parquet[^\n]+\)$"
    with pytest.raises(ValueError, match=says):
        tables.from_task_file(path)


def test_a_bare_table_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "bare.jsonl"
    path.write_text('{"input": "a"\n{]')
    with pytest.raises(ValueError, match=rf"^{path}: line 2, column 1: not valid JSON"):
        tables.from_table(path)


def test_of_a_cause_of_several_lines_the_first_is_told(tmp_path, monkeypatch):
    def broken(kind, **more):
        raise ValueError(" first line\nsecond line")

    monkeypatch.setattr("datasets.load_dataset", broken)
    with pytest.raises(ValueError, match=r"^here: csv cannot be read \(first line\)$"):
        hub.read_files("here", "csv", "rows.csv")
