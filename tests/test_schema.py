"""Tasks from JSON objects, field by field, and the digest over what a result depends on."""

import hashlib
import json
from dataclasses import replace

import pytest

from ipt.data import Example, Task, digest_of
from ipt.tasks.readers.schema import record_problems

RECORD = {
    "name": "mine",
    "category": "cls",
    "subcategory": "sorts",
    "metric": "accuracy",
    "definition": "Say it.",
    "novel": True,
    "knowledge": False,
    "source": "somewhere",
    "family": "people",
    "options": ["yes", "no"],
    "examples": [
        {"input": "one", "output": ["yes", "yeah"], "entity": "first"},
        {"input": "two", "output": "no"},
        {"input": "three", "output": ["no"], "entity": None},
    ],
}
OWN = {
    "test": [{"input": "four", "output": "yes", "entity": "fourth"}],
    "draws": {"100": [2, 0], "21": [1]},
}
NO_TEXTS = "'output' must be a list of texts that are not empty"
FREE = RECORD | {"category": "non-cls", "metric": "exact-match", "options": None}


def refusal(record) -> str:
    with pytest.raises(ValueError) as told:
        Task.from_dict(record, "file.json")
    message = str(told.value)
    assert message.startswith("file.json: ")
    return message.removeprefix("file.json: ")


def test_every_field_is_read():
    expected = Task(
        name="mine",
        category="cls",
        subcategory="sorts",
        metric="accuracy",
        definition="Say it.",
        examples=(
            Example("one", ("yes", "yeah"), "first"),
            Example("two", ("no",), ""),
            Example("three", ("no",), ""),
        ),
        options=("yes", "no"),
        novel=True,
        knowledge=False,
        source="somewhere",
        family="people",
    )
    found = Task.from_dict(RECORD)
    assert found == expected and found.test == () and found.draws == {}
    turned = Task.from_dict(RECORD | {"novel": False, "knowledge": True})
    assert (turned.novel, turned.knowledge) == (False, True)


def test_a_task_may_bring_its_test_set_and_draws():
    found = Task.from_dict(RECORD | OWN)
    assert found.test == (Example("four", ("yes",), "fourth"),)
    assert found.draws == {100: (2, 0), 21: (1,)}
    assert hash(found) == hash(Task.from_dict(RECORD | OWN))


def test_what_is_missing_is_empty_and_the_family_is_the_tasks_own():
    needed = {name: RECORD[name] for name in ("name", "category", "metric", "examples", "options")}
    found = Task.from_dict(needed)
    assert (found.subcategory, found.definition, found.source) == ("", "", "")
    assert found.family == "mine" and found.novel is found.knowledge is False
    plain = Task("x", "non-cls", "", "bleu", "", ())
    assert (plain.options, plain.novel, plain.knowledge, plain.source) == (None, False, False, "")
    assert (plain.family, plain.test, plain.draws) == ("", (), {})
    assert Example("a", ("b",)).entity == ""


def test_the_json_object_is_written_as_it_was_read():
    rows = [
        {"input": "one", "output": ["yes", "yeah"], "entity": "first"},
        {"input": "two", "output": ["no"], "entity": ""},
        {"input": "three", "output": ["no"], "entity": ""},
    ]
    assert Task.from_dict(RECORD).to_dict() == RECORD | {"examples": rows}
    own = Task.from_dict(RECORD | OWN).to_dict()
    test = [{"input": "four", "output": ["yes"], "entity": "fourth"}]
    assert own == RECORD | {"examples": rows, "test": test, "draws": OWN["draws"]}
    assert json.loads(json.dumps(own)) == own
    free = Task.from_dict(FREE)
    assert free.options is None and free.to_dict()["options"] is None


def test_rows_are_left_out_where_a_task_is_shown():
    shown = repr(Task.from_dict(RECORD | OWN))
    assert "mine" in shown and "Say it." in shown
    assert not any(text in shown for text in ("one", "four", "draws"))


@pytest.mark.parametrize("name", ["name", "category", "metric", "examples"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_field_that_is_needed_is_named(name, how):
    record = {field: value for field, value in RECORD.items() if field != name or how == "empty"}
    if how == "empty":
        record[name] = type(RECORD[name])()
    assert refusal(record) == f"field '{name}' is missing or empty"


def test_where_is_a_task_if_not_said():
    with pytest.raises(ValueError, match="^task: field 'name' is missing or empty$"):
        Task.from_dict({})


@pytest.mark.parametrize("name", ["a", "9", "_a", "a.b+c-d_e", "a" * 100, "\u00e9t\u00e9", "a..b"])
def test_names_that_can_be_files(name):
    assert Task.from_dict(RECORD | {"name": name}).name == name


NO_FILES = ("a" * 101, ".a", "-a", "+a", "a/b", "../a", "a b", "a\n", "a:b", 7)


@pytest.mark.parametrize("name", NO_FILES)
def test_names_that_cannot(name):
    told = refusal(RECORD | {"name": name})
    assert told.startswith("a name is up to 100 letters, digits and . _ + - ")


def test_options_are_needed_for_cls_only():
    for none in (None, []):
        told = refusal(RECORD | {"options": none})
        assert told == "a cls task needs 'options', the list of its labels"
    assert Task.from_dict(FREE | {"options": ["yes", "no"]}).options == ("yes", "no")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("text", "'input' must be a text that is not empty"),
        ({"output": "no"}, "'input' must be a text that is not empty"),
        ({"input": " \n", "output": "no"}, "'input' must be a text that is not empty"),
        ({"input": 3, "output": "no"}, "'input' must be a text that is not empty"),
        ({"input": "a"}, NO_TEXTS),
        ({"input": "a", "output": []}, NO_TEXTS),
        ({"input": "a", "output": " "}, NO_TEXTS),
        ({"input": "a", "output": 3}, NO_TEXTS),
        ({"input": "a", "output": {"no": 1}}, NO_TEXTS),
        ({"input": "a", "output": ["no", " "]}, NO_TEXTS),
        ({"input": "a", "output": ["no", 3]}, NO_TEXTS),
        (
            {"input": "a", "output": ["maybe", "no"]},
            "label 'maybe' is not among the options ['yes', 'no']",
        ),
        ({"input": "a", "output": "No"}, "label 'No' is not among the options ['yes', 'no']"),
    ],
)
def test_a_wrong_row_is_named_by_its_place(row, message):
    good = RECORD["examples"][0]
    assert refusal(RECORD | {"examples": [row, good]}) == f"example 1: {message}"
    assert refusal(RECORD | {"examples": [good, good, row]}) == f"example 3: {message}"
    assert refusal(RECORD | OWN | {"test": [good, row]}) == f"test example 2: {message}"


def test_only_the_first_answer_must_be_a_label():
    row = {"input": "a", "output": ("no", "nope")}
    assert Task.from_dict(RECORD | {"examples": [row]}).examples == (Example("a", ("no", "nope")),)


@pytest.mark.parametrize("text", ["two", "nan", "inf", "-inf", "1,5"])
def test_pearson_needs_numbers_in_every_first_answer(text):
    number, word = {"input": "a", "output": ["-1.5e3", "some"]}, {"input": "b", "output": [text]}
    record = FREE | {"metric": "pearson", "examples": [number, number]}
    assert Task.from_dict(record | {"test": [number], "draws": {"100": [0]}}).metric == "pearson"
    wanted = f"the metric pearson needs numbers as outputs, found {text!r}"
    assert refusal(record | {"examples": [number, word]}) == f"example 2: {wanted}"
    assert refusal(record | {"examples": [word, number]}) == f"example 1: {wanted}"
    own = record | {"test": [number, number, word], "draws": {"100": [0]}}
    assert refusal(own) == f"test example 3: {wanted}"
    assert Task.from_dict(FREE | {"examples": [number, word]}).examples[1].output == (text,)


@pytest.mark.parametrize("draws", [[[0]], "all", {"x": [0]}, {"-1": [0]}, {"100": [0], "1.5": [1]}])
def test_draws_are_given_by_data_seed(draws):
    wanted = "'draws' must give a list of example numbers for each data seed"
    assert refusal(RECORD | OWN | {"draws": draws}) == wanted


NO_ORDERS = ([3], [-1], [0, 1, 0], ["0"], [0.0], 2, {"0": 1}, "01", [0, 1, 2, 3])


@pytest.mark.parametrize("order", NO_ORDERS)
def test_a_draw_lists_different_examples(order):
    wanted = "draw 21 must list different numbers from 0 to 2"
    assert refusal(RECORD | OWN | {"draws": {"100": [0], "21": order}}) == wanted


def test_a_draw_may_list_every_example_and_give_its_seed_as_a_number():
    found = Task.from_dict(RECORD | OWN | {"draws": {100: (2, 0, 1), 21: []}})
    assert found.draws == {100: (2, 0, 1), 21: ()}


def test_draws_need_a_test_set_and_a_test_set_may_do_without():
    told = refusal(RECORD | {"draws": OWN["draws"]})
    assert told == "'draws' and 'sets' need the task's own 'test' set"
    assert Task.from_dict(RECORD | {"test": OWN["test"]}).draws == {}
    assert Task.from_dict(RECORD | {"test": [], "draws": {}}) == Task.from_dict(RECORD)


def changed(row, **fields):
    return {**row, **fields}


FIRST, SECOND, THIRD = RECORD["examples"]
CHANGES = {
    "name": {"name": "yours"},
    "category": {"category": "non-cls"},
    "metric": {"metric": "macro-F1"},
    "definition": {"definition": "Say it"},
    "an option": {"options": ["yes", "no", "maybe"]},
    "order of options": {"options": ["no", "yes"]},
    "no options": {"category": "non-cls", "options": None},
    "input": {"examples": [changed(FIRST, input="One"), SECOND, THIRD]},
    "answer": {"examples": [FIRST, changed(SECOND, output=["yes"]), THIRD]},
    "second answer": {"examples": [changed(FIRST, output=["yes", "yep"]), SECOND, THIRD]},
    "fewer answers": {"examples": [changed(FIRST, output=["yes"]), SECOND, THIRD]},
    "entity": {"examples": [changed(FIRST, entity="1st"), SECOND, THIRD]},
    "order of rows": {"examples": [FIRST, THIRD, SECOND]},
    "fewer rows": {"examples": [FIRST, SECOND, THIRD][:2], "draws": {"100": [1, 0], "21": [1]}},
    "test input": {"test": [changed(OWN["test"][0], input="Four")]},
    "test answer": {"test": [changed(OWN["test"][0], output=["no"])]},
    "test entity": {"test": [changed(OWN["test"][0], entity="")]},
    "one more test row": {"test": [OWN["test"][0], OWN["test"][0]]},
    "draw": {"draws": {"100": [2, 1], "21": [1]}},
    "order of a draw": {"draws": {"100": [0, 2], "21": [1]}},
    "seed of a draw": {"draws": {"100": [2, 0], "22": [1]}},
    "one draw": {"draws": {"100": [2, 0]}},
    "no test set": {"test": None, "draws": None},
    "a row of the test set among the examples": {
        "examples": [FIRST, SECOND, THIRD, OWN["test"][0]],
        "test": [FIRST],
    },
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_changes_with_what_a_result_depends_on(what):
    before = Task.from_dict(RECORD | OWN)
    after = Task.from_dict(RECORD | OWN | CHANGES[what])
    assert after.digest != before.digest


def test_the_digest_of_every_change_is_another():
    found = [Task.from_dict(RECORD | OWN | change).digest for change in CHANGES.values()]
    assert len(set(found)) == len(CHANGES)


@pytest.mark.parametrize("field", ["subcategory", "novel", "knowledge", "source", "family"])
def test_the_digest_does_not_change_with_what_is_only_said_of_a_task(field):
    value = not RECORD[field] if isinstance(RECORD[field], bool) else "other"
    assert Task.from_dict(RECORD | {field: value}).digest == Task.from_dict(RECORD).digest


def test_the_digest_is_this_one():
    """Kept prompts and scores are found by it: a change of its making would lose them all."""
    lines = [
        "mine",
        "cls",
        "accuracy",
        "Say it.",
        "yes|no",
        "one\tfirst\tyes\tyeah",
        "two\t\tno",
        "three\t\tno",
        "test 1",
        "four\tfourth\tyes",
        "21:1",
        "100:2,0",
    ]
    text = "\n".join(lines)
    assert Task.from_dict(RECORD | OWN).digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_row_that_moves_between_the_sets_changes_the_digest():
    rows = [{"input": text, "output": ["yes"]} for text in ("one", "two", "three")]
    draws = {"100": [0]}
    tasks = [
        Task.from_dict(RECORD | {"examples": rows[:count], "test": rows[count:], "draws": draws})
        for count in (1, 2)
    ]
    assert tasks[0].digest != tasks[1].digest


def test_draws_have_one_digest_in_whatever_order_they_come():
    task = Task.from_dict(RECORD | OWN)
    turned = replace(task, draws=dict(reversed(task.draws.items())))
    assert turned.digest == task.digest


def test_the_digest_of_several_tasks_is_of_all_in_their_order():
    one, two = Task.from_dict(RECORD), Task.from_dict(FREE)
    joined = f"{one.digest}{two.digest}"
    assert digest_of([one, two]) == hashlib.sha256(joined.encode()).hexdigest()[:12]
    more = hashlib.sha256(f"{joined}5x".encode()).hexdigest()[:12]
    assert digest_of([one, two], "5", "x") == more
    others = {digest_of([two, one]), digest_of([one]), digest_of([one], "5")}
    assert len(others) == 3 and digest_of([one, two]) not in others  # control


@pytest.mark.parametrize("value", ["no", "false", [], {}, 2])
@pytest.mark.parametrize("name", ["novel", "knowledge"])
def test_what_is_neither_true_nor_false_is_not_taken_for_either(name, value):
    assert f"field '{name}' must be true or false, found {value!r}" in refusal(FREE | {name: value})
    assert getattr(Task.from_dict(FREE | {name: None}), name) is False  # control
    assert getattr(Task.from_dict(FREE | {name: True}), name) is True


def test_a_number_names_an_entity_and_what_is_no_text_does_not():
    def named(value):
        return FREE | {"examples": [{"input": "one", "output": "x", "entity": value}]}

    for value, text in ((0, "0"), (7, "7"), (None, ""), ("", "")):
        assert Task.from_dict(named(value)).examples[0].entity == text
    for value in (True, False, [], ["a"], {"a": 1}):
        assert "'entity' must be a text or a number" in refusal(named(value))


@pytest.mark.parametrize("value", [0, False, [], {}])
def test_a_field_that_is_no_text_is_told_where_it_counts_as_false(value):
    for name in ("subcategory", "definition", "source", "family"):
        (problem,) = record_problems(FREE | {name: value}, "file.json")
        assert problem == f"file.json: field '{name}' must be a text, found {value!r}"
    assert record_problems(FREE | {"subcategory": ""}, "file.json") == []  # control


def test_all_fields_and_all_rows_are_told_at_once():
    rows = [{"input": 3, "output": "a"}, {"input": "b", "output": "a"}, {"input": "c"}]
    record = {"name": "a b", "category": "foo", "metric": "bar", "novel": "no", "examples": rows}
    told = [text.removeprefix("f: ") for text in record_problems(record, "f")]
    assert len(told) == 6
    assert told[0].startswith("a name is up to 100 letters")
    assert told[1] == "field 'novel' must be true or false, found 'no'"
    assert told[2].startswith("category must be one of") and told[3].startswith("metric must be")
    assert told[4] == "example 1: 'input' must be a text that is not empty"
    assert told[5] == f"example 3: {NO_TEXTS}"
    # With a right category the rows are checked by it: labels are.
    label = {"input": "b", "output": "maybe"}
    told = record_problems(RECORD | {"metric": "bar", "examples": [label]}, "f")
    assert len(told) == 2 and "label 'maybe' is not among the options" in told[1]
    # Control: rows of another kind than the misspelt category's are not taken for plain ones.
    tags = {"tokens": ["a"], "tags": ["O"]}
    assert len(record_problems(FREE | {"category": "tgas", "examples": [tags]}, "f")) == 1
    assert len(record_problems({}, "f")) == 4  # what is missing
