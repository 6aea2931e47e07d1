"""The embedded suite: size, rules, one test set per task, splits.

And inputs that do not betray the task.
"""

import json
import math
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.naive_bayes import MultinomialNB

from ipt.data import METRICS, Example, Task
from ipt.fewshot import few_shot
from ipt.tasks.generators import build, make_splits
from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.rules import broken_rules
from ipt.tasks.suites import embedded

TASKS = embedded.load()
BY_NAME = {task.name: task for task in TASKS}
NEAR_CHANCE = 0.6
CHEAP = ("morph_plural", "ari_smaller", "fmt_date_iso")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@cache
def needs_extra() -> None:
    """Skip where a package of the extra is missing."""
    try:
        build.all_recipes()
    except ValueError as error:
        pytest.skip(str(error))


def overlaps(parts: dict[str, tuple[Example, ...]]) -> list[str]:
    """Return the pairs of sets that share a row or an entity."""
    keys = {name: {e.key for e in rows} | {e.input for e in rows} for name, rows in parts.items()}
    return [f"{a}, {b}" for a in keys for b in keys if a < b and keys[a] & keys[b]]


def all_sets(task: Task) -> dict[str, tuple[Example, ...]]:
    same, diff = few_shot(task, 100), few_shot(task, 21)
    assert same.test == diff.test
    return {
        "test": same.test,
        "train": same.train,
        "dev": same.dev,
        "diff train": diff.train,
        "diff dev": diff.dev,
    }


def test_size_of_the_suite():
    kinds = Counter(t.category for t in TASKS)
    assert len(TASKS) >= 160 and kinds["cls"] >= 65 and kinds["non-cls"] >= 85
    assert len({t.subcategory for t in TASKS}) >= 30
    assert sum(t.novel for t in TASKS) >= 30
    assert {t.metric for t in TASKS} <= set(METRICS)


def test_every_task_keeps_the_rules_of_its_rows():
    broken = {t.name: broken_rules(t, embedded.phrasings(t.name)) for t in TASKS}
    assert not {name: problems for name, problems in broken.items() if problems}


def test_labels_are_in_equal_parts():
    for task in TASKS:
        if task.category == "cls":
            counts = Counter(e.output[0] for e in task.examples)
            test_size = 50 if task.is_small else 100
            assert set(counts) == set(task.options) and len(set(counts.values())) == 1, task.name
            assert min(counts.values()) >= 64 + math.ceil(test_size / len(task.options)), task.name
            in_test = Counter(e.output[0] for e in few_shot(task, 100).test)
            assert max(in_test.values()) - min(in_test.values()) <= 1, task.name


def test_no_answer_is_given_to_two_thirds_of_the_rows():
    """Of the tasks without labels, at most two are nearly solved by one answer."""
    most = {
        t.name: Counter(e.output[0] for e in t.examples).most_common(1)[0][1] / len(t.examples)
        for t in TASKS
    }
    assert (
        len([n for n, share in most.items() if share > 0.67 and BY_NAME[n].category == "non-cls"])
        <= 2
    )


def test_one_test_set_and_disjoint_draws_for_every_task():
    for task in TASKS:
        sets = all_sets(task)
        assert not overlaps(sets), task.name
        assert len(sets["test"]) == (50 if task.is_small else 100), task.name
        shots = task.default_shots * (len(task.options) if task.options else 1)
        assert {len(rows) for part, rows in sets.items() if part != "test"} == {shots}, task.name


def test_control_draws_by_row_overlap():
    """The check can fail: sets drawn at random by row do share rows."""
    task = BY_NAME["morph_plural"]
    rows = list(task.examples)
    drawn = {str(seed): tuple(Random(seed).sample(rows, 64)) for seed in range(3)}
    assert overlaps(drawn)
    entity = rows[0].entity or "e"
    assert overlaps({"a": (Example("x", ("y",), entity),), "b": (Example("z", ("y",), entity),)})


def test_control_four_words_of_a_definition_are_found():
    task = BY_NAME["morph_plural"]
    told = Example("Please write the plural of the noun: cat", ("cats",))
    changed = replace(task, examples=(*task.examples, told))
    problems = broken_rules(changed, ["write the plural of it"])
    assert any("share four words" in problem for problem in problems)


def separability(one: list[str], other: list[str]) -> float:
    """Return how often naive Bayes over character 1-3-grams tells the two apart.

    On inputs that it has not seen.
    """
    labels = np.array([0] * len(one) + [1] * len(other))
    counts = HashingVectorizer(
        analyzer="char_wb", ngram_range=(1, 3), n_features=2**14, alternate_sign=False, norm=None
    )
    folds = GroupKFold(2)  # an input that both tasks have stays in one fold
    texts = one + other
    guessed = cross_val_predict(
        MultinomialNB(), counts.transform(texts), labels, groups=texts, cv=folds
    )
    return float((guessed == labels).mean())


def some_inputs(task: Task) -> list[str]:
    return [e.input for e in task.examples][:240]


def want_other_answers(one: Task, other: Task) -> bool:
    """Say whether the two differ in most answers to the inputs that both have."""
    answers = {e.input: e.output[0] for e in one.examples}
    both = [(answers[e.input], e.output[0]) for e in other.examples if e.input in answers]
    return one.definition != other.definition and sum(a == b for a, b in both) <= len(both) / 2


def test_inputs_do_not_betray_the_task():
    """For most tasks another one has other answers to inputs that look the same to a classifier."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in TASKS:
        groups[embedded.inputs(task.name)].append(task)
    pairs = [
        pair
        for group in groups.values()
        if len(group) > 1
        for pair in zip(group, group[1:] + group[:1], strict=True)
    ]
    hidden: set[str] = set()
    for one, other in pairs[:120]:
        if (
            want_other_answers(one, other)
            and separability(some_inputs(one), some_inputs(other)) < NEAR_CHANCE
        ):
            hidden |= {one.name, other.name}
    assert len(hidden) >= 80


def test_control_other_inputs_are_told_apart():
    nouns, dates, words = (
        some_inputs(BY_NAME[name]) for name in ("morph_plural", "fmt_date_iso", "str_upper")
    )
    assert separability(nouns, dates) > 0.95
    assert separability(nouns, [w[::-1] for w in words]) > NEAR_CHANCE + 0.1


SIZES = {"random-100": (100, 20, 0), "cls-35": (35, 13, 72), "non-cls-35": (35, 37, 48)}
SIZES |= {f"random-{n}": (n, 20, 0) for n in (20, 40, 60, 80)}
SIZES |= {f"validation-{n}": (n, 20, 0) for n in (40, 80)}
FOLDS = {"fold-1": 50, "fold-2": 52, "fold-3": 50, "fold-4": 49, "fold-5": 49}
SIZES |= {name: (250 - count, count, 0) for name, count in FOLDS.items()}
SIZES |= {"locked-20": (250, 20, 0)}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_a_split(name):
    split = embedded.load_split(name)
    assert (len(split.seen), len(split.unseen), len(split.out_of_kind)) == SIZES[name]
    assert len(set(split.all)) == len(split.all) and set(split.all) <= set(embedded.task_names())
    known = {BY_NAME[n].subcategory for n in split.seen}
    assert set(split.new_subcategories) == {
        n for n in split.unseen if BY_NAME[n].subcategory not in known
    }


def test_splits_cover_the_same_120_tasks():
    everything = set(embedded.load_split("random-100").all)
    assert Counter(BY_NAME[n].category for n in everything) == {"cls": 48, "non-cls": 72}
    assert set(embedded.split_names()) == set(SIZES)
    for kind in ("cls", "non-cls"):
        split = embedded.load_split(f"{kind}-35")
        assert set(split.all) == everything
        assert {BY_NAME[n].category for n in split.seen + split.unseen} == {kind}
        assert kind not in {BY_NAME[n].category for n in split.out_of_kind}


def test_validation_splits_touch_no_unseen_task():
    full = embedded.load_split("random-100")
    for n in (40, 80):
        split = embedded.load_split(f"validation-{n}")
        assert (
            split.seen == full.seen[:n]
            and split.unseen == full.seen[80:]
            and not set(split.all) & set(full.unseen)
        )


def test_each_task_outside_the_locked_ones_is_unseen_in_one_fold():
    locked = embedded.load_split("locked-20")
    assert locked.unseen == embedded.load_split("random-100").unseen
    unseen = []
    for name in FOLDS:
        fold = embedded.load_split(name)
        # Whole subcategories: no unseen task has a seen relative.
        assert fold.new_subcategories == fold.unseen
        assert not set(fold.all) & set(locked.unseen)
        unseen += fold.unseen
        # About a fifth of each stratum and kind.
        novel = sum(BY_NAME[n].novel for n in fold.unseen)
        cls = sum(BY_NAME[n].category == "cls" for n in fold.unseen)
        assert abs(novel - 38 / 5) < 3 and abs(cls - 74 / 5) < 3
    assert sorted(unseen) == sorted(locked.seen)


def test_random_splits_are_nested_and_hold_novel_tasks():
    full = embedded.load_split("random-100")
    for n in (20, 40, 60, 80):
        assert (
            embedded.load_split(f"random-{n}").seen == full.seen[:n]
            and embedded.load_split(f"random-{n}").unseen == full.unseen
        )
    assert (
        sum(BY_NAME[n].novel for n in full.seen) >= 15
        and sum(BY_NAME[n].novel for n in full.unseen) >= 8
    )
    assert len(full.new_subcategories) == 6
    spread = [BY_NAME[n].subcategory for n in full.unseen if n not in full.new_subcategories]
    assert len(set(spread)) == len(spread) == 14


def test_splits_are_the_ones_the_script_draws():
    assert make_splits.draw(TASKS) == json.loads(make_splits.SPLITS.read_text(encoding="utf8"))
    assert make_splits.draw(TASKS[::-1]) == make_splits.draw(TASKS)


def test_unknown_names_are_answered_with_close_ones():
    with pytest.raises(
        ValueError, match="unknown task split 'random-10'; did you mean random-100.*cls-35"
    ):
        embedded.load_split("random-10")
    with pytest.raises(ValueError, match="unknown task 'morph_plurl'; did you mean morph_plural"):
        embedded.load(["morph_plurl"])


def test_digests_are_those_of_the_shipped_rows():
    assert build.digests(TASKS) == json.loads(build.DIGESTS.read_text(encoding="utf8"))


@pytest.mark.parametrize("name", CHEAP)
def test_a_rebuilt_task_is_identical(name):
    needs_extra()
    recipe = next(r for r in build.all_recipes() if r.name == name)
    assert build.build_task(recipe).digest == BY_NAME[name].digest
    assert recipe.definitions == embedded.phrasings(name) and recipe.inputs == embedded.inputs(name)


def test_every_family_is_listed():
    found = {
        p.stem
        for p in Path(build.__file__).parent.glob("*.py")
        if "\ndef recipes() ->" in p.read_text("utf8")
    }
    assert found == set(build.FAMILIES)


def a_word(rng: Random) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(4))


def a_recipe(name: str = "fake", **change) -> Recipe:
    fields = {
        "category": "non-cls",
        "subcategory": "fake",
        "metric": "exact-match",
        "inputs": "fake",
        "source": "fake",
        "definitions": ("Write it in capitals.", "Shout the word.", "word in capitals"),
        "draw": over(a_word, lambda w: w, lambda w: w.upper()),
    }
    return Recipe(name, **fields | change)


def early(word: str) -> str:
    return "yes" if word[0] < "f" else "no"


def test_a_task_is_built_the_same_twice_and_with_equal_labels():
    needs_extra()
    assert build.build_task(a_recipe()).digest == build.build_task(a_recipe()).digest
    labels = {"category": "cls", "metric": "accuracy", "options": ("yes", "no")}
    task = build.build_task(a_recipe(**labels, draw=over(a_word, lambda w: w, early)))
    assert Counter(e.output[0] for e in task.examples) == {"yes": 118, "no": 118}


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            over(a_word, lambda w: w[:1], lambda w: w),
            "only 0 entities",
        ),  # two answers for every input
        (over(a_word, lambda w: w, lambda w: w, lambda w: w[:1]), "only 26 entities"),
        (
            over(a_word, lambda w: f"write it in capitals: {w}", lambda w: w),
            "share four words with a definition",
        ),
        (over(a_word, lambda w: f" {w}", lambda w: w), "has odd spaces"),
        (over(a_word, lambda w: w, lambda w: w + "e\u0301"), "is not NFC"),
        (over(a_word, lambda w: w * 50, lambda w: w), "too long"),
        (over(a_word, lambda w: f"{w} is a bitch", lambda w: w), "hold a blocked word"),
    ],
)
def test_a_broken_rule_names_the_task(draw, message):
    needs_extra()
    with pytest.raises(ValueError, match=f"task fake: .*{message}"):
        build.build_task(a_recipe(draw=draw))


def test_pretraining_never_shows_shipped_inputs_or_novel_tasks():
    short = over(lambda rng: a_word(rng)[:2], lambda w: w, lambda w: w.upper())
    recipes = [
        a_recipe("rule", draw=short),
        a_recipe("fact", draw=short, knowledge=True),
        a_recipe("new", novel=True),
    ]
    held = tuple(Example(a + b, ((a + b).upper(),)) for a in LETTERS[:13] for b in LETTERS)
    shipped = [
        Task(r.name, "non-cls", "fake", "exact-match", "", held, knowledge=r.knowledge)
        for r in recipes
    ]
    rows = list(islice(build.pretraining_stream(recipes, shipped, 0), 4000))
    assert rows == list(islice(build.pretraining_stream(recipes, shipped, 0), 4000))
    shown = {
        name: {text for _, text, _, task in rows if task == name}
        for name in ("rule", "fact", "new")
    }
    forbidden = {e.input for e in held}
    assert (
        shown["rule"]
        and not shown["rule"] & forbidden
        and shown["fact"] & forbidden
        and not shown["new"]
    )
    assert 0.4 < sum(task == "rule" for *_, task in rows) / len(rows) < 0.6
    assert all(answer == text.upper() for _, text, answer, _ in rows)


def test_pretraining_stops_where_nothing_is_left():
    recipe = a_recipe(draw=lambda rng: Row("only", ("ONLY",)))
    shipped = [Task("fake", "non-cls", "fake", "exact-match", "", (Example("only", ("ONLY",)),))]
    with pytest.raises(
        ValueError, match="task fake: no input left to pre-train on beside the 1 shipped ones"
    ):
        next(build.pretraining_stream([recipe], shipped, 0))


def test_a_missing_package_of_the_extra_is_one_error(monkeypatch):
    monkeypatch.setattr(build, "_packages", lambda: {"babel": build._Package("2.18.0", None)})
    with pytest.raises(
        ValueError, match=r'needs the extra "suite": pip install "intrinsic-prompt-tuning\[suite\]"'
    ):
        build.all_recipes()
    assert build.main([]) == 1


def test_a_written_suite_is_the_same_file_twice(tmp_path):
    recipes = [a_recipe(name) for name in ("b", "a")]
    rows = tuple(Example(f"{i}", (f"{i}",)) for i in range(9))
    tasks = [
        Task(r.name, "non-cls", "fake", "exact-match", r.definitions[0], rows, family=r.name)
        for r in recipes
    ]
    for name, order in (("one", tasks), ("two", tasks[::-1])):
        build.write_suite(tmp_path / name, order, recipes)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
