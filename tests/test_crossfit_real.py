"""CrossFit's table beside data of the same tasks from elsewhere.

IPT_REAL_TASKS is a folder of task files with a field `crossfit`.
"""

import gzip
import json
import os
from pathlib import Path

import pytest

from ipt.tasks.suites.crossfit_table import definitions

FOLDER = os.environ.get("IPT_REAL_TASKS", "")
CASES = json.loads(Path(__file__).with_name("crossfit_rows.json").read_text(encoding="utf8"))
FAMILY = {
    "accuracy": "label",
    "macro-F1": "label",
    "matthews": "label",
    "exact-match": "exact",
    "squad-EM": "exact",
}
# What the other data calls a label, where it is not the same text but for space, case and _.
RENAMED = {
    "ag_news": {"Science or Technology": "Sci/Tech"},
    "crows_pairs": {"A": "sentence 1", "B": "sentence 2"},
    "glue-mrpc": {"paraphrase": "equivalent", "not paraphrase": "not_equivalent"},
    "glue-qqp": {"different": "not_duplicate"},
    "hate_speech18": {"not hate": "noHate"},
    "mc_taco": {"implausible": "no", "plausible": "yes"},
    "paws": {"paraphrase": "duplicate", "not paraphrase": "not_duplicate"},
    "superglue-wic": {"different": "false", "same": "true"},
    "trec": {
        "abbreviation": "ABBR",
        "description": "DESC",
        "entity": "ENTY",
        "location": "LOC",
        "number": "NUM",
        "person": "HUM",
    },
    "tweet_eval-emoji": {
        "Christmas tree": "🎄",
        "US flag": "🇺🇸",
        "beaming face": "😁",
        "blowing a kiss": "😘",
        "blue heart": "💙",
        "camera": "📷",
        "camera with flash": "📸",
        "fire": "🔥",
        "hundred points": "💯",
        "purple heart": "💜",
        "red heart": "❤",
        "smiling face": "😊",
        "smiling face with heart eyes": "😍",
        "sparkles": "✨",
        "sun": "☀",
        "sunglasses": "😎",
        "tears of joy": "😂",
        "two hearts": "💕",
        "wink": "😉",
        "winking with tongue": "😜",
    },
    "tweet_eval-hate": {"not hateful": "non-hate", "hateful": "hate"},
    "tweet_eval-irony": {"not ironic": "non-irony", "ironic": "irony"},
    "tweet_eval-offensive": {"not offensive": "non-offensive"},
}
# Of the same source, and of the same form, but another question.
ANOTHER = {
    "acronym_identification": "asks for the short form",
    "quarel": "asks for one of two situations",
    "reddit_tifu-title": "does not say whether title or summary is asked for",
    "wiki_split": "splits a sentence, CrossFit joins two",
}


def same(text):
    return text.casefold().replace(" ", "").replace("_", "")


def form(outputs, inputs, options, choice):
    """Return what an answer is.

    One of fixed options, one of the choices in the input, a number, a part of the input, or free.
    """
    if options:
        return "option"
    inside = sum(a.casefold() in i.casefold() for a, i in zip(outputs, inputs, strict=True)) / len(
        outputs
    )
    if choice and inside > 0.9:
        return "choice"
    if all(a.replace(".", "", 1).isdigit() for a in outputs):
        return "number"
    return "part" if inside > 0.9 else "free"


def agrees(definition, other):
    """Return whether options, kind of metric and form of answer are those of the other data."""
    name = definition.task
    ours, theirs = (
        definition.options.split(" | ") if definition.options else [],
        other["options"] or [],
    )
    renamed = RENAMED.get(name, RENAMED["crows_pairs"] if name.startswith("blimp-") else {})
    if {same(label) for label in ours} != {same(renamed.get(label, label)) for label in theirs}:
        return False
    if FAMILY.get(definition.metric, definition.metric) != FAMILY.get(
        other["metric"], other["metric"]
    ):
        return False
    expected, rows = CASES[name]["expected"], other["examples"]
    mine = form([e[1] for e in expected], [e[0] for e in expected], ours, "(B) " in expected[0][0])
    their = form(
        [e["output"][0] for e in rows],
        [e["input"] for e in rows],
        theirs,
        other["subcategory"] == "mcqa",
    )
    return mine == their and name not in ANOTHER


@pytest.mark.skipif(
    not FOLDER, reason="IPT_REAL_TASKS names no folder of task files with a field `crossfit`"
)
def test_checked_says_real_where_other_data_agree_and_only_there():
    index = json.loads((Path(FOLDER) / "index.json").read_text(encoding="utf8"))["tasks"]
    table, found = definitions(), {}
    for entry in index:
        if entry["crossfit"] in table:
            other = json.loads(gzip.decompress((Path(FOLDER) / entry["file"]).read_bytes()))
            found[entry["crossfit"]] = agrees(table[entry["crossfit"]], other)
    assert len(found) > 50
    assert {name for name, agree in found.items() if agree} == {
        name for name, d in table.items() if d.checked == "real"
    }
    assert {d.checked for d in table.values()} == {"real", "schema only"}
