"""Builds the embedded suite: recipes of all families in, one Parquet file and one digest per task out.

`python -m ipt.tasks.generators.build` rebuilds every task and compares it with the digests that are checked in (exit 1 and the
list of tasks that differ); with `--write` it writes `suite.parquet` and `digests.json`. The same recipes, drawn without
end, are the pre-training text of the embedded backbone (`pretraining_stream`). Needs the packages of the extra `suite`.
"""

import argparse
import json
import math
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from ipt.data import FEW_TEST_ROWS, SAME_DATA_SEED, TEST_ROWS, Example, Task
from ipt.fewshot import few_shot
from ipt.tasks.generators.recipe import Recipe, Row

FAMILIES = (
    "morphology", "grammar", "derivation", "spelling", "analogy", "phonology", "strings", "numbers", "extraction", "data2text",
    "reading", "dialogue", "nli", "relation_cls", "taxonomy", "sentiment", "phrases", "world",
)  # fmt: skip
SUITES = Path(__file__).parents[1] / "suites"
SUITE, DIGESTS = SUITES / "suite.parquet", SUITES / "digests.json"
EXTRA_MISSING = 'needs the extra "suite": pip install "intrinsic-prompt-tuning[suite]"'
# Recipes that are pre-trained on and not shipped: the embedded backbone stays below 0.10 on them with their definition.
LEFT_OUT = frozenset({"ari_add", "pho_g2p", "str_camel", "str_reverse_words", "str_sort_words"})

ROWS, FEWEST_ROWS, FEWEST_SMALL_ROWS = 240, 228, 114  # non-cls: aim, least, least of a small knowledge task
SETS_PER_LABEL, SPARE_PER_LABEL = 64, 4  # cls: train and dev of two data seeds, 16 each; spare rows
MIN_DRAWS, MAX_DRAWS, STALE_DRAWS, STEP = 4000, 60000, 8000, 1000
LONGEST_INPUT, LONGEST_ANSWER = 160, 100  # characters
ODD_SPACES = re.compile(r"[^\S ]|^ | $|  |[\u200b\ufeff]")
DIFF_DATA_SEED = 21

Sample = tuple[tuple[str, ...], str, str, str]


def all_recipes() -> tuple[Recipe, ...]:
    """Return the recipes of every family; raise one ValueError where a package of the extra `suite` is missing."""
    if any(installed is None for _, installed in _sources().values()):
        raise ValueError(EXTRA_MISSING)
    try:
        recipes = [recipe for family in FAMILIES for recipe in import_module(f"ipt.tasks.generators.{family}").recipes()]
    except ImportError as error:
        raise ValueError(f"{EXTRA_MISSING} ({error})") from error
    twice = [name for name, count in Counter(r.name for r in recipes).items() if count > 1]
    if twice:
        raise ValueError(f"two recipes have the same name: {', '.join(twice)}")
    return tuple(recipes)


def build_task(recipe: Recipe) -> Task:
    """Draw the shipped rows of a task, one per entity, seeded with its name; raise ValueError on a broken rule."""
    rows = _select(recipe, _collect(recipe))
    examples = tuple(Example(row.input, row.answers, row.entity) for row in rows)
    task = Task(
        name=recipe.name, category=recipe.category, subcategory=recipe.subcategory, metric=recipe.metric,
        definition=recipe.definitions[0], examples=examples, options=recipe.options, novel=recipe.novel,
        knowledge=recipe.knowledge, source=recipe.source, family=recipe.name,
    )  # fmt: skip
    problems = broken_rules(task, recipe.definitions)
    if problems:
        raise ValueError(f"task {recipe.name}: {'; '.join(problems[:5])}")
    return task


def broken_rules(task: Task, phrasings: Sequence[str]) -> list[str]:
    """Return what is wrong with the rows of a built task, one sentence per kind of problem and its first example."""
    problems = _wrong_labels(task) + _wrong_texts(task)
    forbidden = set().union(*map(four_grams, (task.definition, *phrasings)))
    shared = [e.input for e in task.examples if four_grams(e.input) & forbidden]
    if shared:
        problems.append(f"{len(shared)} inputs share four words with a definition: {shared[0]!r}")
    if len({e.key for e in task.examples}) < len(task.examples):
        problems.append("two rows have the same entity")
    if not phrasings or len(set(phrasings)) < 3:
        problems.append(f"needs at least 3 phrasings of its definition, found {len(set(phrasings))}")
    for seed in (SAME_DATA_SEED, DIFF_DATA_SEED):
        try:
            few_shot(task, seed)
        except ValueError as error:
            problems.append(str(error))
    return problems


def four_grams(text: str) -> set[tuple[str, ...]]:
    """Return the runs of four words, case and punctuation ignored."""
    found = re.findall(r"\w+", text.casefold())
    return {tuple(found[i : i + 4]) for i in range(len(found) - 3)}


def write_suite(path: Path, tasks: Iterable[Task], recipes: Iterable[Recipe]) -> None:
    """Write one row per task: the fields of `Task.to_dict()`, all phrasings, and the name of the input distribution."""
    by_name = {recipe.name: recipe for recipe in recipes}
    records = [
        task.to_dict() | {"phrasings": list(by_name[task.name].definitions), "inputs": by_name[task.name].inputs}
        for task in sorted(tasks, key=lambda t: t.name)
    ]
    text, texts = pa.string(), pa.list_(pa.string())
    example = pa.struct([("input", text), ("output", texts), ("entity", text)])
    plain = ("name", "category", "subcategory", "metric", "definition", "source", "family", "inputs")
    schema = pa.schema(
        [(name, text) for name in plain]
        + [("novel", pa.bool_()), ("knowledge", pa.bool_()), ("options", texts), ("phrasings", texts)]
        + [("examples", pa.list_(example))]
    )
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path, compression="zstd", compression_level=19)


def digests(tasks: Iterable[Task]) -> dict[str, dict[str, int | str]]:
    """Return rows and digest per task name."""
    return {t.name: {"rows": len(t.examples), "digest": t.digest} for t in sorted(tasks, key=lambda t: t.name)}


def pretraining_stream(recipes: Iterable[Recipe], shipped: Iterable[Task], seed: int) -> Iterator[Sample]:
    """Yield (definitions, input, first answer, task name) without end, uniform over the recipes that are not novel.

    An input that is shipped for a rule task is never yielded for it; facts of knowledge tasks are all shown.
    """
    held = {task.name: frozenset(e.input for e in task.examples) for task in shipped if not task.knowledge}
    known = [(recipe, held.get(recipe.name, frozenset())) for recipe in recipes if not recipe.novel]
    if not known:
        raise ValueError("pre-training needs at least one recipe that is not novel")
    rng = Random(f"pretraining|{seed}")
    while True:
        recipe, kept_out = known[int(rng.random() * len(known))]
        row = fresh_row(recipe, kept_out, rng)
        yield recipe.definitions, row.input, row.answers[0], recipe.name


def fresh_row(recipe: Recipe, kept_out: Collection[str], rng: Random) -> Row:
    """Draw until a row comes whose input is not kept out; raise ValueError where none comes in 10,000 draws."""
    for _ in range(10000):
        row = recipe.draw(rng)
        if row is not None and row.input not in kept_out:
            return row
    raise ValueError(f"task {recipe.name}: no input left to pre-train on beside the {len(kept_out)} shipped ones")


def _collect(recipe: Recipe) -> list[Row]:
    """Draw until the quotas are full, nothing new comes or MAX_DRAWS is reached; keep the first row of each entity."""
    rng = Random(f"suite|{recipe.name}")
    answers: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    rows: dict[str, Row] = {}
    dropped = drawn = 0
    latest = 0  # the draw that brought the latest new entity
    for drawn in range(1, MAX_DRAWS + 1):
        row = recipe.draw(rng)
        if row is not None:
            answers[row.input].add(row.answers)
            if _is_blocked(row):
                dropped += 1
            elif (key := Example(row.input, row.answers, row.entity).key) not in rows:
                rows[key], latest = row, drawn
        is_stale = drawn - latest > STALE_DRAWS
        if drawn >= MIN_DRAWS and drawn % STEP == 0 and (is_stale or _is_full(recipe, _clear(rows, answers))):
            break
    if dropped > drawn / 50:
        raise ValueError(f"task {recipe.name}: {dropped} of {drawn} draws hold a blocked word")
    return _clear(rows, answers)


def _clear(rows: dict[str, Row], answers: dict[str, set[tuple[str, ...]]]) -> list[Row]:
    """Return the rows whose input was drawn with one answer only."""
    return [row for row in rows.values() if len(answers[row.input]) == 1]


def _is_full(recipe: Recipe, rows: list[Row]) -> bool:
    if recipe.category != "cls":
        return len(rows) >= ROWS
    counts = Counter(row.answers[0] for row in rows)
    return all(counts[label] >= _per_label(recipe, TEST_ROWS) + SPARE_PER_LABEL for label in recipe.options or ())


def _per_label(recipe: Recipe, test_rows: int) -> int:
    return SETS_PER_LABEL + math.ceil(test_rows / len(recipe.options or ("",)))


def _select(recipe: Recipe, rows: list[Row]) -> list[Row]:
    """Take the first rows, equally many per label; raise ValueError where there are too few."""
    if recipe.category != "cls":
        if len(rows) < (FEWEST_SMALL_ROWS if recipe.knowledge else FEWEST_ROWS):
            raise ValueError(f"task {recipe.name}: only {len(rows)} entities")
        return rows[:ROWS]
    counts = Counter(row.answers[0] for row in rows)
    outside = sorted(set(counts) - set(recipe.options or ()))
    if outside:
        raise ValueError(f"task {recipe.name}: labels outside the options: {', '.join(outside[:5])}")
    least = min(counts[label] for label in recipe.options or ())
    if least < _per_label(recipe, FEW_TEST_ROWS if recipe.knowledge else TEST_ROWS):
        raise ValueError(f"task {recipe.name}: too few rows of a label: {dict(counts)}")
    quota = min(least, _per_label(recipe, TEST_ROWS) + SPARE_PER_LABEL)
    taken: Counter[str] = Counter()
    kept = []
    for row in rows:
        taken[row.answers[0]] += 1
        if taken[row.answers[0]] <= quota:
            kept.append(row)
    return kept


def _wrong_labels(task: Task) -> list[str]:
    options = task.options or ()
    if task.category != "cls":
        return ["a non-cls task has no options"] if options else []
    fair = 2 <= len(set(options)) == len(options) <= 8
    problems = [] if fair else [f"needs 2 to 8 different options, found {list(options)}"]
    wrong = [e for e in task.examples if len(e.output) != 1 or e.output[0] not in options]
    return problems + ([f"{len(wrong)} rows without exactly one label: {wrong[0]}"] if wrong else [])


def _wrong_texts(task: Task) -> list[str]:
    problems = []
    tests = (
        ("has odd spaces", lambda text: not text or ODD_SPACES.search(text)),
        ("is not NFC", lambda text: not unicodedata.is_normalized("NFC", text)),
    )
    for example in task.examples:
        texts = (example.input, *example.output)
        problems += [f"{what}: {text!r}" for what, fails in tests for text in texts if fails(text)]
        if len(example.input) > LONGEST_INPUT or len(example.output[0]) > LONGEST_ANSWER:
            problems.append(f"too long: {example.input!r} -> {example.output[0]!r}")
    return problems


def _is_blocked(row: Row) -> bool:
    from ipt.tasks.generators.words import blocked  # late: it reads a package of the extra

    return not blocked().isdisjoint(re.findall(r"[^\W\d_]+", " ".join((row.input, *row.answers)).casefold()))


def _sources() -> dict[str, tuple[str, str | None]]:
    """Return, per package of the extra `suite`, the pinned version and the one installed (None where it is missing)."""
    needs = metadata.requires("intrinsic-prompt-tuning") or ()
    pins = [re.match(r"([\w.-]+)==([\w.]+)\s*;.*extra == .suite.", line) for line in needs]
    return {pin[1]: (pin[2], _version(pin[1])) for pin in pins if pin}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _build_all(partial: bool) -> tuple[list[Task], list[str], tuple[Recipe, ...]]:
    """Build every task; problems are collected where `partial`, else the first is raised."""
    recipes = all_recipes()
    tasks, problems = [], []
    for recipe in recipes:
        if recipe.name in LEFT_OUT:
            continue
        try:
            tasks.append(build_task(recipe))
        except ValueError as error:
            if not partial:
                raise
            problems.append(str(error))
    return tasks, problems, recipes


def _compare(tasks: list[Task]) -> list[str]:
    """Return the names of tasks whose rebuilt rows differ from the digests that are checked in."""
    kept, built = json.loads(DIGESTS.read_text(encoding="utf8")), digests(tasks)
    return sorted(name for name in kept.keys() | built.keys() if kept.get(name) != built.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Rebuild the suite and compare it, or write it; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ipt.tasks.generators.build", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write suite.parquet and digests.json, compare nothing")
    parser.add_argument("--partial", action="store_true", help="with --write: leave out tasks that break a rule")
    chosen = parser.parse_args(arguments)
    try:
        tasks, problems, recipes = _build_all(chosen.partial and chosen.write)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for line in problems:
        print(line, file=sys.stderr)
    if chosen.write:
        write_suite(SUITE, tasks, recipes)
        DIGESTS.write_text(json.dumps(digests(tasks), indent=1) + "\n", encoding="utf8")
        print(f"wrote {len(tasks)} tasks to {SUITE} ({SUITE.stat().st_size / 1e6:.1f} MB)")
        return 0
    differing = _compare(tasks)
    for name in differing:
        print(f"differs: {name}")
    for package, (pinned, installed) in _sources().items() if differing else ():
        if pinned != installed:
            print(f"{package} is pinned to {pinned}, found {installed}", file=sys.stderr)
    print(f"{len(tasks)} tasks rebuilt, {len(differing)} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
