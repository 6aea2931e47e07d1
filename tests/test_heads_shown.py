"""What users see of heads: both counts, the head alone, predictions, the page of the heads."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from head_tasks import task
from results_by_hand import made_pair, scores, typed
from test_page_tables import view

from ipt.analysis.report.predictions import confusion_rows, entity_rows, error_rows
from ipt.analysis.report.tables import notes, settings_table
from ipt.analysis.scores import HEADS_NOTE, lines, numbers_tuned
from ipt.analysis.summaries import summary
from ipt.cli.app import call
from ipt.config import settings_text
from ipt.heads import HEADS
from ipt.metrics import entities_by_kind, entity_f1
from ipt.results import RunResult
from ipt.run import Run
from ipt.storage import read_json, write_json

PAGE = Path(__file__).parent.parent / "docs" / "heads.md"
BEGIN, END = "<!-- settings -->", "<!-- end of settings -->"


def table() -> str:
    rows = ["| head | setting | default | what it is |", "|---|---|---|---|"]
    for name, kind in HEADS.items():
        for field in fields(kind):
            default = settings_text({"": field.default}).removeprefix("=").strip()
            rows.append(f"| `{name}` | `{field.name}` | {default} | {field.metadata['help']} |")
    return "\n".join(rows)


def page(text: str) -> str:
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def test_the_page_has_every_head_its_settings_and_its_kinds_of_tasks():
    text = PAGE.read_text(encoding="utf8")
    assert page(text) == text, "run python tests/test_heads_shown.py"
    found = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|", text.split("## Settings")[0], re.M)
    expected = {name: ", ".join(kind.categories) for name, kind in HEADS.items()}
    assert {name: kinds.strip() for name, kinds in found} == expected


HEADS_OF = dict(zip(("s1", "s2", "s3", "u1", "u2", "u3", "o1"), (4, 6, 8, 10, 12, 14, 16), strict=True))


def pair_with_heads():
    msf, ist = made_pair()
    alone = scores(("u1", "u2", "u3", "o1"), [0.1, 0.15, 0.1, 0.05], [None] * 4)
    msf = msf | {"heads": HEADS_OF, "scores": msf["scores"] | {"head_alone": alone}}
    return [msf, ist | {"heads": HEADS_OF, "pca_dim": 3}]


def test_numbers_per_task_are_those_of_vector_and_head():
    found = numbers_tuned(typed(pair_with_heads()))
    assert found["test"] == ["5 + 10 … 16"] and found["train_diff"] == ["5 + 4 … 8"]
    assert found["pca_test"] == ["3 + 10 … 16"] and found["mixture_test"] == ["5 + 10 … 16"]
    assert found["head_alone"] == found["shared"] == ["0 + 10 … 16"]
    assert numbers_tuned(typed(made_pair())) == {}  # control


def test_the_head_alone_is_a_line_beside_the_result():
    results = typed(pair_with_heads())
    found = {(line.setting, line.group): line for line in lines(results)}
    alone = found["head_alone", "all"]
    assert alone.title == "the head alone"
    assert alone.recovery.absolute == pytest.approx(0.1)
    assert summary(results, "", 0)["heads"] == HEADS_OF
    assert "heads" not in summary(typed(made_pair()), "", 0)


def test_results_without_heads_are_written_as_before():
    for record in made_pair():
        assert "heads" not in RunResult.from_json(record).to_json()
    with_heads = typed(pair_with_heads())[1]
    assert RunResult.from_json(with_heads.to_json()) == with_heads


ROWS = {
    "u1": [("red", "a bird"), ("blue", "a tree"), ("red", "a house")],
    "u2": [("B-PER I-PER O B-LOC", "Ann Lee in Rome"), ("O B-LOC", "to Oslo")],
}
ANSWERS = {"u1": ["red", "red", "blue"], "u2": ["B-PER I-PER O B-PER", "O B-LOC"]}


def kept():
    record = {}
    for name, rows in ROWS.items():
        made = []
        for (right, text), answer in zip(rows, ANSWERS[name], strict=True):
            made.append({"input": text, "right": [right], "answer": answer})
        record[name] = {"held_out": len(made), "rows": made}
    return {"test": record}


def shown():
    pair = pair_with_heads()
    for result in pair:
        tagged = result["tasks"]["u2"] | {"category": "tags", "metric": "entity-F1"}
        result["tasks"] = result["tasks"] | {"u2": tagged}
    return view(pair, predictions=kept())


def test_labels_entities_and_wrong_answers_by_hand():
    made = shown()
    assert list(confusion_rows(made)) == [
        ("u1", "blue", "1", "0", "0.00", "red 1"),
        ("u1", "red", "2", "1", "0.50", "blue 1"),
    ]
    assert list(entity_rows(made)) == [
        ("u2", "LOC", "2", "1", "1.00", "0.50", "0.667"),
        ("u2", "PER", "1", "2", "0.50", "1.00", "0.667"),
    ]
    assert list(error_rows(made)) == [
        ("u1", "a tree", "blue", "red"),
        ("u1", "a house", "red", "blue"),
        ("u2", "Ann Lee in Rome", "B-PER I-PER O B-LOC", "B-PER I-PER O B-PER"),
    ]
    assert not list(error_rows(replace(made, predictions={})))  # control


def test_entities_of_all_kinds_make_the_metric():
    rows = [(["O B-PER I-PER"], "B-LOC B-PER O"), (["B-LOC"], "B-LOC"), (["I-A B-A"], "O I-A")]
    right, given = [list(one) for one in zip(*rows, strict=True)]
    counts = entities_by_kind(given, right).values()
    hits, found, there = [sum(column) for column in zip(*counts, strict=True)]
    assert 2 * hits / (found + there) == pytest.approx(entity_f1(given, right))
    assert hits


def test_the_pages_table_and_notes_say_both():
    made = shown()
    cells = settings_table([made])
    assert cells.names[-1] == "numbers per task: delta or vector + head"
    assert any("head alone" in note for note in notes(made))
    by_title = {row[0]: row[-1] for row in cells.rows if row[1] == "all"}
    assert by_title["T_test (IST)"] == "5 + 10 … 16"
    plain = view(made_pair())
    assert "numbers" not in settings_table([plain]).names[-1]
    assert HEADS_NOTE[1:] not in " ".join(notes(plain))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An MSF and an IST run with heads of two and three labels, and `ipt tune` beside them."""
    root = tmp_path_factory.mktemp("shown")
    (root / "tasks").mkdir()
    for number in (0, 1, 2):
        record = task("cls", number, rows=160).to_dict()
        write_json(root / "tasks" / f"{record['name']}.json", record)
    split = {"seen": ["cls-0", "cls-1"], "unseen": ["cls-2"], "tasks": "tasks"}
    write_json(root / "split.json", split)
    return root


def test_commands_print_and_keep_both_counts(made, capsys):
    place = ["--test-rows", "6", "--out", str(made / "runs")]
    work = ["--tasks", str(made / "split.json"), "--head", "classification"]
    tuned = ["--tuner", "soft-prompt", "--prompt-length", "2"]
    small = ["shots", "2", "steps", "2", "rows-per-step", "2", "eval-every", "2"]
    small += ["learning-rates", "0.01"]
    flags = [f"--{word}" if place % 2 == 0 else word for place, word in enumerate(small)]
    prefixed = [word.replace("--", "--tune.") for word in flags]
    file = made / "tuned.json"
    call(["tune", *place, *work, *tuned, *flags, "--file", str(file)])
    out = capsys.readouterr().out
    assert "the head alone" in out and "numbers: delta + head" in out
    record = read_json(file)
    width = record["tasks"]["cls-0"]["head"] // 2
    assert [record["tasks"][f"cls-{n}"]["head"] for n in range(3)] == [2 * width, 3 * width, 4 * width]
    assert f"{record['numbers']:,} + {3 * width:,}" in out

    call(["msf", *place, *work, *tuned, *prefixed, "--dim", "2", "--steps", "2", "--run", "m"])
    capsys.readouterr()
    call(["ist", *place, "--dim", "2", "--steps", "2", "--eval-every", "2", "--on", "unseen"])
    out = capsys.readouterr().out
    assert "the head alone" in out and f"2 + {4 * width:,}" in out and HEADS_NOTE in out
    (folder,) = (made / "runs").glob("ist-*")
    text = (folder / "table.md").read_text(encoding="utf8")
    assert f"| 2 + {4 * width:,} |" in text and f"| 0 + {4 * width:,} |" in text

    kept = read_json(folder / "predictions.json")
    assert list(kept) == ["test"] and kept["test"]["cls-2"]["held_out"] == 6
    rows = kept["test"]["cls-2"]["rows"]
    share = sum(row["answer"] in row["right"] for row in rows) / 6
    score = Run(folder).result["scores"]["test"]["cls-2"]["generated"]
    assert score == pytest.approx(share, abs=1e-6)

    # A further part keeps what is there.
    call(["ist", *place, "--dim", "2", "--steps", "2", "--eval-every", "2", "--on", "seen"])
    both = read_json(folder / "predictions.json")
    assert set(both) == {"test", "train_same"} and both["test"] == kept["test"]
    capsys.readouterr()

    call(["report", str(folder), "--out", str(made / "runs"), "--file", str(made / "page.html")])
    text = (made / "page.html").read_text(encoding="utf8")
    assert "Labels that were taken for others" in text
    assert "<span>--head</span> <span>classification:" in text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf8")), encoding="utf8")
