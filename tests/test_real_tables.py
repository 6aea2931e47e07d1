"""Real tasks come back whole through JSON lines, CSV and Parquet: each row, none changed.

IPT_REAL_TASKS is a folder of real tasks in the schema.
"""

import csv
import json
import os
from pathlib import Path

import pytest
from datasets import Dataset

from ipt.tasks.readers import schema, tables
from ipt.tasks.readers.contents import read_json

FOLDER = os.environ.get("IPT_REAL_TASKS", "")

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="set IPT_REAL_TASKS to a folder of real tasks in the schema"
)

FILE = """
task: all
dataset_path: {data_set}
data_files: rows.{suffix}
doc_to_text: input
doc_to_target: {target}
entity: entity
category: non-cls
metric: exact-match
rows: 1000000
"""
COLUMNS = ("input", "output", "entity")


@pytest.fixture(scope="module")
def rows():
    """Every row of every task, as the schema has them."""
    found = []
    files = sorted(schema._task_files(Path(FOLDER), ()))
    for file in files:
        for example in read_json(file)["examples"]:
            entity = example.get("entity") or ""
            found.append({"input": example["input"], "output": example["output"], "entity": entity})
    assert len(files) > 100 and len(found) > 50_000
    return found


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, COLUMNS, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def read(folder, suffix, data_set, target="output"):
    text = FILE.format(suffix=suffix, data_set=data_set, target=target)
    path = folder / "all.yaml"
    path.write_text(text, encoding="utf8")
    return tables.from_task_file(path)["examples"]


def test_json_lines(tmp_path, rows):
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines), encoding="utf8")
    assert read(tmp_path, "jsonl", "json") == rows


def test_parquet(tmp_path, rows):
    Dataset.from_list(rows).to_parquet(tmp_path / "rows.parquet")
    assert read(tmp_path, "parquet", "parquet") == rows


def test_csv_of_first_answers(tmp_path, rows):
    single = [row | {"output": row["output"][0]} for row in rows]
    write_csv(tmp_path / "rows.csv", single)
    expected = [row | {"output": [row["output"]]} for row in single]
    assert read(tmp_path, "csv", "csv") == expected


def test_csv_of_lists_of_answers(tmp_path, rows):
    """A template's text in square brackets is a list, as in the harness."""
    several = [row for row in rows if len(row["output"]) > 1]
    assert len(several) > 1000
    write_csv(tmp_path / "rows.csv", several)
    assert read(tmp_path, "csv", "csv", target="'{{output}}'") == several
