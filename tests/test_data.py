"""The schema and the few-shot sets: one test set, no row or entity shared between data seeds."""

import dataclasses
import json
import random

import numpy as np
import pytest

from ipt import fewshot
from ipt.data import Example, Task, TaskSplit
from ipt.fewshot import few_shot


def a_task(
    entities: int = 300, per_entity: int = 1, options: tuple[str, ...] | None = None
) -> Task:
    """Rows of `per_entity` inputs for each entity; labels by turns."""
    rows = []
    for i in range(entities * per_entity):
        label = options[i // per_entity % len(options)] if options else f"answer {i}"
        rows.append(Example(f"input {i}", (label,), f"entity {i // per_entity}"))
    kind, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
    return Task("toy", kind, "toy", metric, "Say it.", tuple(rows), options)


def shared_keys(one: tuple[Example, ...], other: tuple[Example, ...]) -> set[str]:
    return {e.key for e in one} & {e.key for e in other}


@pytest.mark.parametrize("options", [None, ("yes", "no"), ("a", "b", "c")])
@pytest.mark.parametrize("per_entity", [1, 3])
def test_sets_of_two_data_seeds_are_disjoint(options, per_entity):
    task = a_task(400, per_entity, options)
    same, diff = few_shot(task, 100), few_shot(task, 21)
    assert same.test == diff.test == fewshot.test_rows(task)
    sets = [same.train, same.dev, diff.train, diff.dev, same.test]
    assert not any(shared_keys(a, b) for i, a in enumerate(sets) for b in sets[:i])
    shots = 16 * len(options) if options else 32
    assert [len(s) for s in sets] == [shots] * 4 + [100]


def test_control_draws_by_row_share_entities():
    """The check above can fail: sets drawn at random by row do share entities with the test set."""
    task = a_task(400, per_entity=3)
    drawn = random.Random(0).sample(task.examples, 64)
    assert shared_keys(tuple(drawn), fewshot.test_rows(task))


def test_labels_are_equal_in_every_set():
    sets = few_shot(a_task(400, options=("a", "b", "c", "d")), 21)
    for part, each in ((sets.train, 16), (sets.dev, 16), (sets.test, 25)):
        assert [sum(e.output[0] == label for e in part) for label in "abcd"] == [each] * 4


def test_a_small_task_gets_smaller_sets():
    sets = few_shot(a_task(114), 21)
    assert (len(sets.train), len(sets.dev), len(sets.test)) == (16, 16, 50)


def test_too_many_shots_name_the_task_and_the_counts():
    with pytest.raises(
        ValueError, match=r"task toy: data seed 100 needs 200 train and 200 dev rows.*--shots"
    ):
        few_shot(a_task(), 100, 200)


def test_row_order_does_not_change_the_sets():
    task = a_task()
    turned = Task("toy", "non-cls", "toy", "exact-match", "Say it.", task.examples[::-1])
    assert few_shot(task, 21) == few_shot(turned, 21)


def test_schema_round_trip():
    task = a_task(5, options=("yes", "no"))
    again = Task.from_dict(task.to_dict())
    assert again.to_dict() == task.to_dict() | {"family": "toy"} and again.digest == task.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "field 'name' is missing"),
        ({"category": "regression"}, "category must be one of cls, non-cls, tags, span, choice, found 'regression'"),
        ({"metric": "blue"}, "metric must be one of"),
        ({"options": None}, "a cls task needs 'options'"),
        ({"examples": []}, "field 'examples' is missing or empty"),
        ({"examples": [{"input": " ", "output": ["yes"]}]}, "example 1: 'input'"),
        ({"examples": [{"input": "a", "output": []}]}, "example 1: 'output'"),
        (
            {"examples": [{"input": "a", "output": ["maybe"]}]},
            "label 'maybe' is not among the options",
        ),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(ValueError, match="^some file: .*" + message):
        Task.from_dict(a_task(5, options=("yes", "no")).to_dict() | change, "some file")


def test_a_split_lists_all_its_tasks():
    assert TaskSplit("x", ("a",), ("b",), ("c",)).all == ("a", "b", "c")


def published(options: tuple[str, ...] | None = None, rows: int = 80) -> Task:
    """A task with its own test set and draws as CrossFit's: the whole list, NumPy's old generator."""
    task = a_task(rows, options=options)
    own = tuple(Example(f"test {i}", e.output) for i, e in enumerate(task.examples[:7]))
    draws = {}
    for seed in (100, 21):
        order = np.random.RandomState(seed).permutation(rows)
        draws[seed] = tuple(order.tolist())
    return dataclasses.replace(task, test=own, draws=draws)


def test_a_published_draw_is_what_crossfits_procedure_gives():
    task = published(("yes", "no"))
    lines = [(e.input, e.output[0]) for e in task.examples]
    # The released procedure: shuffle the lines in place, then K per label in order of appearance.
    np.random.seed(21)
    np.random.shuffle(lines)
    expected = []
    for label in dict.fromkeys(label for _, label in lines):
        expected += [line for line in lines if line[1] == label][:16]
    sets = few_shot(task, 21)
    assert [(e.input, e.output[0]) for e in sets.train] == expected
    assert len(sets.dev) == 32 and not shared_keys(sets.train, sets.dev) and sets.test == task.test


def test_a_published_draw_without_labels_takes_the_first_rows():
    task = published()
    sets = few_shot(task, 100)
    assert [e.input for e in sets.train + sets.dev] == [f"input {i}" for i in task.draws[100][:64]]
    with pytest.raises(
        ValueError, match="needs 41 train and 41 dev rows .*, 80 are there; lower --shots"
    ):
        few_shot(task, 100, 41)
    with pytest.raises(ValueError, match="needs 21 train and 21 dev rows .*, 40 are there"):
        few_shot(published(("yes", "no")), 100, 21)
    with pytest.raises(ValueError, match="draws for the data seeds 100, 21, found 13"):
        few_shot(task, 13)


def test_draws_survive_the_schema_and_are_checked():
    task = published(("yes", "no"))
    record = json.loads(json.dumps(task.to_dict()))
    assert Task.from_dict(record) == dataclasses.replace(task, family="toy")
    assert Task.from_dict(record).digest == task.digest
    assert Task.from_dict(record | {"test": None, "draws": None}).digest != task.digest
    for change, message in (
        ({"test": None}, "'draws' and 'sets' need the task's own 'test' set"),
        ({"draws": {"100": [0, 0]}}, "draw 100 must list different numbers from 0 to 79"),
        ({"draws": {"100": [80]}}, "draw 100 must list"),
        ({"draws": {"x": [1]}}, "for each data seed"),
        ({"test": [{"input": "a", "output": ["other"]}]}, "test example 1: label 'other'"),
    ):
        with pytest.raises(ValueError, match=message):
            Task.from_dict(record | change)
