"""Tags and spans from files: JSON lines, JSON, CoNLL, SQuAD's form, Parquet, folders of sets.

IPT_TAGGING is a folder of SET.train.jsonl.gz and so on, IPT_QA one of files in SQuAD's form.
"""

import gzip
import json
import os
from pathlib import Path

import pytest

from ipt.cli.app import main
from ipt.fewshot import few_shot
from ipt.tasks.catalog import load_tasks
from ipt.tasks.readers.schema import find_notes, find_problems

TAGGING, QA = os.environ.get("IPT_TAGGING", ""), os.environ.get("IPT_QA", "")
needs_tagging = pytest.mark.skipif(not TAGGING, reason="set IPT_TAGGING to a folder of tagged sets")
needs_qa = pytest.mark.skipif(not QA, reason="set IPT_QA to a folder of files in SQuAD's form")

ROWS = [
    {"tokens": ["Ada", "Lovelace", "slept"], "tags": ["B-PER", "I-PER", "O"]},
    {"tokens": ["#", "Rome"], "tags": ["O", "B-LOC"]},
]
CONLL = "-DOCSTART- -X- O\n\n# sent_id = 1\nAda NNP B-PER\nLovelace NNP I-PER\nslept V O\n\n\n# SYM O\nRome NNP B-LOC\n"
SQUAD = {
    "version": "v2",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ada slept in Rome.",
                    "qas": [
                        {"id": "1", "question": "Where?", "answers": [{"text": "Rome", "answer_start": 13}]},
                        {"id": "2", "question": "When?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(path, text):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, "utf8")
    return path


def only(path):
    (task,) = load_tasks(str(path))
    return task


FILES = {
    "a.jsonl": lines(ROWS),
    "a.jsonl.gz": lines(ROWS),
    "a.json": json.dumps(ROWS),
    "a.json.gz": json.dumps(ROWS),
    "a.conll": CONLL,
    "a.txt": CONLL.replace(" ", "\t").replace("#\tsent_id\t=\t1", "# sent_id = 1"),
    "a.iob2": CONLL.replace("\n", "\r\n"),
    "a.conll.gz": CONLL,
}


@pytest.mark.parametrize("name", FILES)
def test_tagged_rows_are_known_by_their_content(tmp_path, name):
    task = only(write(tmp_path / name, FILES[name]))
    assert (task.name, task.category, task.metric) == ("a", "tags", "entity-F1")
    found = [{"tokens": list(row.tokens), "tags": list(row.tags)} for row in task.examples]
    assert found == ROWS


def test_tags_that_are_no_entities_are_counted_by_word(tmp_path):
    rows = [{"tokens": ["a", "b"], "tags": ["DET", "NOUN"]}]
    assert only(write(tmp_path / "a.jsonl", lines(rows))).metric == "tag-accuracy"


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl"])
def test_squads_form_is_a_row_a_question(tmp_path, name):
    task = only(write(tmp_path / name, json.dumps(SQUAD)))
    assert (task.category, task.metric) == ("span", "squad-F1")
    answered, impossible = task.examples
    assert (answered.query, answered.output, answered.spans) == ("Where?", ("Rome",), ((13, 17),))
    assert (impossible.output, impossible.spans) == (("",), ())


def test_choices_are_known_by_their_columns(tmp_path):
    rows = [{"input": "It rained.", "choices": ["wet", "dry"], "output": "wet"}]
    task = only(write(tmp_path / "a.jsonl", lines(rows)))
    assert (task.category, task.examples[0].choices) == ("choice", ("wet", "dry"))


def parquet(path, rows, features=None):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list(rows, features=features)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(str(path))


def numbered():
    """Return rows as the hub has them, tags as numbers, and their types."""
    from datasets import ClassLabel, Features, Sequence, Value

    names = ["O", "B-PER", "I-PER", "B-LOC"]
    rows = []
    for row in ROWS:
        rows.append({"tokens": row["tokens"], "ner_tags": [names.index(tag) for tag in row["tags"]]})
    labels = Sequence(ClassLabel(names=names))
    return rows, Features({"tokens": Sequence(Value("string")), "ner_tags": labels})


def test_numbers_of_tags_get_the_names_of_the_data_set(tmp_path):
    rows, features = numbered()
    parquet(tmp_path / "a.parquet", rows, features)
    assert [row.tags for row in only(tmp_path / "a.parquet").examples] == [tuple(row["tags"]) for row in ROWS]
    parquet(tmp_path / "b.parquet", rows)  # control: without their names
    (problem,) = find_problems(tmp_path / "b.parquet")
    assert "b.parquet: row 1: tag 1 is a number" in problem or "tag 0 is a number" in problem


def test_a_data_sets_folder_is_read_with_its_test_split(tmp_path):
    rows, features = numbered()
    parquet(tmp_path / "set" / "data" / "train-00000.parquet", rows, features)
    parquet(tmp_path / "set" / "data" / "test-00000.parquet", rows[:1], features)
    fields = "task: ner\ndataset_path: set\nsplits: [train]\ntest_splits: [test]\ncategory: tags\nmetric: entity-F1\n"
    task = only(write(tmp_path / "ner.yaml", fields))
    assert (len(task.examples), len(task.test)) == (2, 1)
    assert task.test[0].output == ("B-PER I-PER O",)


def test_the_flat_form_of_squad_is_read_through_a_task_file(tmp_path):
    flat = [{"id": "1", "context": "Ada slept.", "question": "Who?", "answers": {"text": ["Ada"], "answer_start": [0]}}]
    parquet(tmp_path / "squad" / "data" / "train-00000.parquet", flat)
    fields = "task: qa\ndataset_path: squad\ncategory: span\nmetric: squad-F1\n"
    assert only(write(tmp_path / "qa.yaml", fields)).examples[0].spans == ((0, 3),)


def test_a_task_file_names_columns_and_converts_iob1(tmp_path):
    write(tmp_path / "x.conll", "1\tAda\tI-PER\t-\n2\tBob\tB-PER\t-\n3\tin\tO\t-\n4\tRome\tI-LOC\t-\n")
    fields = 'task: x\ndataset_path: conll\ndata_files: x.conll\ntokens: "2"\ntags: "3"\ncategory: tags\nmetric: entity-F1\n'
    (problem,) = find_problems(write(tmp_path / "x.yaml", fields))
    assert problem.endswith(
        "x.yaml: example 1: tag 1 is 'I-PER' after 'O'; in IOB2 an entity begins with B-; "
        "tag_scheme: IOB1 in a task file converts tags"
    )
    (example,) = only(write(tmp_path / "x.yaml", f"{fields}tag_scheme: IOB1\n")).examples
    assert example.tags == ("B-PER", "B-PER", "O", "B-LOC")


def test_a_task_file_of_choices_takes_columns_or_a_list(tmp_path):
    write(tmp_path / "c.jsonl", lines([{"premise": "rain", "a": "wet", "b": "dry", "both": ["wet", "dry"], "label": 1}]))
    fields = "task: c\ndataset_path: json\ndata_files: c.jsonl\ndoc_to_text: premise\ndoc_to_target: label\ncategory: choice\nmetric: accuracy\n"
    for rule in ("choices: [a, b]", "choices: both"):
        (example,) = only(write(tmp_path / "c.yaml", f"{fields}{rule}\n")).examples
        assert (example.choices, example.output) == (("wet", "dry"), ("dry",))


def test_ragged_columns_are_refused_with_their_line(tmp_path):
    (problem,) = find_problems(write(tmp_path / "a.conll", "Ada NNP O\nslept O\n"))
    assert problem.endswith("a.conll: line 2: 2 columns, and 3 above it")
    (problem,) = find_problems(write(tmp_path / "b.conll", "Ada\nslept\n"))
    assert "expected a word and its tag" in problem


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "conll", "json"])
def test_files_of_a_set_are_one_task_with_its_test_set(tmp_path, suffix):
    text = CONLL if suffix == "conll" else json.dumps(ROWS) if suffix == "json" else lines(ROWS)
    for part in ("one.train", "one.dev", "one.test", "two.dev", "two.test", "three.train", "three.validation"):
        write(tmp_path / f"{part}.{suffix}", text)
    write(tmp_path / "other.jsonl", lines(ROWS))
    tasks = {task.name: task for task in load_tasks(str(tmp_path))}
    assert sorted(tasks) == ["one", "other", "three", "two"]
    assert [len(tasks[name].test) for name in ("one", "two", "three", "other")] == [2, 2, 2, 0]


def test_plain_tables_named_after_parts_stay_tasks_of_their_own(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / f"one.{part}.jsonl", lines([{"input": "a", "output": "b"}]))
    assert [task.name for task in load_tasks(str(tmp_path))] == ["one.test", "one.train"]


def test_check_names_file_and_row_of_each_fault(tmp_path, capsys):
    bad = [ROWS[0], {"tokens": ["a", "b"], "tags": ["O", "I-PER"]}]
    write(tmp_path / "one.train.jsonl.gz", lines(ROWS))
    write(tmp_path / "one.test.jsonl.gz", lines(bad))
    shifted = json.loads(json.dumps(SQUAD))
    shifted["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 12
    write(tmp_path / "qa.json", json.dumps(shifted))
    problems = find_problems(tmp_path)
    assert len(problems) == 2
    assert "qa.json: example 1: the context has ' Rom' at 12" in problems[0]
    assert "one.test.jsonl.gz: example 2: tag 2 is 'I-PER' after 'O'" in problems[1]


def test_check_notes_tags_that_no_row_teaches(tmp_path, capsys):
    write(tmp_path / "one.train.jsonl", lines(ROWS))
    write(tmp_path / "one.test.jsonl", lines([ROWS[0], {"tokens": ["x"], "tags": ["B-ORG"]}]))
    (note,) = find_notes(tmp_path)
    assert note.endswith("one.test.jsonl: example 2: no row to train on has the tag 'B-ORG'; it counts as wrong")
    assert main(["tasks", "check", str(tmp_path)]) in (0, None)
    assert f"note: {note}" in capsys.readouterr().out


@needs_tagging
def test_the_real_sets_are_one_task_each():
    tasks = {task.name: task for task in load_tasks(TAGGING)}
    sizes = {name: (len(task.examples), len(task.test)) for name, task in tasks.items()}
    assert sizes == {
        "ner_uner_ewt": (1914, 2077),
        "ner_wnut17": (3394, 1287),
        "pos_ewt": (12162, 2077),
        "srl_ewt": (15003, 3963),
    }
    metrics = {name: task.metric for name, task in tasks.items()}
    assert metrics.pop("pos_ewt") == "tag-accuracy" and set(metrics.values()) == {"entity-F1"}
    assert len(tasks["pos_ewt"].options) == 17 and tasks["ner_wnut17"].options[0] == "O"
    predicate = tasks["srl_ewt"].examples[0]
    assert predicate.query in predicate.tokens and predicate.input.startswith(f"{predicate.query}\n")
    sets = few_shot(tasks["ner_wnut17"], 21)
    assert [len(part) for part in (sets.train, sets.dev, sets.test)] == [32, 32, 1287]


@needs_qa
def test_the_real_questions_are_read_with_those_that_have_no_answer():
    tasks = {task.name: task for task in load_tasks(QA)}
    assert sorted(tasks) == ["squad2", "xquad.en"]
    assert len(tasks["xquad.en"].examples) == 1190
    unanswered = [row for row in tasks["squad2"].examples if not row.spans]
    assert unanswered and all(row.output == ("",) for row in unanswered)
    for row in tasks["squad2"].test:
        for text, (start, end) in zip(row.output, row.spans, strict=False):
            assert row.context[start:end] == text
    sets = few_shot(tasks["xquad.en"], 100)
    contexts = [{row.context for row in part} for part in (sets.train, sets.dev, sets.test)]
    assert not contexts[0] & contexts[1] and not contexts[0] & contexts[2]


@needs_qa
@pytest.mark.parametrize("name", ["xquad.en.json.gz", "squad2_test.json.gz"])
def test_a_real_file_that_is_named_itself_is_a_task(name):
    assert only(Path(QA) / name).category == "span"
