"""Tables say what their files say: CSV is text, JSON's values are JSON's, Parquet's are its own.

And targets mean what they mean in lm-evaluation-harness.
"""

import codecs
import datetime
import gzip
import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from ipt.tasks.readers import schema, tables
from ipt.tasks.readers.contents import csv_rows, json_rows, read_json

FILE = """
task: made
dataset_path: {data_set}
data_files: rows.{suffix}
doc_to_text: {text}
doc_to_target: {target}
category: {category}
metric: {metric}
"""
FORMATS = {"csv": "csv", "tsv": "csv", "jsonl": "json", "parquet": "parquet"}


def task_file(folder, suffix, text="text", target="label", choices=None):
    """Write a task file over rows.SUFFIX and return its path."""
    category = "cls" if choices else "non-cls"
    metric = "accuracy" if choices else "exact-match"
    content = FILE.format(
        data_set=FORMATS[suffix],
        suffix=suffix,
        text=json.dumps(text),
        target=json.dumps(target),
        category=category,
        metric=metric,
    )
    if choices:
        content += f"doc_to_choice: {json.dumps(choices)}\n"
    path = folder / "made.yaml"
    path.write_text(content, encoding="utf8")
    return path


def pairs(path):
    """Return inputs and answers of the one task of a file that has no problem."""
    assert schema.find_problems(path) == []
    (task,) = schema.load(path)
    return [(example.input, *example.output) for example in task.examples]


def problem(path):
    (found,) = schema.find_problems(path)
    assert "\n" not in found and found.startswith(str(path))
    return found.removeprefix(f"{path}: ")


def put(folder, name, content):
    path = folder / name
    path.write_text(content, encoding="utf8", newline="")
    return path


def put_json(folder, rows):
    lines = [json.dumps(row) for row in rows]
    return put(folder, "rows.jsonl", "\n".join(lines))


WORDS = ("NA", "null", "None", "N/A", "nan", "NaN", "", "#N/A", "-", "inf", "true", "False")
NUMBERS = ("000", "007", "0.50", "1e5", "2", "2.0", "-0", "1_000", "+5", "2024-01-01", " 3 ")


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_cells_are_texts_as_written(tmp_path, suffix, separator, quote):
    cells = [cell for cell in WORDS + NUMBERS if cell]
    lines = [f"{quote}{cell}{quote}{separator}x" for cell in cells]
    path = put(tmp_path, f"rows.{suffix}", f"input{separator}output\n" + "\n".join(lines))
    assert pairs(path) == [(cell, "x") for cell in cells]
    turned = [f"x {i}{separator}{quote}{cell}{quote}" for i, cell in enumerate(cells)]
    path = put(tmp_path, f"rows.{suffix}", f"input{separator}output\n" + "\n".join(turned))
    assert [answer for _, answer in pairs(path)] == cells
    assert pairs(task_file(tmp_path, suffix, "input", "output")) == pairs(path)
    assert pairs(task_file(tmp_path, suffix, "{{input}}", "{{output}}")) == pairs(path)


def test_an_empty_cell_is_missing_and_so_is_one_of_a_short_line(tmp_path):
    path = put(tmp_path, "rows.csv", 'a,b,c\n1,,""\n2\n\n3,x,y\n')
    assert [dict(row) for row in csv_rows(path)] == [
        {"a": "1", "b": None, "c": None},
        {"a": "2", "b": None, "c": None},
        {"a": "3", "b": "x", "c": "y"},
    ]


def test_quotes_line_ends_and_byte_order_marks(tmp_path):
    text = 'input,output\r\n"a ""q"", b",c\r\n"d\r\ne", f \r\n'
    rows = [('a "q", b', "c"), ("d\r\ne", " f ")]
    assert pairs(put(tmp_path, "rows.csv", text)) == rows
    assert pairs(put(tmp_path, "rows.csv", "\ufeff" + text)) == rows
    long = "w" * 200_000  # longer than the module's own limit of a cell
    assert pairs(put(tmp_path, "rows.csv", f"input,output\n{long},x\n")) == [(long, "x")]


def test_byte_order_marks_in_every_kind_of_file(tmp_path):
    line = json.dumps({"input": "a", "output": "b"})
    assert pairs(put(tmp_path, "rows.jsonl", f"\ufeff{line}\r\n\r\n{line}\n")) == [("a", "b")] * 2
    path = task_file(tmp_path, "jsonl", "input", "output")
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert pairs(path) == [("a", "b")] * 2
    assert read_json(put(tmp_path, "x.json", '\ufeff{"a": [1]}')) == {"a": [1]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "input,output\n007,NA\n"),
        ("rows.tsv", "input\toutput\n007\tNA\n"),
        ("rows.jsonl", '{"input": "007", "output": "NA"}\n'),
    ],
)
def test_a_packed_table_is_read_as_the_table(tmp_path, name, content):
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(content.encode()))
    assert pairs(path) == pairs(put(tmp_path, name, content)) == [("007", "NA")]
    assert [task.name for task in schema.load(path)] == ["rows"]
    path.write_bytes(b"no archive")
    assert "cannot be read" in problem(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("input;output\na;b\n", "columns are: input;output"),
        ("\ufeffinput;output\na;b\n", "columns are: input;output"),
        ("input\toutput\na\tb\n", "input and output missing"),
        ("input,output\na,b\nc,d,e\n", "line 3: 3 cells, and the header names 2 columns"),
        ('input,output\na,"b\nc,d\n', "line 3: not valid CSV"),
        ("input,output,output\na,b,c\n", "two columns are named 'output'"),
        ("input,output\n", "the table has no rows"),
        ("", "the table has no rows"),
    ],
)
def test_a_csv_that_is_none_is_one_line(tmp_path, content, says):
    assert says in problem(put(tmp_path, "rows.csv", content))


def test_a_quotation_mark_of_a_tsv_takes_no_lines(tmp_path):
    lines = 'input\toutput\n"Stop, he said\ta\nnext\tb\nthe "end"\tc\n"go\ton"\td\nend"\te\n'
    told = problem(put(tmp_path, "rows.tsv", lines))
    assert told.startswith("line ") and "not valid CSV" in told
    told = problem(put(tmp_path, "rows.tsv", 'input\toutput\n"Stop\ta\nnext\tb\nend"\tc\n'))
    assert told.startswith("line 4: a text in double quotes goes over tabs and lines")
    right = 'input\toutput\n"""Stop"", he said\nnext"\t"a\tb"\n'  # control
    assert pairs(put(tmp_path, "rows.tsv", right)) == [('"Stop", he said\nnext', "a\tb")]


def test_latin_1_is_told(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes("input,output\ncaf\u00e9,b\n".encode("latin-1"))
    assert problem(path) == "not UTF-8 text (byte 16); save it as UTF-8"


def test_columns_without_a_name_do_no_harm(tmp_path):
    path = put(tmp_path, "rows.csv", ",input,output,\n0,a,b,\n1,c,d,\n")
    assert pairs(path) == [("a", "b"), ("c", "d")]


def test_values_of_json_are_those_of_json(tmp_path):
    """Dates stay, and a number beside a text or a gap makes none of its neighbours another."""
    values = ["2024-01-01", "2024-01-01T10:00:00Z", "NA", "None", "000", 2, 2.5, -1, 10**30, "true"]
    path = put_json(tmp_path, [{"input": f"q {i}", "output": v} for i, v in enumerate(values)])
    expected = [str(value) for value in values]
    assert [answer for _, answer in pairs(path)] == expected
    rows = json_rows(put_json(tmp_path, [{"a": 1}, {"a": None, "b": 2.5}, {"a": 3}]))
    assert [dict(row) for row in rows] == [
        {"a": 1, "b": None},
        {"a": None, "b": 2.5},
        {"a": 3, "b": None},
    ]
    assert isinstance(rows[2]["a"], int)


def test_one_list_of_objects_and_objects_over_lines(tmp_path):
    rows = [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]
    for text in (json.dumps(rows), "\n".join(json.dumps(row, indent=1) for row in rows)):
        assert pairs(put(tmp_path, "rows.jsonl", text)) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the table has no rows"),
        ("\n \n", "the table has no rows"),
        ("[]", "the table has no rows"),
        ('{"input": "a", "output": NaN}', "line 1: not valid JSON (NaN is no value of JSON"),
        ('{"a": 1}\n\n{"b": -Infinity}', "line 3: not valid JSON (-Infinity is no value"),
        ('{"a": 1e999}', "1e999 is too large a number"),
        ('{"a": ' + "9" * 5000 + "}", "line 1: not valid JSON (Exceeds the limit"),
        ('{"a": 1, "a": 2}', "the key 'a' is there twice in one object"),
        ('{"a": 1}\n[2]', "row 2 must be a JSON object, found list"),
        ('{"a": 1}\nx', "line 2, column 1: not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"input": "a", "output": true}', "row 1: 'output' is the truth value True"),
        ('{"input": false, "output": "x"}', "row 1: 'input' is the truth value False"),
        ('{"input": "a", "output": [["b"]]}', "row 1: 'output' must be a text or a number, found"),
        ('{"input": "a", "output": {"b": 1}}', "'output' must be a text or a number, found dict"),
        ('{"input": ["a"], "output": "b"}', "'input' must be a text or a number, found list"),
        ('{"input": "a", "output": null}', "example 1: 'output' must be a list of texts that"),
        ('{"input": "a", "output": [null]}', "example 1: 'output' must be a list of texts that"),
        ('{"input": null, "output": "a"}', "example 1: 'input' must be a text that is not empty"),
    ],
)
def test_json_lines_that_are_none_are_one_line(tmp_path, content, says):
    assert says in problem(put(tmp_path, "rows.jsonl", content))


def test_values_of_parquet_are_its_own(tmp_path):
    rows = [
        {"text": "007", "day": datetime.date(2024, 1, 1), "number": 2.0, "whole": 5, "gap": 1},
        {"text": "NA", "day": datetime.date(2024, 1, 2), "number": 0.5, "whole": 6, "gap": None},
    ]
    Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    for column, expected in (
        ("text", ["007", "NA"]),
        ("day", ["2024-01-01", "2024-01-02"]),
        ("number", ["2.0", "0.5"]),
        ("whole", ["5", "6"]),
    ):
        path = task_file(tmp_path, "parquet", text="text", target=column)
        assert [answer for _, answer in pairs(path)] == expected
    told = problem(task_file(tmp_path, "parquet", text="text", target="gap"))
    assert told == "row 2: it has no answer: 'gap' is empty or null"


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_numbers_of_parquet_have_the_digits_of_their_precision(tmp_path, kind):
    types = Features({"text": Value("string"), "label": Value(kind)})
    rows = {"text": ["a", "b", "c"], "label": [0.1, 2.5, 3.0]}
    Dataset.from_dict(rows, features=types).to_parquet(tmp_path / "rows.parquet")
    path = task_file(tmp_path, "parquet")
    assert pairs(path) == [("a", "0.1"), ("b", "2.5"), ("c", "3.0")]
    rows["label"][1] = None
    Dataset.from_dict(rows, features=types).to_parquet(tmp_path / "rows.parquet")
    assert problem(path) == "row 2: it has no answer: 'label' is empty or null"


def test_a_class_label_of_parquet_is_an_index(tmp_path):
    labels = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})
    rows = {"text": ["a", "b", "c"], "label": [0, 1, 0]}
    Dataset.from_dict(rows, features=labels).to_parquet(tmp_path / "rows.parquet")
    path = task_file(tmp_path, "parquet", choices=["good", "bad"])
    assert pairs(path) == [("a", "good"), ("b", "bad"), ("c", "good")]


def labelled(folder, labels, suffix="jsonl"):
    """Write rows with these labels."""
    if suffix == "csv":
        lines = [f"q {i},{label}" for i, label in enumerate(labels)]
        return put(folder, "rows.csv", "text,label\n" + "\n".join(lines))
    return put_json(folder, [{"text": f"q {i}", "label": v} for i, v in enumerate(labels)])


STARS = ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("suffix", "labels", "choices", "answers"),
    [
        ("csv", [0, 1, 2, 3, 4], STARS, STARS),
        ("jsonl", [0, 1, 2, 3, 4], STARS, STARS),
        ("csv", [0, 1, 0, 1], ["1", "0"], ["1", "0", "1", "0"]),
        ("jsonl", [0, 1], ["1", "0"], ["1", "0"]),
        ("jsonl", ["0", "1"], ["1", "0"], ["1", "0"]),
        ("jsonl", [False, True], ["no", "yes"], ["no", "yes"]),
        ("jsonl", [0.0, 1.0], ["no", "yes"], ["no", "yes"]),
        ("csv", ["true", "false"], ["true", "false"], ["true", "false"]),
        ("csv", ["None", "NA"], ["NA", "None"], ["None", "NA"]),
        ("jsonl", ["yes", "no"], ["no", "yes"], ["yes", "no"]),
    ],
)
def test_digits_and_truth_values_count_choices(tmp_path, suffix, labels, choices, answers):
    labelled(tmp_path, labels, suffix)
    assert [row[1] for row in pairs(task_file(tmp_path, suffix, choices=choices))] == answers


def test_a_row_without_a_label_is_named(tmp_path):
    labelled(tmp_path, [0, 1, 0, 1, ""], "csv")
    told = problem(task_file(tmp_path, "csv", choices=["low", "high"]))
    assert told == "row 5: it has no answer: 'label' is empty or null"


@pytest.mark.parametrize("labels", [[0, 1, 5], ["0", "1", "5"], [0, 1, 5.0], ["0", "1", "9" * 50]])
def test_an_index_beyond_the_choices_is_named(tmp_path, labels):
    labelled(tmp_path, labels)
    told = problem(task_file(tmp_path, "jsonl", choices=["low", "high"]))
    assert told.startswith("row 3: target ") and "is beyond the 2 choices" in told


@pytest.mark.parametrize(
    ("target", "choices", "answer"),
    [
        (0, ["right", "wrong"], "right"),
        (1, ["right", "wrong"], "wrong"),
        (False, ["right", "wrong"], "right"),
        (True, ["right", "wrong"], "wrong"),
        (0, None, "0"),
        (3, None, "3"),
        (0.5, None, "0.5"),
    ],
)
def test_a_number_in_the_task_file_is_a_value(tmp_path, target, choices, answer):
    labelled(tmp_path, ["x", "y"])
    path = task_file(tmp_path, "jsonl", target=target, choices=choices)
    answers = [row["output"] for row in tables.from_task_file(path)["examples"]]
    assert answers == [[answer], [answer]]


def test_a_truth_value_without_choices_is_told(tmp_path):
    labelled(tmp_path, ["x"])
    told = problem(task_file(tmp_path, "jsonl", target=True))
    assert told.startswith("row 1: the target is the truth value True; expected a text: write it")


def test_a_list_that_a_template_makes_is_a_list_of_answers(tmp_path):
    answer = {"aliases": ["Author 0", None, "A. 0"], "ids": [7, 8], "word": "[sic]", "none": []}
    put_json(tmp_path, [{"text": "who", "answer": answer, "label": "['a', 'b']"}])
    for target, answers in (
        ("{{answer.aliases}}", ("Author 0", "A. 0")),
        ("{{answer.ids}}", ("7", "8")),
        ("{{label}}", ("a", "b")),
        ("label", ("['a', 'b']",)),  # a column's text is as it stands
        ("{{answer.word}}", ("[sic]",)),  # no list
        ("['{{answer.word}}', 'b']", ("[sic]", "b")),
        ("[{{answer.word}}", ("[[sic]",)),
    ):
        assert pairs(task_file(tmp_path, "jsonl", target=target)) == [("who", *answers)]
    told = problem(task_file(tmp_path, "jsonl", target="{{answer.none}}"))
    assert "row 1: it has no answer: '{{answer.none}}' is empty or null" in told


def test_a_null_among_answers_is_none(tmp_path):
    put_json(tmp_path, [{"input": "q", "output": ["a", None, "b"]}])
    assert pairs(tmp_path / "rows.jsonl") == [("q", "a", "b")]


def test_numbers_of_rows_are_those_of_the_file_also_of_a_draw(tmp_path):
    rows = [{"text": f"q {i}", "label": "x"} for i in range(40)]
    rows[7]["label"] = None
    put_json(tmp_path, rows)
    path = task_file(tmp_path, "jsonl")
    path.write_text(path.read_text() + "rows: 39\n")
    shuffled = Dataset.from_list(rows).shuffle(seed=42).select(range(39))
    assert "q 7" in shuffled["text"]
    assert problem(path).startswith("row 8: ")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_text_files_of_a_data_sets_folder_are_no_guess_either(tmp_path, suffix):
    (tmp_path / "set").mkdir()
    for split, code in (("train", "007"), ("test", "NA")):
        rows = [{"text": f"{split} {i}", "label": code} for i in range(3)]
        lines = [json.dumps(row) for row in rows]
        if suffix == "csv":
            lines = ["text,label", *(f"{row['text']},{code}" for row in rows)]
        put(tmp_path / "set", f"{split}.{suffix}", "\n".join(lines))
    path = task_file(tmp_path, suffix)
    text = path.read_text().replace(f"data_files: rows.{suffix}", "splits: [test, 'train[:2]']")
    path.write_text(text.replace(f"dataset_path: {FORMATS[suffix]}", "dataset_path: set"))
    assert [answer for _, answer in pairs(path)] == ["NA", "NA", "NA", "007", "007"]


def test_parts_of_a_file(tmp_path):
    labelled(tmp_path, list("abcd"))
    path = task_file(tmp_path, "jsonl")
    text = path.read_text()
    path.write_text(text + "splits: ['train[1:3]']\n")
    assert [answer for _, answer in pairs(path)] == ["b", "c"]
    path.write_text(text + "splits: [dev]\n")
    assert problem(path) == "no split 'dev'; there are: train"
