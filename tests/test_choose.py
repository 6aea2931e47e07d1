"""What --tasks may say: splits, names, globs, folders, files, lists of seen and unseen tasks."""

import json

import pytest
from conftest import toy_task

from ipt.tasks.catalog import load_tasks, select_tasks
from ipt.tasks.suites import embedded


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tasks").mkdir()
    for name in ("first", "second", "last", "early"):
        (tmp_path / "tasks" / f"{name}.json").write_text(
            json.dumps(toy_task(name).to_dict()), encoding="utf8"
        )
    return tmp_path


def lists(folder, **record):
    path = folder / "mine.json"
    path.write_text(json.dumps(record), encoding="utf8")
    return str(path)


def test_names_and_patterns_of_the_suite():
    assert [t.name for t in load_tasks("ari_m*, gra_actor")] == ["ari_max", "ari_min", "gra_actor"]
    split, found, skipped = select_tasks("ari_*", 3, 1, 42)
    assert (
        len(split.seen) == 3
        and len(split.unseen) == 1
        and set(found) == set(split.all)
        and not skipped
    )
    with pytest.raises(ValueError, match="say how many of its 2 tasks are seen"):
        select_tasks("ari_max,ari_min", 0, 0, 42)
    with pytest.raises(
        ValueError, match="unknown task or task split 'ari_mox'; did you mean ari_max"
    ):
        load_tasks("ari_mox")


def test_splits_and_everything():
    assert select_tasks("random-20", 0, 0, 42)[0] == embedded.load_split("random-20")
    assert len(load_tasks("all")) == len(embedded.task_names())


def test_a_file_lists_seen_and_unseen_load_tasks_a_folder(folder):
    split, found, _ = select_tasks(
        lists(folder, seen=["last", "first"], unseen=["early"], tasks="tasks"), 0, 0, 42
    )
    assert split.seen == ("last", "first") and split.unseen == ("early",) and split.name == "mine"
    assert (
        found["early"] == toy_task("early") and split.new_subcategories == ()
    )  # all are of one subcategory


def test_a_file_lists_tasks_of_the_suite(folder):
    split, found, _ = select_tasks(lists(folder, seen=["ari_max"], unseen=["gra_actor"]), 0, 0, 42)
    assert split.all == ("ari_max", "gra_actor") == tuple(found) and split.new_subcategories == (
        "gra_actor",
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"seen": ["first", "first"], "tasks": "tasks"}, "listed twice: first"),
        (
            {"seen": ["first"], "unseen": "early", "tasks": "tasks"},
            "'unseen' must be a list of task names",
        ),
        (
            {"seen": ["frist"], "unseen": ["early"], "tasks": "tasks"},
            "unknown task in .*mine.json: 'frist'; did you mean first",
        ),
        ({"seen": [], "unseen": ["early"], "tasks": "tasks"}, "at least one task must be seen"),
        ({"seen": ["first"], "unsen": ["early"], "tasks": "tasks"}, "unknown fields unsen"),
        ({"seen": ["first"], "tasks": "nowhere"}, "no such file or folder"),
    ],
)
def test_a_broken_list_says_what_is_wrong(folder, record, says):
    with pytest.raises(ValueError, match=says):
        select_tasks(lists(folder, **record), 0, 0, 42)


def test_many_names_are_no_file_name():
    names = [t.name for t in load_tasks("random-40")]
    assert len(",".join(names)) > 255 and [t.name for t in load_tasks(",".join(names))] == names
