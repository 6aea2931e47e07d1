"""The page of `ipt report` as its reader meets it: comparison, answers, reservations, losses."""

import json
import math
from dataclasses import replace

import pytest
from conftest import hand_made, page_of, plain
from matplotlib.figure import Figure

from ipt.analysis.protocol_table import run_sentence, run_standing
from ipt.analysis.report.answers import answered_tasks
from ipt.analysis.report.headline import banner, sentence, strip
from ipt.analysis.report.losses import curves_of, draw_loss
from ipt.analysis.report.sections import draw_unseen
from ipt.analysis.report.vectors import within_groups
from ipt.analysis.report.views import read_views
from ipt.metrics import score
from ipt.run import ANSWERS, Run
from ipt.storage import read_json, write_json

UNSEEN = {f"new{i}": f"group {i % 3}" for i in range(7)}
SEEN = {f"task{i}": f"group {i % 3}" for i in range(6)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return hand_made(tmp_path_factory.mktemp("reader"), SEEN, UNSEEN)


@pytest.fixture
def view(folder):
    return read_views([folder])[0]


def with_answers(view, rows=8):
    """A view whose unseen tasks have answers: of five numbers every second one is right."""
    answers, kept = {"empty": {}, "test": {}, "reference": {}}, {}
    for name in view.unseen:
        kept[name] = [{"input": f"{name} <b>{i}</b>", "right": ["yes"]} for i in range(rows)]
        answers["empty"][name] = [""] * rows
        answers["test"][name] = ["yes" if i % 2 else "no" for i in range(rows)]
        answers["reference"][name] = ["yes"] * rows
    return {"rows": kept, "answers": answers}


def test_the_comparison_is_that_of_ist_and_has_every_rival(view):
    said = sentence(view)
    assert said.startswith("3 numbers recover ") and "the best other way" in said
    assert said.replace("−", "-") == run_sentence(view.ist.result).replace(" … ", " to ") + "."
    found = strip(view)
    by_name = {row.name: row for row in found.rows}
    assert set(by_name) == {
        "prompt tuning, the reference",
        "3 numbers a task",
        "mixture of seen prompts",
        "PCA subspace",
        "random subspace",
        "random directions at the start",
    }
    assert [row.is_own for row in found.rows].count(True) == 1
    shares = [int(row.value.replace("−", "-")) for row in found.rows[1:]]
    assert shares == sorted(shares, reverse=True)
    own = run_standing(view.ist.result, "test").recovered
    assert by_name["3 numbers a task"].value == f"{100 * own.value:.0f}"
    # one axis: equal distances are equal shares
    for row in found.rows:
        assert 0 <= row.dot <= 100 and (row.low is None or row.low <= row.high)
    places = [place for _, place in found.ticks]
    steps = {round(b - a, 1) for a, b in zip(places, places[1:], strict=False)}
    assert len(steps) == 1 and places[0] == 0 and places[-1] == 100


def test_few_tasks_have_no_interval_in_the_comparison(tmp_path):
    few, *_ = read_views([plain(tmp_path)])  # four unseen tasks
    assert {row.interval for row in strip(few).rows} == {""}
    assert "(" not in sentence(few).split(" of what ")[0]


def test_the_banner_says_what_applies_and_nothing_else(view):
    assert banner([view]) == ["one seed"]  # control: a whole run of one seed
    settings = view.ist.settings | {"seed": 43, "limit": 12, "held_out": "dev"}
    look = replace(view, ist=replace(view.ist, record={"config": settings}))
    assert banner([look]) == ["12 test rows a task", "dev rows, no test rows", "one seed"]
    assert "one seed" not in banner([view, look])
    quick = view.msf.settings | {"tune": view.msf.settings["tune"] | {"steps": 100}}
    look = replace(view, msf=replace(view.msf, record={"config": quick}))
    assert banner([look])[0] == "the few steps of the quick preset"


def test_answers_are_of_the_best_the_middle_and_the_worst_task(view):
    assert answered_tasks(view) == []  # control: an old run keeps none
    found = answered_tasks(replace(view, answers=with_answers(view)))
    assert [task.place for task in found] == ["best", "middle", "worst"]
    shares = [view.scored_task(task.name).recovery for task in found]
    every = [view.scored_task(name).recovery for name in view.unseen]
    assert shares[0] == max(every) and shares[2] == min(every) and shares == sorted(shares)[::-1]
    assert found[0].columns == ["no prompt", "3 numbers", "full tuning"]
    assert [[answer.is_right for answer in row.answers] for row in found[0].rows[:2]] == [
        [False, False, True],
        [False, True, True],
    ]
    assert found[0].rows[0].answers[0].text == "(no answer)"


def test_the_page_shows_answers_as_texts_with_words_for_right(folder, view, capsys, undrawn):
    out = folder.parent
    text = (page_of(capsys, "--out", out), (out / "report.html").read_text(encoding="utf8"))[1]
    assert "This run keeps no answers" in text
    write_json(folder / ANSWERS, with_answers(view))
    page = page_of(capsys, "--out", out)
    (folder / ANSWERS).unlink()
    text = (out / "report.html").read_text(encoding="utf8")
    assert "✗</span> no" in text and "✓</span> yes" in text
    header, first, *_ = page.tables["table-answers-1-1"]
    assert header == ["input", "wanted", "no prompt", "3 numbers", "full tuning"]
    assert first[0].endswith(" <b>0</b>") and first[2:] == [" (no answer)", " no", " yes"]
    assert {("aria-label", "right"), ("aria-label", "not right")} <= set(page.attributes)


def test_ist_keeps_what_it_scored(done):
    (folder,) = done.glob("ist-*")
    kept, result = read_json(folder / ANSWERS), Run(folder).result
    assert set(kept["answers"]) >= {"empty", "reference", "test", "pca_test", "train_same"}
    metrics = {name: task["metric"] for name, task in result["tasks"].items()}
    checked = 0
    for condition, by_task in kept["answers"].items():
        for name, answers in by_task.items():
            right = [row["right"] for row in kept["rows"][name]]
            assert len(answers) == len(right) <= 8
            scores = {"reference": result["reference"]["100"]} | result["scores"]
            if condition in scores and condition != "train_diff":
                # the toy runs score six rows a task: all of them are kept
                found = scores[condition][name]["generated"]
                assert score(metrics[name], answers, right) == pytest.approx(found, abs=1e-6)
                checked += 1
    assert checked > 10


def test_unseen_tasks_stand_in_the_order_of_their_recovery(view):
    figure = Figure()
    draw_unseen(figure, [view])
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    shares = [view.scored_task(name).recovery for name in names]
    assert len(names) == 7 and shares == sorted(shares, reverse=True)
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first on top
    marks = {mark.get_gid(): mark.get_offsets()[0][0] for mark in axes.collections}
    for name in names:
        gid = f"task-{view.names.index(name)}"
        assert marks[gid] == pytest.approx(view.scored_task(name).score)


def test_groups_are_held_against_shuffled_names():
    vectors = [[1, 0.1 * i] for i in range(5)] + [[-0.1 * i, 1] for i in range(5)]
    import numpy as np

    apart = within_groups(np.array(vectors), ["x"] * 5 + ["y"] * 5)
    assert apart[0] > 0.9 > apart[1] + 2 * apart[2]
    mixed = within_groups(np.array(vectors), ["x", "y"] * 5)
    assert mixed[0] < mixed[1] + 2 * mixed[2]  # control: groups that lie nowhere together


def test_losses_are_those_of_the_stage_or_the_mean_of_its_jobs(view):
    jobs = [{"job": str(i), "step": step, "dev_loss": i / step} for i in (1, 2) for step in (1, 2)]
    steps, means, low, high = curves_of(jobs)["dev loss"]
    assert (steps, means) == ([1, 2], [1.5, 0.75])
    assert low == pytest.approx([1.1, 0.55]) and high == pytest.approx([1.9, 0.95])
    stage = [
        {"stage": "msf", "step": 10 * i, "loss": 1 / i, "loss_p10": 0.1, "loss_p90": 2, **more}
        for i, more in ((1, {"dev_loss": None}), (2, {"dev_loss": 0.7}))
    ]
    found = curves_of([*jobs, *stage])
    assert found["train loss"] == ([10, 20], [1, 0.5], [0.1, 0.1], [2, 2])
    assert found["dev loss"][:2] == ([20], [0.7])
    assert curves_of([]) == {} and curves_of([{"job": "x", "step": 1, "dev_loss": math.nan}]) == {}

    figure = Figure()
    draw_loss(figure, [view])
    assert not figure.axes  # control: this run has no metrics
    draw_loss(figure, [replace(view, losses={"msf": stage, "shared": stage[:1]})])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["the subspace (MSF)"]


def test_a_cut_line_of_metrics_is_passed_over(tmp_path):
    folder = plain(tmp_path)
    whole = json.dumps({"job": "x", "step": 1, "dev_loss": 1.0})
    (folder / "metrics-ist-test.jsonl").write_text(f"{whole}\n{whole[:20]}")
    (view,) = read_views([folder])
    assert view.losses == {"ist-test": [json.loads(whole)]}
