"""Rows of tags, spans and choices in the schema: read, written, drawn, and refused in one line."""

import pytest

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Example, Task
from ipt.fewshot import few_shot
from ipt.tasks.readers.schema import record_problems

CONTEXT = "Ada Lovelace was born in London."


def tagged(number, **more):
    return {"tokens": ["Ada", "saw", f"Rome{number}"], "tags": ["B-PER", "O", "B-LOC"], **more}


def asked(number, **more):
    answers = [{"text": "London", "answer_start": 25}]
    row = {"context": f"{CONTEXT} {number}", "query": "Where?", "answers": answers}
    return row | more


def chosen(number, **more):
    return {"input": f"It rained {number}.", "choices": ["wet", "dry"], "output": ["wet"], **more}


KINDS = {
    "tags": (tagged, "entity-F1"),
    "span": (asked, "squad-F1"),
    "choice": (chosen, "accuracy"),
}


def a_record(category, rows=None, **more):
    make, metric = KINDS[category]
    rows = [make(number) for number in range(300)] if rows is None else rows
    return {"name": "toy", "category": category, "metric": metric, "examples": rows} | more


def refusal(category, *rows, **more):
    """Return the one problem of these rows, without the file's name."""
    (problem,) = record_problems(a_record(category, list(rows), **more), "toy.json")
    return problem.removeprefix("toy.json: ")


def test_a_tagged_row_is_a_text_and_its_tags():
    task = Task.from_dict(a_record("tags", [tagged(1), tagged(2, predicate=1), tagged(3, query="x")]))
    plain, predicate, query = task.examples
    assert (plain.input, plain.output) == ("Ada saw Rome1", ("B-PER O B-LOC",))
    assert (plain.tokens, plain.tags) == (("Ada", "saw", "Rome1"), ("B-PER", "O", "B-LOC"))
    assert (predicate.query, predicate.input) == ("saw", "saw\nAda saw Rome2")
    assert query.input == "x\nAda saw Rome3"
    assert task.options == ("O", "B-LOC", "B-PER")
    # Predicates of one sentence are never parted.
    assert predicate.key == Task.from_dict(a_record("tags", [tagged(2)])).examples[0].key


def test_a_span_row_has_offsets_of_its_context():
    two = [{"text": "London", "answer_start": 25}] * 2 + [{"text": "Ada", "answer_start": 0}]
    lists = {"text": ["London"], "answer_start": [25]}
    rows = [asked(1, answers=two), asked(2, answers=[], is_impossible=True), asked(3, answers=lists)]
    several, none, flat = Task.from_dict(a_record("span", rows)).examples
    assert several.input == f"Where?\n{CONTEXT} 1"
    assert (several.output, several.spans) == (("London", "Ada"), ((25, 31), (0, 3)))
    assert (none.output, none.spans, none.is_span) == (("",), (), True)
    assert flat.spans == ((25, 31),)
    assert several.key == f"{CONTEXT} 1".casefold()


def test_offsets_count_characters_beyond_the_first_plane():
    row = {"context": "😀é Paris", "question": "?", "answers": {"text": ["Paris"], "answer_start": [3]}}
    (example,) = Task.from_dict(a_record("span", [row])).examples
    assert example.spans == ((3, 8),)


def test_a_choice_row_has_options_of_its_own():
    rows = [chosen(1), {"query": "effect", "context": "It rained.", "choices": ["a", "b", "c"], "output": ["c", "b"]}]
    first, second = Task.from_dict(a_record("choice", rows)).examples
    assert first.choices == ("wet", "dry")
    assert (second.input, second.output) == ("effect\nIt rained.", ("c", "b"))


@pytest.mark.parametrize("category", KINDS)
def test_tasks_of_every_kind_survive_the_schema(category):
    rows = [KINDS[category][0](number) for number in range(4)]
    rows[0] |= {"query": "q", "group": 7, "entity": 0}
    record = a_record(category, rows, test=[rows[3]])
    record["sets"] = {"100": {"train": [2, 0], "dev": [1]}}
    task = Task.from_dict(record)
    again = Task.from_dict(task.to_dict())
    assert again == task and again.digest == task.digest
    assert again.to_dict() == task.to_dict()
    # Control: each part counts.
    for change in ({"test": [rows[2]]}, {"sets": {"100": {"train": [0, 2], "dev": [1]}}}):
        assert Task.from_dict(record | change).digest != task.digest


def test_new_fields_change_a_digest_only_where_they_are():
    plain = Example("a", ("b",), "c")
    assert plain.line == "a\tc\tb"
    lines = {plain.line}
    for more in ({"tokens": ("a",)}, {"query": "a"}, {"context": "a"}, {"choices": ("a",)}, {"group": "a"}):
        lines.add(Example("a", ("b",), "c", **more).line)
    assert len(lines) == 6


@pytest.mark.parametrize("category", KINDS)
def test_few_shot_sets_have_32_rows_in_all_and_share_none(category):
    task = Task.from_dict(a_record(category))
    drawn = [few_shot(task, seed) for seed in (SAME_DATA_SEED, DIFF_DATA_SEED)]
    parts = [*drawn[0].__dict__.values(), drawn[1].train, drawn[1].dev]
    assert [len(part) for part in parts] == [32, 32, 100, 32, 32]
    keys = {example.key for part in parts for example in part}
    assert len(keys) == 228


def test_a_test_set_of_its_own_is_not_drawn_from():
    rows = [tagged(number) for number in range(300)]
    task = Task.from_dict(a_record("tags", rows, test=rows[:200]))
    sets = few_shot(task, SAME_DATA_SEED, 16)
    assert sets.test == task.test
    held_out = {example.key for example in sets.test}
    assert not held_out & {example.key for example in (*sets.train, *sets.dev)}


def test_whole_sets_are_taken_and_cut_per_label():
    rows = [{"input": f"{i}", "output": ["yes" if i % 4 else "no"]} for i in range(16)]
    sets = {"100": {"train": list(range(8)), "dev": list(range(8, 16))}}
    record = {"name": "t", "category": "cls", "metric": "accuracy", "options": ["yes", "no"]}
    test = [{"input": "t", "output": ["no"]}]
    task = Task.from_dict(record | {"examples": rows, "test": test, "sets": sets})
    drawn = few_shot(task, 100)
    assert (drawn.train, drawn.dev) == (task.examples[:8], task.examples[8:])
    # The first three of each label, of which one has two.
    assert [row.input for row in few_shot(task, 100, 3).train] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ValueError, match="at most 6 rows of a label, found --shots 7"):
        few_shot(task, 100, 7)
    with pytest.raises(ValueError, match="sets for the data seeds 100, found 21"):
        few_shot(task, 21)


WRONG_SETS = [
    ({"100": {"train": [0], "dev": [0]}}, "sets 100 must list"),
    ({"100": {"train": [0]}}, "sets 100 must list"),
    ({"100": [0]}, "sets 100 must list"),
    ({"x": {"train": [0], "dev": [1]}}, "for each data seed"),
]


@pytest.mark.parametrize(("sets", "message"), WRONG_SETS)
def test_wrong_sets_are_refused(sets, message):
    rows = [chosen(number) for number in range(3)]
    with pytest.raises(ValueError, match=message):
        Task.from_dict(a_record("choice", rows, test=[chosen(9)], sets=sets))
    with pytest.raises(ValueError, match="need the task's own 'test' set"):
        Task.from_dict(a_record("choice", rows, sets={"100": {"train": [0], "dev": [1]}}))


WRONG = {
    "no tag for a token": ("tags", {"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags"),
    "an entity without a beginning": (
        "tags",
        {"tokens": ["a", "b"], "tags": ["O", "I-PER"]},
        "tag 2 is 'I-PER' after 'O'; in IOB2 an entity begins with B-",
    ),
    "an entity of another kind": (
        "tags",
        {"tokens": ["a", "b"], "tags": ["B-LOC", "I-PER"]},
        "tag 2 is 'I-PER' after 'B-LOC'",
    ),
    "no IOB2": ("tags", {"tokens": ["a"], "tags": ["NOUN"]}, "tag 1 is 'NOUN'; entity-F1 needs"),
    "a tag of two words": ("tags", {"tokens": ["a"], "tags": ["B-a b"]}, "has a space"),
    "a predicate beyond": (
        "tags",
        {"tokens": ["a"], "tags": ["O"], "predicate": 1},
        "from 0 to 0, found 1",
    ),
    "a wrong offset": (
        "span",
        asked(0, answers=[{"text": "London", "answer_start": 24}]),
        "the context has ' Londo' at 24, and not the answer 'London'; it is at 25",
    ),
    "an answer from elsewhere": (
        "span",
        asked(0, answers=[{"text": "Rome", "answer_start": 0}]),
        "it is nowhere in the context",
    ),
    "impossible and answered": ("span", asked(0, is_impossible=True), "there are 1 answers"),
    "possible and unanswered": (
        "span",
        asked(0, is_impossible=False, answers=[]),
        "'is_impossible' is false and there are 0 answers",
    ),
    "no offset": ("span", asked(0, answers=[{"text": "London"}]), "'answer_start', counted in"),
    "no question": ("span", asked(0, query=" "), "'query' (or 'question') must be a text"),
    "an answer that is no choice": ("choice", chosen(0, output="damp"), "not among the choices"),
    "one choice": ("choice", chosen(0, choices=["wet"]), "a list of two texts or more"),
    "a choice twice": ("choice", chosen(0, choices=["wet", "wet"]), "is listed twice"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_row_is_one_line_with_its_number(case):
    category, row, message = WRONG[case]
    told = refusal(category, KINDS[category][0](1), row)
    assert told.startswith("example 2: ") and message in told


def test_metrics_of_one_kind_are_refused_for_another():
    told = refusal("choice", chosen(1), metric="entity-F1")
    assert told == "the metric entity-F1 is for category tags, found choice"
    labels = {"name": "t", "category": "cls", "options": ["a", "b"]}
    row = {"input": "a", "output": "a"}
    (told,) = record_problems(labels | {"metric": "F1a", "examples": [row]}, "t.json")
    assert told == "t.json: the metric F1a needs an option true, yes, 1, found ['a', 'b']"
    (told,) = record_problems(labels | {"metric": "group-EM", "examples": [row]}, "t.json")
    assert told == "t.json: example 1: the metric group-EM needs 'group'"


def test_a_tag_of_the_test_set_alone_is_no_option():
    test = [{"tokens": ["x"], "tags": ["B-ORG"]}]
    record = a_record("tags", [tagged(1)], test=test)
    assert record_problems(record, "t.json") == []
    assert "B-ORG" not in Task.from_dict(record).options
    told = refusal("tags", tagged(1), options=["O", "B-PER"])
    assert told.startswith("example 1: tag 'B-LOC' is not among the options")
