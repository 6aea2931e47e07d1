"""Builds the embedded suite: recipes of all families in, a Parquet file and a digest per task out.

`python -m ipt.tasks.generators.build` rebuilds every task and compares it with the digests that are
checked in (exit 1 and the list of tasks that differ); with `--write` it writes `suite.parquet` and
`digests.json`. The same recipes, drawn without end, are the pre-training text of the embedded
backbone (`pretraining_stream`). Needs the packages of the extra `suite`.
"""

import argparse
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ipt.data import FEW_TEST_ROWS, TEST_ROWS, Example, Task
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.rules import broken_rules, is_blocked
from ipt.tasks.names import repeated_names

FAMILIES = (
    "morphology",
    "grammar",
    "derivation",
    "spelling",
    "analogy",
    "phonology",
    "strings",
    "numbers",
    "extraction",
    "data2text",
    "reading",
    "dialogue",
    "nli",
    "relation_cls",
    "taxonomy",
    "sentiment",
    "phrases",
    "world",
)
SUITES = Path(__file__).parents[1] / "suites"
SUITE = SUITES / "suite.parquet"
DIGESTS = SUITES / "digests.json"
EXTRA_MISSING = 'needs the extra "suite": pip install "intrinsic-prompt-tuning[suite]"'
# Pre-trained on and not shipped: with their definition the embedded backbone stays below 0.10.
LEFT_OUT = frozenset({"ari_add", "pho_g2p", "str_camel", "str_reverse_words", "str_sort_words"})

ROWS = 240  # of a non-cls task
FEWEST_ROWS = 228  # train and dev of 32 each for two data seeds, and 100 test rows
FEWEST_SMALL_ROWS = 114  # of a knowledge task: 16 each, and 50 test rows
SETS_PER_LABEL = 64  # rows of a label in train and dev of two data seeds, 16 each
SPARE_PER_LABEL = 4  # more than the sets take
MIN_DRAWS = 4000  # after which an input has shown whether it has one answer
MAX_DRAWS = 60000
STALE_DRAWS = 8000  # without a new entity, after which there is none
STEP = 1000  # draws between two checks whether there are rows enough
STREAM_DRAWS = 10000  # for one fresh row of the pre-training text
MOST_NAMED = 5  # problems or labels, in an error

Sample = tuple[tuple[str, ...], str, str, str]


class _Package(NamedTuple):
    """A package of the extra `suite`."""

    pinned: str  # version
    installed: str | None  # version, None where it is missing


class _Build(NamedTuple):
    """All recipes, the tasks built from them, and the problems of those that break a rule."""

    recipes: tuple[Recipe, ...]
    tasks: list[Task]
    problems: list[str]


@dataclass
class _Collection:
    """Rows drawn so far."""

    # The first row of each entity, and every answer that an input was drawn with.
    rows: dict[str, Row] = field(default_factory=dict)
    answers: dict[str, set[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(set))
    drawn: int = 0  # draws, fair or not
    blocked: int = 0  # draws that hold a blocked word
    latest: int = 0  # the draw that brought the latest new entity

    def add(self, row: Row) -> None:
        """Take the row of the current draw."""
        # Also of a row that is not taken: it tells that the input has no one answer.
        self.answers[row.input].add(row.answers)
        if is_blocked(row):
            self.blocked += 1
            return
        key = _example(row).key
        if key not in self.rows:
            self.rows[key] = row
            self.latest = self.drawn

    def clear_rows(self) -> list[Row]:
        """Return the rows whose input was drawn with one answer only."""
        clear = []
        for row in self.rows.values():
            if len(self.answers[row.input]) == 1:
                clear.append(row)
        return clear


def all_recipes() -> tuple[Recipe, ...]:
    """Return the recipes of every family; raise ValueError where the extra `suite` is missing."""
    # Before any is imported: a family may import its package only when it draws.
    for package in _packages().values():
        if package.installed is None:
            raise ValueError(EXTRA_MISSING)
    recipes: list[Recipe] = []
    try:
        for family in FAMILIES:
            module = import_module(f"ipt.tasks.generators.{family}")
            recipes += module.recipes()
    except ImportError as error:
        raise ValueError(f"{EXTRA_MISSING} ({error})") from error

    # The name is also the seed of the draws.
    repeated = repeated_names(recipe.name for recipe in recipes)
    if repeated:
        raise ValueError(f"two recipes have the same name: {', '.join(repeated)}")
    return tuple(recipes)


def build_task(recipe: Recipe) -> Task:
    """Return a task with its shipped rows, drawn with its name as the seed.

    Raises ValueError where a rule is broken.
    """
    rows = _select(recipe, _collect(recipe))
    examples = map(_example, rows)
    task = Task(
        name=recipe.name,
        category=recipe.category,
        subcategory=recipe.subcategory,
        metric=recipe.metric,
        definition=recipe.definitions[0],
        examples=tuple(examples),
        options=recipe.options,
        novel=recipe.novel,
        knowledge=recipe.knowledge,
        source=recipe.source,
        family=recipe.name,
    )
    problems = broken_rules(task, recipe.definitions)
    if problems:
        raise ValueError(f"task {recipe.name}: {'; '.join(problems[:MOST_NAMED])}")
    return task


def _example(row: Row) -> Example:
    return Example(row.input, row.answers, row.entity)


def write_suite(path: Path, tasks: Iterable[Task], recipes: Iterable[Recipe]) -> None:
    """Write one row per task, in the order of their names.

    A row holds the fields of `Task.to_dict()`, all phrasings, and the name of the distribution of
    the inputs.
    """
    recipe_of = {recipe.name: recipe for recipe in recipes}
    # Sorted, so that the file does not depend on the order of the families.
    records = []
    for task in _by_name(tasks):
        recipe = recipe_of[task.name]
        record = task.to_dict()
        record["phrasings"] = list(recipe.definitions)
        record["inputs"] = recipe.inputs
        records.append(record)
    table = pa.Table.from_pylist(records, schema=_suite_schema())
    # Strong compression: written once, and a part of every installed package.
    pq.write_table(table, path, compression="zstd", compression_level=19)


def _by_name(tasks: Iterable[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: task.name)


def _suite_schema() -> Any:
    """Return the columns of suite.parquet."""
    text = pa.string()
    texts = pa.list_(text)
    example = pa.struct([("input", text), ("output", texts), ("entity", text)])
    # Written out and not inferred: the file must not depend on which tasks have options.
    return pa.schema(
        [
            ("name", text),
            ("category", text),
            ("subcategory", text),
            ("metric", text),
            ("definition", text),
            ("source", text),
            ("family", text),
            ("inputs", text),
            ("novel", pa.bool_()),
            ("knowledge", pa.bool_()),
            ("options", texts),
            ("phrasings", texts),
            ("examples", pa.list_(example)),
        ]
    )


def digests(tasks: Iterable[Task]) -> dict[str, dict[str, int | str]]:
    """Return number of rows and digest by the name of the task."""
    table: dict[str, dict[str, int | str]] = {}
    for task in _by_name(tasks):
        table[task.name] = {
            "rows": len(task.examples),
            "digest": task.digest,
        }
    return table


def pretraining_stream(
    recipes: Iterable[Recipe],
    shipped: Iterable[Task],
    seed: int,
) -> Iterator[Sample]:
    """Yield (definitions, input, first answer, task name) without end, uniform over the recipes.

    An input that is shipped for a rule task is never yielded for it; facts of knowledge tasks are
    all shown, and novel tasks never.

    shipped: tasks with their rows.

    Raises ValueError where no recipe is left, or no input of one.
    """
    # A rule can be learned from other inputs; a fact that is never shown cannot be known.
    shipped_inputs: dict[str, set[str]] = {}
    for task in shipped:
        if not task.knowledge:
            shipped_inputs[task.name] = {example.input for example in task.examples}
    shown = []
    for recipe in recipes:
        if not recipe.novel:
            shown.append(recipe)
    if not shown:
        raise ValueError("pre-training needs at least one recipe that is not novel")

    # Every recipe as often, however many rows it ships.
    rng = Random(f"pretraining|{seed}")
    while True:
        index = int(rng.random() * len(shown))
        recipe = shown[index]
        excluded = shipped_inputs.get(recipe.name, set())
        row = fresh_row(recipe, excluded, rng)
        yield recipe.definitions, row.input, row.answers[0], recipe.name


def fresh_row(recipe: Recipe, excluded: Collection[str], rng: Random) -> Row:
    """Return a row whose input is not excluded; raise ValueError after 10,000 draws without one."""
    for _ in range(STREAM_DRAWS):
        row = recipe.draw(rng)
        # A rule with few inputs may have shipped nearly all of them.
        if row is not None and row.input not in excluded:
            return row
    raise ValueError(
        f"task {recipe.name}: no input left to pre-train on beside the {len(excluded)} shipped ones"
    )


def _collect(recipe: Recipe) -> list[Row]:
    """Draw until there are rows enough, nothing new comes, or MAX_DRAWS is reached."""
    # Its own seed, so that a new task leaves the rows of all others as they are.
    rng = Random(f"suite|{recipe.name}")
    collection = _Collection()
    for drawn in range(1, MAX_DRAWS + 1):
        collection.drawn = drawn
        row = recipe.draw(rng)
        if row is not None:
            collection.add(row)

        # An input may get a second answer late, so some draws are made in any case.
        if drawn < MIN_DRAWS or drawn % STEP:
            continue
        is_stale = drawn - collection.latest > STALE_DRAWS
        if is_stale or _is_full(recipe, collection.clear_rows()):
            break

    # A few draws may be unlucky; more, and the words of the recipe are wrong.
    if collection.blocked > collection.drawn / 50:
        raise ValueError(
            f"task {recipe.name}: {collection.blocked} of {collection.drawn} draws "
            "hold a blocked word"
        )
    return collection.clear_rows()


def _is_full(recipe: Recipe, rows: list[Row]) -> bool:
    """Return whether there are as many rows as a task ships, of each label."""
    if recipe.category != "cls":
        return len(rows) >= ROWS
    counts = _label_counts(rows)
    quota = _rows_per_label(recipe, TEST_ROWS) + SPARE_PER_LABEL
    return all(counts[label] >= quota for label in recipe.options or ())


def _label_counts(rows: Iterable[Row]) -> Counter[str]:
    return Counter(row.answers[0] for row in rows)


def _rows_per_label(recipe: Recipe, test_rows: int) -> int:
    """Return how many rows of a label the sets of two data seeds and the test set take."""
    # The test set has its rows in equal parts.
    labels = recipe.options or ("",)
    return SETS_PER_LABEL + math.ceil(test_rows / len(labels))


def _select(recipe: Recipe, rows: list[Row]) -> list[Row]:
    """Return the rows that are shipped; raise ValueError where there are too few."""
    if recipe.category == "cls":
        return _select_labelled(recipe, rows)
    # There are only so many facts: a knowledge task may be small.
    fewest = FEWEST_SMALL_ROWS if recipe.knowledge else FEWEST_ROWS
    if len(rows) < fewest:
        raise ValueError(f"task {recipe.name}: only {len(rows)} entities")
    return rows[:ROWS]


def _select_labelled(recipe: Recipe, rows: list[Row]) -> list[Row]:
    """Return the first rows of each label, equally many; raise ValueError where one has too few."""
    options = recipe.options or ()
    counts = _label_counts(rows)
    outside = sorted(set(counts) - set(options))
    if outside:
        raise ValueError(
            f"task {recipe.name}: labels outside the options: {', '.join(outside[:MOST_NAMED])}"
        )
    # Two draws of 16 and a test set; a fact may be asked of fewer, as a small task is tested on 50.
    least = min(counts[label] for label in options)
    test_rows = FEW_TEST_ROWS if recipe.knowledge else TEST_ROWS
    if least < _rows_per_label(recipe, test_rows):
        raise ValueError(f"task {recipe.name}: too few rows of a label: {dict(counts)}")

    # Equally many, so that a guess is right as often as there are labels.
    quota = min(least, _rows_per_label(recipe, TEST_ROWS) + SPARE_PER_LABEL)
    taken: Counter[str] = Counter()
    selected = []
    for row in rows:
        label = row.answers[0]
        taken[label] += 1
        if taken[label] <= quota:
            selected.append(row)
    return selected


def _packages() -> dict[str, _Package]:
    """Return the packages of the extra `suite` by name."""
    # Pinned: another version of a list of words gives other rows.
    packages = {}
    for requirement in metadata.requires("intrinsic-prompt-tuning") or ():
        pin = re.match(r"([\w.-]+)==([\w.]+)\s*;.*extra == .suite.", requirement)
        if pin:
            name, version = pin.groups()
            packages[name] = _Package(version, _installed_version(name))
    return packages


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _build_all(allow_problems: bool) -> _Build:
    """Build every task; raise the first problem unless problems are allowed."""
    # Tasks and problems are filled below.
    build = _Build(all_recipes(), [], [])
    for recipe in build.recipes:
        # All are tried where problems are allowed, so that one command lists everything.
        if recipe.name in LEFT_OUT:
            continue
        try:
            build.tasks.append(build_task(recipe))
        except ValueError as error:
            if not allow_problems:
                raise
            build.problems.append(str(error))
    return build


def _differing(tasks: list[Task]) -> list[str]:
    """Return the names of tasks whose rebuilt rows differ from the digests that are checked in."""
    expected = json.loads(DIGESTS.read_text(encoding="utf8"))
    built = digests(tasks)
    # A task may be on one side only: a new recipe, or one that was taken out.
    differing = []
    for name in sorted(expected.keys() | built.keys()):
        if expected.get(name) != built.get(name):
            differing.append(name)
    return differing


def _write(build: _Build) -> None:
    """Write the suite and its digests."""
    write_suite(SUITE, build.tasks, build.recipes)
    text = json.dumps(digests(build.tasks), indent=1)
    DIGESTS.write_text(text + "\n", encoding="utf8")

    count = len(build.tasks)
    megabytes = SUITE.stat().st_size / 1e6
    print(f"wrote {count} tasks to {SUITE} ({megabytes:.1f} MB)")


def _compare(tasks: list[Task]) -> int:
    """Print which tasks differ from the digests that are checked in; return the exit code."""
    differing = _differing(tasks)
    for name in differing:
        print(f"differs: {name}")

    # Another version of a package has other words: the first thing to look at.
    if differing:
        for name, package in _packages().items():
            if package.pinned != package.installed:
                message = f"{name} is pinned to {package.pinned}, found {package.installed}"
                print(message, file=sys.stderr)
    print(f"{len(tasks)} tasks rebuilt, {len(differing)} differ")
    return 1 if differing else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild the suite and compare it, or write it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ipt.tasks.generators.build",
        description=main.__doc__,
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write suite.parquet and digests.json, compare nothing",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="with --write: leave out tasks that break a rule",
    )
    options = parser.parse_args(arguments)
    try:
        build = _build_all(allow_problems=options.partial and options.write)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1

    for problem in build.problems:
        print(problem, file=sys.stderr)
    if options.write:
        _write(build)
        return 0
    return _compare(build.tasks)


if __name__ == "__main__":
    sys.exit(main())
