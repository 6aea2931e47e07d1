"""A user's files: which are read, what is said of each problem and where.

And a split drawn by hash, by hand.
"""

import gzip
import hashlib
import json
from itertools import islice
from random import Random

import pytest

from ipt.data import Example, Task
from ipt.metrics import score
from ipt.tasks.readers import schema
from ipt.tasks.readers.text import text_lines
from ipt.tasks.splits import draw_split, make_split, shortfalls

LABELS = {"category": "cls", "metric": "accuracy", "options": ["yes", "no"]}


def a_record(**change):
    record = {"name": "toy", "category": "non-cls", "metric": "exact-match"}
    return record | {"examples": [{"input": "a", "output": ["b"]}]} | change


def check(folder, record):
    path = folder / "task.json"
    path.write_text(json.dumps(record))
    return [problem.removeprefix(f"{path}: ") for problem in schema.find_problems(path)]


def put(path, name):
    path.write_text(json.dumps(a_record(name=name)))


def test_only_task_files_of_the_folder_itself_are_read(tmp_path):
    for name in ("b.json", ".hidden.json", "index.json", "notes.txt", "a.json.bak"):
        put(tmp_path / name, "of-" + name.replace(".", "-"))
    packed = json.dumps(a_record(name="packed")).encode()
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(packed))
    (tmp_path / "index.json.gz").write_bytes(b"no archive")
    (tmp_path / "folder.json").mkdir()
    put(tmp_path / "folder.json" / "c.json", "inside")
    (tmp_path / "d.jsonl").write_text("not read beside task files")
    assert [task.name for task in schema.load(tmp_path)] == ["packed", "of-b-json"]
    assert [task.name for task in schema.load(tmp_path / "notes.txt")] == [
        "of-notes-txt"
    ]  # named itself


def test_tables_are_tasks_where_a_folder_has_no_task_files(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"input": "x", "output": name}))
    (tmp_path / "notes.md").write_text("x")
    assert [(t.name, t.examples[0].output) for t in schema.load(tmp_path)] == [
        ("a", ("a",)),
        ("b", ("b",)),
    ]


def test_the_first_problem_is_told_with_how_many_more(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"a\.json: line 1, column 2: not valid JSON \(Expecting[^(]*\)$"
    ):
        schema.load(tmp_path)
    (tmp_path / "b.json").write_text(" \n")
    with pytest.raises(
        ValueError, match=rf"a\.json: .* \(and one more problem: ipt tasks check {tmp_path}\)$"
    ):
        schema.load(tmp_path)
    put(tmp_path / "c.json", "right")
    assert (
        schema.find_problems(tmp_path)[1] == f"{tmp_path / 'b.json'}: the file is empty"
        and len(schema.find_problems(tmp_path)) == 2
    )


@pytest.mark.parametrize(
    "name", ["name", "category", "subcategory", "metric", "definition", "source", "family"]
)
def test_each_text_field_must_be_a_text(tmp_path, name):
    assert check(tmp_path, a_record(**{name: ["x"]})) == [
        f"field '{name}' must be a text, found ['x']"
    ]
    needed = name in ("name", "category", "metric")
    found = check(tmp_path, a_record(**{name: None}))
    assert found == ([f"field '{name}' is missing or empty"] if needed else [])


def test_problems_of_the_shape_come_before_those_of_rows(tmp_path):
    record = a_record(name=1, metric=2, options=[" "], examples={"input": "a"})
    assert check(tmp_path, record) == [
        "field 'name' must be a text, found 1",
        "field 'metric' must be a text, found 2",
        "field 'options' must be a list of texts that are not empty",
        "field 'examples' must be a list, found dict",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["a", 1], ["field 'options' must be a list of texts that are not empty"]),
        (["a", "  "], ["field 'options' must be a list of texts that are not empty"]),
        ({"a": 1}, ["field 'options' must be a list of texts that are not empty"]),
        (["a", "b", "b", "a", "c"], ["option 'a' is listed twice", "option 'b' is listed twice"]),
        (["a"], []),
        ([], []),
    ],
)
def test_options_are_different_texts(tmp_path, options, says):
    examples = [{"input": "x", "output": ["a"]}]
    assert check(tmp_path, a_record(options=options, examples=examples)) == says


def test_a_wrong_field_is_told_once_however_many_rows_there_are(tmp_path):
    rows = [{"input": f"{i}", "output": ["b"]} for i in range(30)]
    (problem,) = check(tmp_path, a_record(category="other", examples=rows))
    assert problem == "category must be one of cls, non-cls, tags, span, choice, found 'other'"


@pytest.mark.parametrize(
    ("wrong", "more"), [(1, []), (20, []), (21, ["1 more examples are wrong"])]
)
def test_at_most_twenty_problems_of_a_file_are_told(tmp_path, wrong, more):
    rows = [{"input": "a", "output": ["b"]}] * 2 + [{"input": "a"}] * wrong
    found = check(tmp_path, a_record(examples=rows))
    says = [
        f"example {i}: 'output' must be a list of texts that are not empty"
        for i in range(3, 3 + min(wrong, 20))
    ]
    assert found == says + more


def test_the_number_of_a_row_is_put_in_once(tmp_path):
    """What the row itself says is left as it is."""
    odd = "x: example 1: y"
    rows = [
        {"input": "a", "output": ["yes"]},
        {"input": "b", "output": ["no"]},
        {"input": "c", "output": [odd]},
    ]
    (problem,) = check(tmp_path, a_record(**LABELS, examples=rows))
    assert problem == f"example 3: label '{odd}' is not among the options ['yes', 'no']"


def test_what_is_wrong_between_rows_is_told_after_each_row_is_right(tmp_path):
    rows = [
        ("A b", "yes"),
        ("c", "yes"),
        ("a  B", "yes"),
        ("a b ", "no"),
        ("C", "no"),
        ("c", "yes"),
    ]
    examples = [{"input": text, "output": [label]} for text, label in rows]
    assert check(tmp_path, a_record(**LABELS, examples=examples)) == [
        "example 4: the input of example 1 again, 'yes' there and 'no' here",
        "example 5: the input of example 2 again, 'yes' there and 'no' here",
    ]
    free = a_record(examples=examples, options=["yes", "no"])
    assert (
        check(tmp_path, free) == []
    )  # control: a task that is no cls task may have several answers
    some = LABELS | {"options": ["maybe", "yes", "no", "never"]}
    assert check(tmp_path, a_record(**some, examples=examples[:4]))[1:] == [
        "no example has the label 'maybe'",
        "no example has the label 'never'",
    ]


@pytest.mark.parametrize(
    ("metric", "options", "ignored"),
    [
        ("accuracy", ["US", "us"], "case, spaces and forms of accents"),
        ("macro-F1", ["a b", "A  b"], "case, spaces and forms of accents"),
        ("matthews", ["Stra\u00dfe", "STRASSE"], "case, spaces and forms of accents"),
        ("exact-match", ["a b", "a  b"], "spaces and forms of accents"),
        ("exact-match", ["\u00e9", "e\u0301"], "spaces and forms of accents"),
        ("exact-match", ["US", "us"], None),
        ("published-F1", ["US", "us"], None),
        ("accuracy", ["yes", "yes sir"], None),
    ],
)
def test_options_that_the_metric_takes_for_one_are_told(tmp_path, metric, options, ignored):
    rows = [{"input": f"{i}", "output": [options[i % 2]]} for i in range(4)]
    record = a_record(category="cls", metric=metric, options=options, examples=rows)
    expected = []
    if ignored:
        first, second = options
        expected.append(
            f"options {first!r} and {second!r} are one to the metric {metric}, "
            f"which ignores {ignored}; rename one"
        )
    assert check(tmp_path, record) == expected
    # The metric itself says so: each other label counts as right.
    alike = score(metric, [options[1]], [[options[0]]]) == 1
    assert alike == bool(ignored) or metric == "matthews"


def test_numbers_are_looked_for_in_the_rows_alone(tmp_path):
    rows = [
        {"input": "a", "output": ["3.5"]},
        {"input": "b", "output": ["-1"]},
        {"input": "c", "output": ["high"]},
    ]
    assert check(tmp_path, a_record(metric="pearson", examples=rows[:2])) == []
    (problem,) = check(tmp_path, a_record(metric="pearson", examples=rows))
    assert problem == "example 3: the metric pearson needs numbers as outputs, found 'high'"


def test_a_label_of_the_test_set_alone_is_had(tmp_path):
    rows = [{"input": f"{i}", "output": ["yes"]} for i in range(3)]
    own = {"test": [{"input": "t", "output": ["no"]}], "draws": {"100": [0, 1, 2]}}
    assert check(tmp_path, a_record(**LABELS, examples=rows, **own)) == []
    assert check(tmp_path, a_record(**LABELS, examples=rows)) == ["no example has the label 'no'"]
    assert check(tmp_path, a_record(**LABELS, examples=rows, test=own["test"])) == []


def test_files_that_share_a_name_are_told_after_all_others(tmp_path):
    for file, name in (("a", "x"), ("b", "y"), ("c", "x")):
        put(tmp_path / f"{file}.json", name)
    (tmp_path / "e.json").write_text("[]")
    assert schema.find_problems(tmp_path) == [
        f"{tmp_path / 'e.json'}: a task is a JSON object, found list",
        f"{tmp_path}: more than one file holds a task named 'x'",
    ]


def test_json_that_is_nested_too_deeply_is_one_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" * 200_000)
    assert schema.find_problems(path) == [f"{path}: not valid JSON (nested too deeply)"]


def test_bytes_that_are_no_text_are_told_with_their_place(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"name": "\xff"}')
    assert schema.find_problems(path) == [f"{path}: not UTF-8 text (byte 10); save it as UTF-8"]


def some_task(name, rows, family="", subcategory="x"):
    examples = tuple(Example(f"{name} {i}", (f"answer {i}",)) for i in range(rows))
    return Task(name, "non-cls", subcategory, "exact-match", "", examples, family=family or name)


def test_a_task_needs_rows_for_both_data_seeds():
    """With 50 test rows a small task of K = 16 needs 82 rows for data seed 100.

    And 114 for data seed 21 beside it.
    """
    tasks = [some_task(f"t{rows}", rows) for rows in (81, 82, 113, 114)]
    found = shortfalls(tasks)
    assert list(found) == ["t81", "t82", "t113"]
    assert "data seed 100 needs 16" in found["t81"] and "data seed 21 needs 16" in found["t113"]
    assert list(shortfalls(tasks, shots=7)) == []
    assert list(shortfalls(tasks, shots=8)) == ["t81"]  # 50 + 32 rows


def sha(seed, name):
    return hashlib.sha256(f"files|{seed}|{name}".encode()).hexdigest()


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_a_split_takes_tasks_in_the_order_of_their_hash(seed):
    names = [f"t{i}" for i in range(9)]
    tasks = [some_task(name, 114) for name in names] + [
        some_task("few", 113),
        some_task("a-few", 90),
    ]
    split, skipped = draw_split(tasks, 4, 3, seed)
    order = sorted(names, key=lambda name: sha(seed, name))
    assert (split.seen, split.unseen) == (tuple(order[:4]), tuple(order[4:7]))
    assert split.name == f"files-{seed}" and skipped == ("a-few", "few") and split.out_of_kind == ()


def test_a_familys_tasks_come_together_and_what_is_too_many_is_left():
    seed, families = 3, ["f", "g", "h"]
    tasks = [some_task(f"{family}{i}", 114, family) for family in families for i in range(3)]
    split, _ = draw_split(tasks, 4, 2, seed)
    first, second, third = sorted(families, key=lambda name: sha(seed, name))
    by_hash = lambda family: sorted(
        (f"{family}{i}" for i in range(3)), key=lambda name: sha(seed, name)
    )
    assert split.seen == (*by_hash(first), by_hash(second)[0])
    assert split.unseen == tuple(by_hash(third)[:2])


def dealt(sizes, seen, unseen, seed):
    """Return the families of the seen and of the unseen side."""
    tasks = [
        some_task(f"{family}{i}", 114, family)
        for family, size in sizes.items()
        for i in range(size)
    ]
    split, _ = draw_split(tasks, seen, unseen, seed)
    return tuple("".join(sorted({name[0] for name in side})) for side in (split.seen, split.unseen))


def test_large_families_come_first_where_the_order_of_the_hash_gives_no_split():
    """Four seen and two unseen tasks of families of 4, 1 and 2.

    By hand for each order of their hashes.
    """
    by_order = {"abc": ("a", "bc"), "acb": ("a", "c"), "bac": ("ab", "c")}
    by_order |= dict.fromkeys(("bca", "cab", "cba"), ("a", "c"))
    met = set()
    for seed in range(16):
        order = "".join(sorted("abc", key=lambda name: sha(seed, name)))
        assert dealt({"a": 4, "b": 1, "c": 2}, 4, 2, seed) == by_order[order]
        met.add(order)
    assert len(met) > 4


def test_large_families_first_is_tried_before_small_ones_first():
    """Three and three tasks of families of 3, 1 and 2.

    In two orders of their hashes both others would do.
    """
    by_order = dict.fromkeys(("abc", "acb", "bac", "cab"), ("a", "bc"))
    by_order |= dict.fromkeys(("bca", "cba"), ("bc", "a"))
    met = set()
    for seed in range(16):
        order = "".join(sorted("abc", key=lambda name: sha(seed, name)))
        assert dealt({"a": 3, "b": 1, "c": 2}, 3, 3, seed) == by_order[order]
        met.add(order)
    assert met & {"bac", "cab"}


def test_small_families_come_first_where_nothing_else_gives_a_split():
    for seed in range(6):
        assert dealt({"a": 5, "b": 1}, 1, 5, seed) == ("b", "a")
        assert dealt({"a": 5, "b": 1}, 5, 1, seed) == ("a", "b")


def test_seen_and_unseen_counts_at_their_ends():
    tasks = [some_task(f"t{i}", 114) for i in range(3)]
    split, _ = draw_split(tasks, 3, 0, 0)
    assert len(split.seen) == 3 and split.unseen == ()
    assert len(draw_split(tasks, 1, 2, 0)[0].unseen) == 2
    for seen, unseen in ((0, 1), (1, -1)):
        with pytest.raises(ValueError, match=f"at least 0, found {seen} and {unseen}"):
            draw_split(tasks, seen, unseen, 0)
    with pytest.raises(ValueError, match="3 usable tasks of 3 families cannot give them"):
        draw_split(tasks, 2, 2, 0)


def test_shots_say_which_tasks_are_usable():
    tasks = [some_task("a", 114), some_task("b", 82)]
    assert draw_split(tasks, 1, 1, 0, shots=8)[1] == ()
    assert draw_split(tasks, 1, 0, 0)[1] == ("b",)


def test_a_subcategory_is_new_where_no_seen_task_has_it():
    seen = [some_task("a", 1, subcategory="x"), some_task("b", 1, subcategory="y")]
    unseen = [
        some_task("e", 1, subcategory="z"),
        some_task("c", 1, subcategory="y"),
        some_task("d", 1, subcategory="w"),
    ]
    split = make_split("mine", seen, unseen)
    assert (split.name, split.seen, split.unseen) == ("mine", ("a", "b"), ("e", "c", "d"))
    assert split.new_subcategories == ("e", "d")


def test_pieces_of_text_are_drawn_by_seed(tmp_path):
    """Of a line of 25 words a piece begins at one of the first five.

    Shorter lines are whole, and short ones left out.
    """
    long = " ".join(f"w{i}" for i in range(25))
    (tmp_path / "b.txt.gz").write_bytes(
        gzip.compress(f"  {long}  \ntoo short to be read\n".encode()[:-1])
    )
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a line of more than twenty letters\n"))
    (tmp_path / "c.txt").write_text("not a line of more than twenty letters")
    lines = ["a line of more than twenty letters", long]
    for seed in (0, 1):
        draw, expected = Random(f"text|{seed}"), []
        for _ in range(40):
            words = draw.choice(lines).split()
            at = draw.randrange(5) if len(words) == 25 else draw.randrange(1)
            expected.append(" ".join(words[at : at + 20]))
        assert list(islice(text_lines(tmp_path, seed), 40)) == expected and len(set(expected)) == 6
    with pytest.raises(ValueError, match="a paragraph per line, found none"):
        next(text_lines(tmp_path / "none", 0))
