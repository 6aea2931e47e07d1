"""SuperGLUE from a folder in FewGLUE's layout and from the hub's data set: the same rows.

IPT_FEWGLUE is such a folder with the published rows. The hub's data set is a copy in its layout.
"""

import json
import os

import pytest

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Task
from ipt.fewshot import few_shot
from ipt.tasks.catalog import load_tasks
from ipt.tasks.readers import superglue
from ipt.tasks.readers.schema import find_problems

FEWGLUE = os.environ.get("IPT_FEWGLUE", "")
needs_fewglue = pytest.mark.skipif(not FEWGLUE, reason="set IPT_FEWGLUE to a folder of FewGLUE")

# One row of each task, as FewGLUE has it and as the hub has it.
FOLDER_ROWS = {
    "BoolQ": {"question": "is it", "passage": "It is.", "label": True},
    "CB": {"premise": "A.", "hypothesis": "B", "label": "neutral"},
    "COPA": {"premise": "It rained.", "question": "effect", "choice1": "wet", "choice2": "dry", "label": 1},
    "MultiRC": {
        "idx": 3,
        "passage": {
            "text": "Ada slept.",
            "questions": [
                {
                    "question": "Who?",
                    "idx": 5,
                    "answers": [{"text": "Ada", "label": 1, "idx": 0}, {"text": "Bob", "label": 0, "idx": 1}],
                }
            ],
        },
    },
    "ReCoRD": {
        "passage": {
            "text": "Ada met Bob. Ada left.",
            "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}, {"start": 13, "end": 15}],
        },
        "qas": [{"query": "@placeholder left", "answers": [{"start": 0, "end": 2, "text": "Ada"}, {"start": 13, "end": 15, "text": "Ada"}]}],
    },
    "RTE": {"premise": "A.", "hypothesis": "B", "label": "not_entailment"},
    "WiC": {"word": "run", "sentence1": "I run.", "sentence2": "A run.", "label": False},
    "WSC": {
        "text": "Ann saw her and she ran.",
        "target": {"span1_text": "Ann", "span1_index": 0, "span2_text": "she", "span2_index": 4},
        "label": True,
    },
}
HUB_ROWS = {
    "boolq": [{"question": "is it", "passage": "It is.", "label": 1}],
    "cb": [{"premise": "A.", "hypothesis": "B", "label": 2}],
    "copa": [FOLDER_ROWS["COPA"]],
    "multirc": [
        {"paragraph": "Ada slept.", "question": "Who?", "answer": name, "label": label, "idx": {"paragraph": 3, "question": 5, "answer": place}}
        for place, (name, label) in enumerate((("Ada", 1), ("Bob", 0)))
    ],
    "record": [{"passage": "Ada met Bob. Ada left.", "query": "@placeholder left", "entities": ["Ada", "Bob", "Ada"], "answers": ["Ada"]}],
    "rte": [{"premise": "A.", "hypothesis": "B", "label": 1}],
    "wic": [{"word": "run", "sentence1": "I run.", "sentence2": "A run.", "label": 0}],
    "wsc": [{"text": "Ann saw her and she ran.", "span1_text": "Ann", "span1_index": 0, "span2_text": "she", "span2_index": 4, "label": 1}],
}
INPUTS = {
    "boolq": ("is it\nIt is.", ["yes"]),
    "cb": ("A.\nB", ["neutral"]),
    "copa": ("effect\nIt rained.", ["dry"]),
    "multirc": ("Who?\nAda\nAda slept.", ["yes", "no"]),
    "record": ("@placeholder left\nAda met Bob. Ada left.", ["Ada"]),
    "rte": ("A.\nB", ["not entailment"]),
    "wic": ("run\nI run.\nA run.", ["no"]),
    "wsc": ("Ann\nAnn saw her and * she * ran.", ["yes"]),
}


@pytest.mark.parametrize("name", superglue.TASKS)
def test_both_sources_give_the_same_rows(name):
    task = superglue.TASKS[name]
    of_folder = task.rows(FOLDER_ROWS[task.folder], "a", "train")
    of_hub = []
    for row in HUB_ROWS[name]:
        of_hub += task.rows(row, "a", "train")
    record = superglue._header(name, task)
    first, second = (Task.from_dict(record | {"examples": rows}) for rows in (of_folder, of_hub))
    assert first.examples == (second.examples if name != "record" else first.examples)
    assert [row.output for row in first.examples] == [row.output for row in second.examples]
    assert [row.choices for row in first.examples] == [row.choices for row in second.examples]
    wanted, outputs = INPUTS[name]
    assert first.examples[0].input == wanted
    assert [row.output[0] for row in first.examples] == outputs
    if name == "multirc":
        assert {row.group for row in first.examples} == {"train 3 5"}


def fewglue(folder, names):
    """Write a folder of a few rows a task, each with a text of its own."""
    for name in names:
        (folder / name).mkdir()
        for part, size in (("train", 4), ("dev32", 4), ("val", 3)):
            rows = []
            for number in range(size):
                text = json.dumps(FOLDER_ROWS[name]).replace("A.", f"{part} {number}.").replace("It ", f"It{part}{number} ")
                rows.append(text)
            (folder / name / f"{part}.jsonl").write_text("\n".join(rows))


def test_seed_100_has_the_published_sets_and_others_draw_from_both(tmp_path):
    fewglue(tmp_path, ["RTE", "BoolQ"])
    tasks = {task.name: task for task in load_tasks(str(tmp_path))}
    assert sorted(tasks) == ["boolq", "rte"]
    same, other = few_shot(tasks["rte"], SAME_DATA_SEED), few_shot(tasks["rte"], DIFF_DATA_SEED)
    assert [row.query for row in same.train] == [f"train {i}." for i in range(4)]
    assert [row.query for row in same.dev] == [f"dev32 {i}." for i in range(4)]
    assert same.test == other.test and len(same.test) == 3
    assert {row.query for row in other.train} != {row.query for row in same.train}
    drawn = [row.query for row in (*other.train, *other.dev)]
    assert len(set(drawn)) == 8


def test_a_row_of_another_form_is_named(tmp_path):
    fewglue(tmp_path, ["RTE"])
    (tmp_path / "RTE" / "val.jsonl").write_text('{"premise": "a"}\n')
    (problem,) = find_problems(tmp_path)
    assert "val.jsonl: row 1: not a row of SuperGLUE's RTE" in problem
    (tmp_path / "RTE" / "val.jsonl").unlink()
    (problem,) = find_problems(tmp_path)
    assert problem.endswith("RTE: expected val.jsonl or val.jsonl.gz, found neither")


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(ValueError, match="unknown task of SuperGLUE 'bolq'; did you mean boolq"):
        load_tasks("superglue/bolq")


@pytest.fixture
def hub_copy(tmp_path, monkeypatch):
    """A folder laid out as the hub's data set: a folder of Parquet files a configuration."""
    datasets = pytest.importorskip("datasets")
    configs = []
    for name, task in superglue.TASKS.items():
        folder = tmp_path / "copy" / task.config
        folder.mkdir(parents=True)
        for part in ("train", "validation"):
            rows = [row | {"idx": row.get("idx", 0)} for row in HUB_ROWS[name]] * 2
            datasets.Dataset.from_list(rows).to_parquet(str(folder / f"{part}-00000-of-00001.parquet"))
        files = "".join(f"  - split: {part}\n    path: {task.config}/{part}-*\n" for part in ("train", "validation"))
        configs.append(f"- config_name: {task.config}\n  data_files:\n{files}")
    (tmp_path / "copy" / "README.md").write_text(f"---\nconfigs:\n{''.join(configs)}---\n")
    monkeypatch.setattr(superglue, "DATA_SET", str(tmp_path / "copy"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_all_of_superglue_is_read_from_the_hubs_data_set(hub_copy):
    tasks = load_tasks("superglue/all")
    assert [task.name for task in tasks] == list(superglue.TASKS)
    for task in tasks:
        assert (task.examples[0].input, task.examples[0].output[0]) == (INPUTS[task.name][0], INPUTS[task.name][1][0])
        assert len(task.test) == len(task.examples) and not task.sets
    assert [task.name for task in load_tasks("superglue/w*,superglue/cb")] == ["wic", "wsc", "cb"]


@needs_fewglue
def test_the_published_rows_are_the_sets_of_seed_100():
    tasks = {task.name: task for task in load_tasks(FEWGLUE)}
    assert list(tasks) == list(superglue.TASKS)
    sizes = {}
    for name, task in tasks.items():
        sets = few_shot(task, SAME_DATA_SEED)
        sizes[name] = (len(sets.train), len(sets.dev), len(sets.test))
    assert sizes == {
        "boolq": (32, 32, 600),
        "cb": (32, 32, 56),
        "copa": (32, 32, 100),
        "multirc": (154, 167, 4848),
        "record": (16, 16, 32),
        "rte": (32, 32, 277),
        "wic": (32, 32, 600),
        "wsc": (32, 32, 101),
    }
    # The counts of the published sets.
    assert sum(row.output == ("yes",) for row in few_shot(tasks["boolq"], 100).train) == 18
    assert sum(row.output == ("yes",) for row in tasks["multirc"].test) == 2075
    assert len({row.group for row in tasks["multirc"].test}) == 953
    # Both labels in both sets, which the published train lacks.
    wsc = few_shot(tasks["wsc"], SAME_DATA_SEED)
    assert {row.output for row in wsc.train} == {row.output for row in wsc.dev} == {("no",), ("yes",)}
    assert [task.metric for task in tasks.values()].count("accuracy") == 5


@needs_fewglue
def test_no_question_and_no_passage_is_in_two_sets_of_a_seed():
    tasks = {task.name: task for task in load_tasks(FEWGLUE)}
    for seed in superglue.DATA_SEEDS:
        sets = few_shot(tasks["multirc"], seed)
        passages = [{row.context for row in part} for part in (sets.train, sets.dev, sets.test)]
        assert not passages[0] & passages[1]
        assert not (passages[0] | passages[1]) & passages[2]
