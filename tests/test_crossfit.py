"""CrossFit's table: every line over rows in its data set's fields.

And the paper's splits, the published draws, and what is mended. `crossfit_rows.json` holds, for
every task, invented rows in the hub's fields and the texts they must become.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from ipt.cli import app as cli
from ipt.config import TuneConfig, WorkConfig
from ipt.data import METRICS
from ipt.fewshot import few_shot
from ipt.provenance import settings_record
from ipt.resolve import open_experiment, reopen_experiment
from ipt.tasks.catalog import load_tasks, select_tasks
from ipt.tasks.readers import hub
from ipt.tasks.suites import crossfit
from ipt.tasks.suites.crossfit_rows import DATA_SEEDS, SLICE, build_task
from ipt.tasks.suites.crossfit_shapes import SHAPES
from ipt.tasks.suites.crossfit_table import definitions

CASES = json.loads(Path(__file__).with_name("crossfit_rows.json").read_text(encoding="utf8"))
TABLE = definitions()
GONE = {"eli5-askh", "eli5-asks", "eli5-eli5", "proto_qa"}
AG_NEWS = [{"text": f"news {i}", "label": (i * i) % 4 if i % 5 else i % 4} for i in range(700)]
SPIDER = [{"question": f"how many {i}", "query": f"SELECT {i}"} for i in range(300)]


def rendered(name, as_published=False):
    """Return input and answers of every row of a task's case."""
    rows = CASES[name]["rows"]
    task = build_task(replace(TABLE[name], held_out=""), rows, rows, as_published)
    return [[e.input, *e.output] for e in task.test]


def test_every_line_has_a_case_and_every_case_a_line():
    assert set(CASES) == set(TABLE)
    assert all(case["rows"] and case["expected"] for case in CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_rows_become_the_expected_texts(name):
    assert rendered(name) == CASES[name]["expected"]
    assert rendered(name, as_published=True) == CASES[name].get(
        "as_published", CASES[name]["expected"]
    )


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, case in CASES.items()
        if TABLE[name].keep or len(case["rows"]) > len(case["expected"])
    ],
)
def test_a_rule_for_rows_to_keep_drops_one(name):
    """Every line with a rule has a row against it.

    Control: without the rule that row is there, or cannot be read.
    """
    rows, definition = CASES[name]["rows"], TABLE[name]
    assert len(CASES[name]["expected"]) < len(rows)
    if definition.keep and not name.startswith(
        "tweet_eval"
    ):  # there the row is empty, and left out in any case
        try:
            assert len(
                build_task(replace(definition, keep="", held_out=""), rows, rows).test
            ) > len(CASES[name]["expected"])
        except ValueError as error:
            assert "cannot be filled" in str(error)


@pytest.mark.parametrize("name", TABLE)
def test_cells_are_of_their_kind(name):
    d = TABLE[name]
    labels = d.options.split(" | ") if d.options else []
    assert (
        d.metric in METRICS
        and d.published_metric in (*METRICS, "")
        and len(set(labels)) == len(labels)
    )
    assert (d.kind == "cls") == bool(labels) and d.kind in ("cls", "non-cls")
    assert (
        d.shape in (*SHAPES, "") and bool(d.path) == (name not in GONE) and (bool(d.path) or d.note)
    )
    assert d.test or d.held_out.startswith("train["), "no test set"
    assert "".join(f"{a}[{b}:{c}] " for a, b, c in SLICE.findall(d.held_out)).strip() == d.held_out
    assert {e[1] for e in rendered(name)} <= set(labels) or not labels
    assert (d.published_metric == "published-F1") == (d.metric == "macro-F1" or name == "codah")


def test_the_papers_tasks_and_splits():
    paper = [d for d in TABLE.values() if d.random]
    assert len(paper) == 120 and sum(d.category.startswith("classification/") for d in paper) == 44
    assert sum(d.kind == "cls" for d in paper) == 51  # K per class
    sizes = {
        name: tuple(map(len, (s.seen, s.unseen, s.out_of_kind)))
        for name in crossfit.split_names()
        for s in [crossfit.load_split(name)]
    }
    assert sizes == {
        "random-100": (100, 20, 0),
        "random-20": (20, 20, 0),
        "random-40": (40, 20, 0),
        "random-60": (60, 20, 0),
        "random-80": (80, 20, 0),
        "cls-35": (35, 8, 63),
        "non-cls-35": (35, 41, 43),
    }
    whole = crossfit.load_split("random-100")
    assert whole.unseen == crossfit.load_split("random-20").unseen and set(
        crossfit.load_split("random-40").seen
    ) < set(whole.seen)
    one, other = crossfit.load_split("cls-35"), crossfit.load_split("non-cls-35")
    assert set(one.seen + one.unseen) == set(other.out_of_kind) and set(one.out_of_kind) < set(
        other.seen + other.unseen
    )
    assert set(whole.all) - set(one.seen + one.unseen + other.seen + other.unseen) == {"discovery"}
    assert all(
        len(set(crossfit.load_split(name).all)) == len(crossfit.load_split(name).all)
        for name in crossfit.split_names()
    )
    assert all(d.smaller == "" or d.random == "seen" for d in TABLE.values())


def published_draw(lines, seed, shots, per_label):
    """Draw as the released scripts say they do.

    NumPy shuffles the list itself, then K and K more per label are taken.
    """
    lines = list(lines)
    np.random.seed(seed)
    np.random.shuffle(lines)
    groups = {}
    for line in lines:
        groups.setdefault(line[1] if per_label else "", []).append(line)
    return [
        [line for group in groups.values() for line in group[at : at + shots]] for at in (0, shots)
    ]


@pytest.mark.parametrize("seed", DATA_SEEDS)
@pytest.mark.parametrize("shots", [1, 16, 32, 64])
def test_data_seeds_draw_the_published_rows(seed, shots):
    for name, rows, per_label in (("ag_news", AG_NEWS, True), ("spider", SPIDER, False)):
        task = build_task(TABLE[name], rows, rows[:5])
        lines = [
            (r["text"], task.options[r["label"]]) if per_label else (r["question"], r["query"])
            for r in rows
        ]
        sets = few_shot(task, seed, shots)
        assert [
            [(e.input, e.output[0]) for e in part] for part in (sets.train, sets.dev)
        ] == published_draw(lines, seed, shots, per_label)
        other = published_draw(lines, seed + 1, shots, per_label)  # control: the seed matters
        assert [e.input for e in sets.train] != [line[0] for line in other[0]]


@pytest.mark.parametrize(
    ("rule", "train", "test"),
    [
        ("train[:80%] train[80%:]", slice(0, 240), slice(240, None)),
        ("train[:80%] train[99%:]", slice(0, 240), slice(297, None)),
        ("train[:100] train[100:110]", slice(0, 100), slice(100, 110)),
    ],
)
def test_held_out_rows_are_the_published_ones(rule, train, test):
    lines = [(r["question"], r["query"]) for r in SPIDER]
    np.random.seed(42)
    np.random.shuffle(lines)
    task = build_task(replace(TABLE["spider"], held_out=rule), SPIDER, ())
    assert [(e.input, e.output[0]) for e in task.test] == lines[test]
    drawn = published_draw(lines[train], 13, 32, False)
    assert [
        [(e.input, e.output[0]) for e in part]
        for part in (few_shot(task, 13).train, few_shot(task, 13).dev)
    ] == drawn


def test_a_part_of_the_test_split():
    lines = [r["question"] for r in SPIDER]
    np.random.seed(42)
    np.random.shuffle(lines)
    task = build_task(replace(TABLE["spider"], held_out="test[:5%]"), SPIDER, SPIDER)
    assert [e.input for e in task.test] == lines[:15]


def test_only_rows_that_may_be_drawn_become_examples():
    rows = AG_NEWS * 20
    task = build_task(TABLE["ag_news"], rows, rows[:5])
    assert all(len(order) == 4 * 128 for order in task.draws.values()) and len(
        task.examples
    ) <= 5 * 4 * 128 < len(rows)
    with pytest.raises(ValueError, match="draws for the data seeds 100, 13, 21, 42, 87, found 7"):
        few_shot(task, 7)


def test_what_as_published_restores_is_what_is_mended():
    differ = {
        name
        for name in TABLE
        if [" ".join(e[0].split()) for e in rendered(name, True)] != [e[0] for e in rendered(name)]
    }
    assert differ == {
        "math_qa",
        "mocha",
        "piqa",
        "quail",
        "quartz-with_knowledge",
        "search_qa",
        "superglue-wsc",
    }
    labels = {name for name, d in TABLE.items() if d.published_options}
    assert labels == {
        "ethos-directed_vs_generalized",
        "medical_questions_pairs",
        "paws",
        "piqa",
        "tweet_eval-irony",
        "tweet_eval-offensive",
    }
    rows = [dict(row, text="two\n  lines\there ") for row in CASES["imdb"]["rows"]]
    ours, theirs = (build_task(TABLE["imdb"], rows, rows, flag) for flag in (False, True))
    assert ours.test[0].input == "two lines here" and theirs.test[0].input == "two   lines here"
    assert (ours.metric, theirs.metric) == (
        "macro-F1",
        "published-F1",
    ) and ours.digest != theirs.digest


def test_a_label_beyond_the_options_is_an_error_with_the_row():
    rows = [{"text": "a", "label": -1}]
    with pytest.raises(
        ValueError,
        match=r"CrossFit task ag_news: 'options\[label\]' cannot be filled "
        r".*columns are text, label",
    ):
        build_task(TABLE["ag_news"], rows, rows)
    with pytest.raises(ValueError, match="CrossFit task imdb: .*'text' is undefined"):
        build_task(TABLE["imdb"], [{"txt": "a", "label": 0}], [{"txt": "a", "label": 0}])
    with pytest.raises(ValueError, match="0 training and 0 test rows are not enough"):
        build_task(TABLE["imdb"], [], [])


@pytest.fixture
def hub_of_rows(monkeypatch):
    """A hub that has the cases' rows, 50 times over, and says what was asked of it."""
    asked = []

    def read(source, *what, **more):
        asked.append((*what, *more.values()))
        return Dataset.from_list(CASES[source.split()[-1]]["rows"] * 50)

    monkeypatch.setattr(hub, "read_split", read)
    monkeypatch.setattr(hub, "read_converted", read)
    return asked


def test_names_patterns_splits_and_lists(hub_of_rows, tmp_path):
    assert [t.name for t in load_tasks("crossfit/glue-[rw]*,crossfit/ag_news")] == [
        "glue-rte",
        "glue-wnli",
        "ag_news",
    ]
    assert hub_of_rows[0] == ("nyu-mll/glue", "train", "rte")
    assert [t.name for t in load_tasks("crossfit/superglue-rte, piqa")] == ["superglue-rte", "piqa"]
    assert ("aps/super_glue", "refs/convert/parquet", "rte/validation/*.parquet") in hub_of_rows
    assert hub_of_rows[-1] == ("ybisk/piqa", "refs/convert/parquet", "*/validation/*.parquet")
    split, found, _ = select_tasks("crossfit/random-20,-eli5-*,-glue-wnli", 0, 0, 42)
    assert (
        split.name == "crossfit-random-20-less-3"
    )  # eli5-asks and glue-wnli seen, eli5-eli5 unseen
    assert len(split.seen) == 18 and len(split.unseen) == 19 and set(found) == set(split.all)
    split, _, _ = select_tasks("crossfit/glue-sst2,crossfit/glue-cola,crossfit/ag_news", 2, 1, 42)
    assert len(split.seen) == 2 and len(split.unseen) == 1
    (tmp_path / "mine.json").write_text(
        '{"seen": ["boolq", "piqa"], "unseen": ["art"], "tasks": "crossfit"}', encoding="utf8"
    )
    split, found, _ = select_tasks(str(tmp_path / "mine.json"), 0, 0, 42, as_published=True)
    assert split.all == ("boolq", "piqa", "art") == tuple(found) and found["piqa"].options == (
        "0",
        "1",
    )
    with pytest.raises(
        ValueError, match="unknown CrossFit task or task split 'ag_new'; did you mean ag_news"
    ):
        load_tasks("crossfit/ag_new")
    with pytest.raises(ValueError, match="leaves no task; say crossfit/all"):
        load_tasks("crossfit/-ag_news")


def test_a_table_of_datasets_gives_the_task_that_plain_rows_give():
    for name in ("ag_news", "circa", "hatexplain", "sciq", "kilt_nq", "tweet_eval-hate"):
        rows = CASES[name]["rows"] * 40
        assert build_task(
            TABLE[name], Dataset.from_list(rows), Dataset.from_list(rows)
        ) == build_task(TABLE[name], rows, rows)


def test_every_task_that_cannot_be_had_is_named_at_once(monkeypatch, capsys):
    monkeypatch.setattr("ipt.hub.is_offline", lambda: False)
    monkeypatch.setattr("ipt.hub.is_reachable", lambda: False)
    assert cli.main(["tune", "--tasks", "crossfit/ag_news,crossfit/boolq"]) == 2
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1
        and "2 of 2 tasks cannot be had: ag_news (fancyzhx/ag_news), boolq (google/boolq)" in said
    )
    assert "HF_HUB_OFFLINE=1" in said
    assert cli.main(["score", "--tasks", "crossfit/random-100"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(name in said for name in GONE) and "-NAME" in said


def test_as_published_belongs_to_crossfit_and_is_kept_with_a_run(hub_of_rows, tmp_path, capsys):
    assert cli.main(["score", "--tasks", "ari_max", "--as-published"]) == 2
    assert (
        "--as-published restores CrossFit's scripts and needs --tasks crossfit/..."
        in capsys.readouterr().err
    )
    work = WorkConfig(
        tasks="crossfit/piqa,crossfit/boolq", as_published=True, seen=1, unseen=1, out=tmp_path
    )
    experiment = open_experiment(work, TuneConfig())
    settings = settings_record("msf", experiment, {})
    assert settings["as_published"] and experiment.tasks["piqa"].options == ("0", "1")
    again = reopen_experiment(settings, tmp_path)
    assert again.work.as_published and again.tasks == experiment.tasks
    with pytest.raises(
        ValueError, match="tasks have changed"
    ):  # control: mended, they are other tasks
        reopen_experiment({k: v for k, v in settings.items() if k != "as_published"}, tmp_path)
    plain = replace(experiment, work=replace(work, as_published=False))
    assert "as_published" not in settings_record("msf", plain, {})


def test_the_list_needs_no_hub_and_has_a_line_a_task(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("ipt.hub.is_reachable", lambda: pytest.fail("asked the hub"))
    assert cli.main(["tasks", "list", "--tasks", "crossfit", "--verbose"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("non-cls-35", "yelp_review_full"))
    (line,) = (line.split() for line in shown.splitlines() if line.startswith("ag_news "))
    assert line[-1] == "fancyzhx/ag_news"
    assert cli.main(["tasks", "list", "--tasks", "crossfit/random-20", "--verbose"]) == 0
    assert "yelp_review_full" not in capsys.readouterr().out
    assert cli.main(["tasks", "list", "--tasks", "crossfit"]) == 0
    assert "158 tasks in 22 subcategories" in capsys.readouterr().out
