"""Drawn task files, settings, run folders and lines: one line and exit code 2, or right.

Right is what the file says as another reader takes it, what a settings file writes as the value in
effect, what an undamaged run gives. A fault of the program fails with its own trace (conftest.py).
`make fuzz` draws many; see `fuzzing` for what is drawn.
"""

import csv
import io
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import yaml
from conftest import ist_words
from fuzzing import (
    LONGEST_LINE,
    Ended,
    accepted,
    changed,
    csv_cells,
    encoded,
    explore,
    ipt,
    json_text,
    json_values,
    odd_values,
    plain,
    spliced,
    text_of,
    texts,
)
from hypothesis import strategies as st
from torture import scores_in

from ipt.cli import app as cli
from ipt.config import IstConfig, MsfConfig, TuneConfig, WorkConfig
from ipt.run import Run
from ipt.tasks.catalog import select_tasks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, in which commands run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exported(name: str, content: bytes):
    """Return the record of the task that a file holds, by `ipt tasks write`; None where refused.

    `ipt tasks check` must say the same.
    """
    shutil.rmtree("to", ignore_errors=True)
    Path(name).write_bytes(content)
    done = accepted(ipt("tasks", "write", name, "--to", "to"))
    assert accepted(ipt("tasks", "check", name)) == done
    if not done:
        return None
    (path,) = Path("to").iterdir()
    return json.loads(path.read_text(encoding="utf8"))


def rows_of(examples):
    return [(row["input"], row["output"], row["entity"]) for row in examples]


# --- task files in JSON

filled = texts.filter(str.strip)


@st.composite
def task_records(draw):
    """Draw a task that is right."""
    is_cls = draw(st.booleans())
    options = draw(st.lists(filled, min_size=1, max_size=3, unique=True)) if is_cls else None
    examples = []
    for number in range(draw(st.integers(len(options or "x"), 5))):
        output = draw(st.lists(filled, min_size=1, max_size=3))
        if options:
            output = [options[number % len(options)]]
        # Another number: the same input with two labels would be a contradiction.
        row = {"input": f"{number} {draw(texts)}", "output": output}
        examples.append(row | {"entity": draw(texts)})
    more = {}
    if draw(st.booleans()):
        order = draw(st.permutations(range(len(examples))))
        more = {"test": examples[:2], "draws": {"100": order, "21": order[:1]}}
    return more | {
        "name": draw(st.sampled_from(["toy", "a.b", "x" * 100, "ß_1"])),
        "category": "cls" if is_cls else "non-cls",
        "subcategory": draw(texts),
        "metric": "accuracy" if is_cls else "exact-match",
        "definition": draw(texts),
        "novel": draw(st.booleans()),
        "options": options,
        "examples": examples,
    }


@st.composite
def task_files(draw):
    """Draw bytes of a task file, and whether they are a task that is right."""
    record = draw(task_records())
    deed = draw(st.sampled_from(["none", "value", "value", "bytes"]))
    if deed == "value":
        return encoded(draw(json_text(draw(changed(record))))), False
    content = json.dumps(record, ensure_ascii=draw(st.booleans())).encode()
    return (draw(spliced(content)), False) if deed == "bytes" else (content, True)


def check_task_file(case):
    content, is_right = case
    record = exported("task.json", content)
    if record is None:
        assert not is_right
        return
    (said,) = json_values(text_of(content))
    for name in ("name", "category", "metric"):
        assert record[name] == said[name]
    for name in ("subcategory", "definition", "source"):
        assert record[name] == ("" if said.get(name) is None else said[name])
    for name in ("novel", "knowledge"):
        # What is neither true nor false, such as "no", must not be taken for either.
        assert said.get(name) in (None, True, False) and record[name] is bool(said.get(name))
    assert record["family"] == (said.get("family") or said["name"])
    assert record["options"] == (said.get("options") or None)
    assert rows_of(record["examples"]) == said_rows(said["examples"])
    assert rows_of(record.get("test", [])) == said_rows(said.get("test") or [])
    assert record.get("draws", {}) == (said.get("draws") or {})


def said_rows(examples):
    rows = []
    for row in examples:
        output = [row["output"]] if isinstance(row["output"], str) else row["output"]
        rows.append((row["input"], output, text_value(row.get("entity"))))
    return rows


def test_task_files(folder):
    explore(task_files(), check_task_file, 60)


# --- tables


def text_value(value):
    """Return the text of a table's value; raise ValueError for what has none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no text")
    return str(value)


def expected_rows(table):
    """Return the rows of a bare table, each a dict; raise ValueError where one is none."""
    if not table:
        raise ValueError("no rows")
    rows = []
    for row in table:
        if not isinstance(row, dict):
            raise ValueError("no object")
        output = row["output"] if isinstance(row.get("output"), list) else [row.get("output")]
        answers = [text_value(answer) for answer in output if answer is not None]
        text = text_value(row.get("input"))
        if not answers or not all(answer.strip() for answer in answers) or not text.strip():
            raise ValueError("nothing there")
        rows.append((text, answers, text_value(row.get("entity"))))
    for row in rows:
        json.dumps(row, ensure_ascii=False).encode()  # half a sign is no text
    if not all(any(name in row for row in table) for name in ("input", "output")):
        raise ValueError("no column")
    return rows


def check_table(name, content, read):
    """Compare what the command reads with `read`: the rows, or ValueError."""
    record = exported(name, content)
    try:
        expected = read(text_of(content))
    except ValueError:
        expected = None
    found = None if record is None else rows_of(record["examples"])
    assert found == expected


def json_table(text):
    values = json_values(text)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return expected_rows(values)


@st.composite
def tables(draw, value=plain):
    """Draw rows of a table."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        answers = filled | st.lists(filled, min_size=1, max_size=3) | value
        row = {"input": draw(filled | value), "output": draw(answers)}
        if draw(st.booleans()):
            row["entity"] = draw(value)
        if draw(st.booleans()):
            row["more"] = draw(odd_values)
        rows.append(row)
    return rows


@st.composite
def json_tables(draw):
    rows = draw(tables(texts))
    if draw(st.booleans()):
        rows = draw(changed(rows))
    if draw(st.booleans()):
        lines = [draw(json_text(row)).replace("\n", " ") for row in rows]
        text = draw(st.sampled_from(["\n", "\r\n", "\n\n", " "])).join(lines)
    else:
        text = draw(json_text(rows))
    return draw(spliced(encoded(text), most=1))


def test_json_tables(folder):
    def check(content):
        check_table("rows.jsonl", content, json_table)

    explore(json_tables(), check, 60)


def csv_table(text, separator):
    lines = [line for line in csv_cells(text, separator) if line != [""] or '"' in text]
    # A line with nothing in it is no row; one with an empty pair of quotes is.
    if not lines:
        raise ValueError("empty")
    names = [name or f"Unnamed: {i}" for i, name in enumerate(lines[0])]
    if len(set(names)) < len(names):
        raise ValueError("twice")
    rows = []
    for cells in lines[1:]:
        if len(cells) > len(names):
            raise ValueError("more cells than names")
        if separator == "\t" and any(re.search("\t.*[\n\r]|[\n\r].*\t", c, re.S) for c in cells):
            raise ValueError("a quotation mark that was none")
        cells = [cell or None for cell in cells] + [None] * (len(names) - len(cells))
        rows.append(dict(zip(names, cells, strict=True)))
    return expected_rows(rows)


@st.composite
def csv_tables(draw):
    """Draw a name and bytes of a CSV as several programs write it."""
    name, separator = draw(st.sampled_from([("rows.csv", ","), ("rows.tsv", "\t")]))
    columns = draw(st.permutations(["input", "output", "entity", "more"]))
    columns = columns[: draw(st.integers(2, 4))]
    if draw(st.integers(0, 9)):
        columns = list(dict.fromkeys([*columns, "input", "output"]))
    file = io.StringIO(newline="")
    writer = csv.writer(
        file,
        delimiter=separator,
        lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        quoting=draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])),
    )
    writer.writerow(columns)
    for _ in range(draw(st.integers(0, 4))):
        cell = st.one_of(filled, filled, filled, texts)
        writer.writerow(draw(st.lists(cell, min_size=len(columns), max_size=len(columns))))
    return name, separator, draw(spliced(file.getvalue().encode(), most=2))


def check_csv(case):
    name, separator, content = case
    check_table(name, content, lambda text: csv_table(text, separator))


def test_csv_tables(folder):
    explore(csv_tables(), check_csv, 80)


# --- task files in YAML, with templates

COLUMNS = ("a", "b", "n", "gap", "many", "pick")


def refusal(row):
    raise ValueError("it cannot be filled")


# What a template shows of a row, as Python says it.
PIECES = {
    "say: ": lambda row: "say: ",
    "{{a}}": lambda row: row["a"],
    "{{ b | upper }}": lambda row: row["b"].upper(),
    "{{ a ~ '-' ~ n }}": lambda row: f"{row['a']}-{row['n']}",
    "{{ n + 1 }}": lambda row: str(row["n"] + 1),
    "{{ many[0] }}": lambda row: row["many"][0],
    "{{ many | join(', ') }}": lambda row: ", ".join(row["many"]),
    "{{ a if n > 1 else b }}": lambda row: row["a"] if row["n"] > 1 else row["b"],
    "{% for x in many %}{{x}};{% endfor %}": lambda row: "".join(x + ";" for x in row["many"]),
    "{{ gap or '' }}": lambda row: row["gap"] or "",
    "{{ gap }}": lambda row: row["gap"] if row["gap"] is not None else refusal(row),
    "{{ 'yes' if gap is none else 'no' }}": lambda row: "yes" if row["gap"] is None else "no",
    "{{ b.replace('e', 'E')[:2] }}": lambda row: row["b"].replace("e", "E")[:2],
    "{{ many }}": lambda row: str(row["many"]),
    "{{ missing }}": refusal,
    "{{ n / 0 }}": refusal,
    "{{ a.zfill('x') }}": refusal,
    "{{ 'a' * 10 ** 10 }}": refusal,
    "{{ a.__class__ }}": refusal,
    "{% include 'a' %}": refusal,
}
# Anything that looks like a template. Powers of powers: test_bounded_templates.py.
TOKENS = (
    "{{", "}}", "{%", "%}", "{#", "#}", "-%}", "for", "in", "if", "else", "endfor", "endif", "set",
    "endset", "macro", "endmacro", "call", "filter", "block", "raw", "endraw", "x", "a", "n", "gap",
    "many", "loop", "range", "dict", "cycler", "namespace", "self", "|", ".", ",", "(", ")", "[",
    "]", ":", "=", "==", "+", "*", "%", "~", "/", "//", "<", "not", "is", "none", "'", "'a'", "0",
    "1", "9999999999", "-1", "1.5", "join", "map", "batch", "list", "length", "tojson", "format",
    "center", "replace", "select", "groupby", "attr", "items", "__class__", "first", "random",
    "indent", "slice", "sum", "unique", "urlize", "wordwrap", "xmlattr", "pprint", "\n", "\0",
    "{{ a }}", "{{ n * 99999 }}", "{% for x in many %}", "{% endfor %}",
)  # fmt: skip


@st.composite
def template_rows(draw):
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        row = {"a": draw(filled), "b": draw(filled), "n": draw(st.integers(-2, 5))}
        row["gap"] = draw(st.none() | texts)
        row["many"] = draw(st.lists(filled, min_size=1, max_size=3))
        row["pick"] = draw(st.integers(0, 3) | st.sampled_from(["x", "1", "007", 1.0, None]))
        rows.append(row)
    return rows


@st.composite
def template_files(draw):
    """Draw rows, a rule of the input, choices, and the YAML file; None: not known what it says."""
    rows = draw(template_rows())
    rule = draw(st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=4))
    if draw(st.booleans()):
        rule = draw(st.lists(st.sampled_from(["say: ", "{{a}}", "{{ n + 1 }}"]), min_size=1))
    settings = {
        "task": "toy",
        "dataset_path": "json",
        "data_files": "rows.jsonl",
        "doc_to_text": "".join(rule),
        "doc_to_target": draw(st.sampled_from(["pick", "b", "many", 1])),
        "category": "non-cls",
        "metric": "exact-match",
    }
    choices = draw(st.none() | st.lists(filled, min_size=2, max_size=3, unique=True))
    if choices:
        settings["doc_to_choice"] = choices
    deed = draw(st.sampled_from(["none", "none", "soup", "value", "bytes"]))
    if deed == "soup":
        tokens = draw(st.lists(st.sampled_from(TOKENS), max_size=14))
        settings["doc_to_text"] = "{{ a }}" + " ".join(tokens)
    if deed == "value":
        settings = draw(changed(settings))
    text = yaml.safe_dump(settings, allow_unicode=draw(st.booleans()), sort_keys=False)
    content = encoded(text)
    if deed == "bytes":
        content = draw(spliced(content))
    return SimpleNamespace(
        rows=rows, rule=rule, settings=settings, content=content, is_known=deed == "none"
    )


def answers_of(value, choices):
    """Return the answers that a target is: an index into the choices, or a text."""
    answers = []
    for item in value if isinstance(value, list) else [value]:
        if item is None:
            continue
        if isinstance(item, float) and choices and str(item) not in choices:
            item = int(item)
        if choices and re.fullmatch("[0-9]+", str(item)):
            if int(item) >= len(choices):
                raise ValueError("beyond the choices")
            item = choices[int(item)]
        answers.append(str(item))
    if not answers or not all(map(str.strip, answers)):
        raise ValueError("no answer")
    return answers


def filled_rows(case):
    """Return what a template file says; raise ValueError where it cannot be filled."""
    found = []
    choices = case.settings.get("doc_to_choice")
    if "{" not in "".join(case.rule):
        raise ValueError("no template, and no column")
    for row in case.rows:
        text = "".join(PIECES[piece](row) for piece in case.rule)
        target = case.settings["doc_to_target"]
        value = row.get(target, target)
        answers = answers_of(value, choices)
        if not text.strip() or (choices and answers[0] not in choices):
            raise ValueError("no input, or no such choice")
        found.append((text, answers, ""))
    return found


def check_templates(case):
    lines = [json.dumps(row) for row in case.rows]
    Path("rows.jsonl").write_text("\n".join(lines), encoding="utf8")
    record = exported("task.yaml", case.content)
    if not case.is_known:
        return
    try:
        expected = filled_rows(case)
    except ValueError:
        expected = None
    assert (None if record is None else rows_of(record["examples"])) == expected


def test_templates(folder):
    explore(template_files(), check_templates, 80)


# --- lists of seen and unseen tasks


@st.composite
def split_lists(draw):
    names = [f"task{i}" for i in range(4)]
    chosen = draw(st.permutations(names))
    seen = draw(st.integers(1, 4))
    record = {"seen": chosen[:seen], "unseen": chosen[seen:], "tasks": "tasks"}
    if draw(st.booleans()):
        record = draw(changed(record))
    return draw(spliced(encoded(draw(json_text(record))), most=draw(st.integers(0, 1))))


def check_split(content):
    Path("list.json").write_bytes(content)
    shutil.rmtree("to", ignore_errors=True)
    if not accepted(ipt("tasks", "write", "list.json", "--to", "to")):
        return
    (said,) = json_values(text_of(content))
    names = [*said["seen"], *said.get("unseen", [])]
    assert {path.stem for path in Path("to").iterdir()} == set(names)
    split = select_tasks("list.json", 0, 0, 0).split
    assert [*split.seen] == said["seen"] and [*split.unseen] == said.get("unseen", [])


def test_lists_of_tasks(folder):
    (folder / "tasks").mkdir()
    example = {"input": "x", "output": "y"}
    for i in range(4):
        record = {"name": f"task{i}", "category": "non-cls", "metric": "exact-match"}
        text = json.dumps(record | {"examples": [example]})
        (folder / "tasks" / f"task{i}.json").write_text(text)
    explore(split_lists(), check_split, 60)


# --- settings

# What the verbs take without a prefix, and what with one.
VERBS = {
    "tune": {"": (WorkConfig, TuneConfig)},
    "msf": {"": (WorkConfig, MsfConfig), "tune": (TuneConfig,)},
    "ist": {"": (IstConfig,)},
}
# Files that a file would name, the place of all runs, and what is a name of no setting.
NOT_DRAWN = ("config", "preset", "out", "prompts", "dry_run")


def settings_of(verb):
    """Return the settings of a verb: their field by key."""
    found = {}
    for group, configs in VERBS[verb].items():
        for config in configs:
            for field in fields(config):
                if field.name not in NOT_DRAWN:
                    key = (group, field.name) if group else (field.name,)
                    found[key] = field
    return found


def value_for(field):
    """Return a strategy for values, most of which the field can have."""
    kinds = get_args(field.type) or (field.type,)
    ints, floats = st.integers(1, 50), st.floats(0.01, 0.9)
    if field.type is bool:
        right = st.booleans()
    elif float in kinds and tuple in (getattr(field.type, "__origin__", None),):
        right = st.lists(floats, min_size=1, max_size=3, unique=True)
    elif int in kinds:
        right = ints
    elif float in kinds:
        right = floats
    elif field.type is str:
        right = st.sampled_from(["random-20", "cpu", "all", "x", "1"])
    else:
        right = st.sampled_from([value for value in kinds if isinstance(value, str)] or ["x"])
    return st.one_of(right, right, right, right, odd_values)


@st.composite
def settings_files(draw):
    """Draw a verb, what is said, and the bytes of a file that says it."""
    verb = draw(st.sampled_from(sorted(VERBS)))
    known = settings_of(verb)
    said = {}
    keys = draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True))
    for key in keys:
        said[key] = draw(value_for(known[key]))
    record = {}
    for (*group, name), value in said.items():
        name = name if draw(st.booleans()) else name.replace("_", "-")
        holder = record.setdefault(group[0], {}) if group else record
        holder[name] = value
    deed = draw(st.sampled_from(["none", "none", "none", "value", "bytes"]))
    if deed == "value":
        record = draw(changed(record))
    suffix = draw(st.sampled_from([".json", ".yaml"]))
    if suffix == ".json":
        text = draw(json_text(record))
    else:
        text = yaml.safe_dump(record, allow_unicode=draw(st.booleans()))
    content = encoded(text)
    if deed == "bytes":
        content = draw(spliced(content))
    return SimpleNamespace(verb=verb, said=said, name=f"c{suffix}", content=content, deed=deed)


def in_effect(arguments, verb):
    """Return the settings of a parsed command line by key, as `settings_of` names them."""
    found = {}
    for group, configs in VERBS[verb].items():
        for config in configs:
            (holder,) = [value for value in arguments.values() if type(value) is config]
            for field in fields(config):
                key = (group, field.name) if group else (field.name,)
                found[key] = getattr(holder, field.name)
    return found


TRUTHS = {"true": True, "yes": True, "y": True, "1": True, "t": True, "on": True,
          "false": False, "no": False, "n": False, "0": False, "f": False, "off": False}  # fmt: skip


def is_meant(written, effective):
    """Return whether a value in effect is the one that was written."""
    if isinstance(effective, tuple):
        items = written if isinstance(written, list) else [written]
        return len(items) == len(effective) and all(map(is_meant, items, effective))
    if isinstance(effective, bool):
        return TRUTHS.get(str(written).lower()) is effective
    if isinstance(effective, int | float):
        # A truth value is no number.
        return not isinstance(written, bool) and float(written) == effective
    return str(written) == str(effective)


def parsed_only(monkeypatch):
    """Let `main` read the command line and do nothing; return what it reads."""
    read = []
    monkeypatch.setattr(cli, "call", lambda tokens: read.append(cli.parse(tokens)))
    return read


def check_settings(case, read):
    Path(case.name).write_bytes(case.content)
    read.clear()
    if not accepted(ipt(case.verb, "--config", case.name)) or case.deed == "bytes":
        return
    found = in_effect(read[0], case.verb)
    defaults = {}
    for config in (value for configs in VERBS[case.verb].values() for value in configs):
        defaults[config] = config()
    text = text_of(case.content)
    record = json.loads(text) if case.name.endswith(".json") else yaml.safe_load(text)
    for key, value in said_in(record).items():
        assert key in found and is_meant(value, found[key]), (key, value, found.get(key))
    # Control: what is not said has its default.
    known = settings_of(case.verb)
    for key, field in known.items():
        if key not in said_in(record):
            assert found[key] == field.default, key


def said_in(record, group=()):
    """Return what a record of settings says, by key."""
    found = {}
    for name, value in record.items():
        key = (*group, name.replace("-", "_"))
        found |= said_in(value, key) if isinstance(value, dict) else {key: value}
    return found


def test_settings_files(folder, monkeypatch):
    read = parsed_only(monkeypatch)
    explore(settings_files(), lambda case: check_settings(case, read), 80)


# --- studies


@st.composite
def studies(draw):
    """Draw the cells of a study and the bytes of its file."""
    cells = []
    for number in range(draw(st.integers(1, 2))):
        cell = {"name": f"cell{number}", "tasks": "random-20"}
        for key, values in (("dim", st.integers(1, 9)), ("seed", st.integers(0, 9)), ("alpha", st.floats(0, 2)),
                            ("tune.steps", st.integers(1, 9)), ("ist.steps", st.integers(1, 9))):  # fmt: skip
            if draw(st.booleans()):
                lists = st.lists(values, min_size=1, max_size=3, unique=True)
                cell[key] = draw(values | lists)
        cells.append(cell)
    record = {"cells": cells}
    deed = draw(st.sampled_from(["none", "none", "value", "bytes"]))
    if deed == "value":
        record = draw(changed(record))
    suffix = draw(st.sampled_from([".json", ".yaml"]))
    if deed == "none":
        text = json.dumps(record) if suffix == ".json" else yaml.safe_dump(record)
    else:
        text = draw(json_text(record)) if suffix == ".json" else yaml.safe_dump(record)
    content = encoded(text)
    if deed == "bytes":
        content = draw(spliced(content))
    return SimpleNamespace(cells=cells, name=f"s{suffix}", content=content, is_known=deed == "none")


def expected_cells(cells):
    """Return dim, seed, alpha and both steps of every cell, sorted."""
    found = []
    for cell in cells:
        combined = [{}]
        for key, value in cell.items():
            several = value if isinstance(value, list) else [value]
            combined = [known | {key: one} for known in combined for one in several]
        for one in combined:
            found.append((
                one.get("dim", MsfConfig().dim),
                one.get("seed", WorkConfig().seed),
                one.get("alpha", MsfConfig().alpha),
                one.get("tune.steps", TuneConfig().steps),
                one.get("ist.steps", IstConfig().steps),
            ))  # fmt: skip
    return sorted(found)


def check_study(case, asked):
    Path(case.name).write_bytes(case.content)
    asked.clear()
    done = accepted(ipt("study", case.name, "--dry-run"))
    if not case.is_known:
        return
    assert done
    found = []
    for config in asked:
        msf = config.msf
        found.append((msf.dim, config.work.seed, msf.alpha, config.tune.steps, config.ist.steps))
    assert sorted(found) == expected_cells(case.cells)


def test_studies(folder, monkeypatch):
    """Rows are drawn and times measured elsewhere."""
    asked = []
    monkeypatch.setattr("ipt.resolve.require_rows", asked.extend)
    monkeypatch.setattr("ipt.resolve.cell_hours", lambda configs: [0.0] * len(configs))
    explore(studies(), lambda case: check_study(case, asked), 40)


# --- lines of standard input


@st.composite
def lines_of_input(draw):
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "object", "object", "odd"]))
        record = {"input": draw(texts)}
        if draw(st.booleans()):
            record |= draw(st.dictionaries(texts, odd_values, max_size=2))
        if kind == "text":
            lines.append(draw(texts))
        elif kind == "object":
            lines.append(draw(json_text(record)).replace("\n", ""))
        else:
            lines.append(draw(json_text(draw(changed(record)))).replace("\n", ""))
    text = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])).join(lines)
    return draw(spliced(encoded(text), most=draw(st.integers(0, 2))))


def answer(text):
    """What the stand-in answers: every sign of the text counts."""
    return f"<{text[::-1]}>"


def expected_answers(content):
    """Return the lines that answer these bytes; raise ValueError where one cannot be answered."""
    records = []
    for line in re.split("\r\n|\r|\n", text_of(content)):
        line = line.strip()
        if not line:
            continue
        if not line.startswith("{"):
            records.append(line)
            continue
        (record,) = json_values(line)
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
        if not isinstance(record.get("input"), str):
            raise ValueError("no input")
        records.append(record)
    taken = {name for record in records if isinstance(record, dict) for name in record}
    free = [name for name in ("output", "prediction") if name not in taken]
    if not records or not free:
        raise ValueError("nothing to answer, or nowhere")
    found = []
    for record in records:
        if isinstance(record, dict):
            found.append(record | {free[0]: answer(record["input"])})
        else:
            found.append(" ".join(answer(record).split()))
    return found


def check_lines(content):
    ended = ipt("predict", "--run", "x", "--task", "y", standard_input=content)
    try:
        expected = expected_answers(content)
    except ValueError:
        expected = None
    if not accepted(ended):
        assert expected is None, ended
        return
    assert expected is not None, ended
    lines = ended.out.removesuffix("\n").split("\n")
    assert len(lines) == len(expected)
    for line, record in zip(lines, expected, strict=True):
        if isinstance(record, dict):
            assert list(json.loads(line).items()) == list(record.items())
        else:
            assert line == record


@pytest.fixture
def echo(world, done, folder, monkeypatch):
    """The prompt of a task, opened once; it answers with the text itself after the model has."""
    from ipt import predict as module
    from ipt.cli import predict as verb

    (run,) = done.glob("msf-*")
    opened = verb._open_prompt(run, Run(run).config["parts"]["seen"][0], done, mixture=False)
    answer_rows = module.answer_rows

    def answers(delta, experiment, task, rows, tokens):
        name = Run(run).config["parts"]["seen"][0]
        assert len(answer_rows(delta, experiment, name, rows, 2)) == len(rows)
        texts = [answer(row["input"] if isinstance(row, dict) else row) for row in rows]
        return [module.Answer(text, text) for text in texts]

    monkeypatch.setattr(verb, "_open_prompt", lambda *given, **more: opened)
    monkeypatch.setattr(module, "answer_rows", answers)
    return opened


def test_lines_of_standard_input(echo):
    explore(lines_of_input(), check_lines, 80)


# --- damaged runs


def is_runs_file(path):
    return path.is_file() and path.suffix != ".lock" and path.name != ".lock"


class Finished:
    """Complete runs of both stages, and what the commands say of them."""

    def __init__(self, done, place):
        self.done, self.place = done, place
        self.msf = next(done.glob("msf-*")).name
        self.ist = next(done.glob("ist-*")).name
        parts = Run(done / self.ist).config["parts"]
        self.seen, self.unseen = parts["seen"][0], parts["unseen"][0]
        self.files = [p.relative_to(done) for p in sorted(done.rglob("*")) if is_runs_file(p)]
        self.outcomes = {}
        for name in self.commands:
            self.restore()
            ended = self.do(name)
            assert ended.code == 0, ended
            self.outcomes[name] = self.outcome(name, ended)

    @property
    def commands(self):
        out = ("--out", self.place)
        predict = ("predict", "red blue green", *out)
        return {
            "show msf": ("runs", "show", self.msf, *out),
            "show ist": ("runs", "show", self.ist, *out),
            "list": ("runs", *out),
            "report": ("report", self.ist, *out),
            "predict seen": (*predict, "--run", self.msf, "--task", self.seen),
            "predict unseen": (*predict, "--run", self.ist, "--task", self.unseen),
            "predict mixture": (
                *predict, "--run", self.ist, "--task", self.unseen, "--mixture",
            ),
            "export": (
                "runs", "summary", self.ist, self.place / "file.json", "--command", "x", *out,
            ),
            "again": ist_words(self.place),
        }  # fmt: skip

    def restore(self):
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.done, self.place)

    def do(self, name):
        return ipt(*self.commands[name])

    def outcome(self, name, ended: Ended):
        """Return what a command gave, without times."""
        if name == "report":
            return (self.place / "report.html").read_text(encoding="utf8")
        if name == "export":
            return json.loads((self.place / "file.json").read_text(encoding="utf8"))
        # Where a table cannot be written beside the run, a note says so.
        lines = [line for line in ended.out.splitlines() if not line.startswith("written: ")]
        if name == "again":
            return lines, scores_in(self.place), self.vectors()
        return lines

    def vectors(self):
        """Return the d numbers; none of a file that a run would refuse and a complete one reads not."""
        try:
            found = Run(self.place / self.ist).tensors("vectors")
        except ValueError:
            return {}
        # A whole file of another kind; whoever reads it says that the numbers are not there.
        return {} if "prompt" in found else found

    def is_right(self, name, ended):
        """Return whether a command gave what it gives of undamaged runs."""
        found, known = self.outcome(name, ended), self.outcomes[name]
        if name == "list":
            # A run that cannot be read is named as such, or as one without a result.
            # The widths of columns differ then.
            told = ("not readable", "unfinished", "\u2500")
            known_lines = [line.split() for line in known]
            for line in found:
                if line.split() not in known_lines and not any(word in line for word in told):
                    return False
            return True
        if name == "again":
            # Vectors that were tuned again beside others differ in rounding.
            for key, tensor in found[2].items():
                if not tensor.allclose(known[2][key], atol=1e-3):
                    return False
            return found[:2] == known[:2]
        return found == known


@pytest.fixture(scope="module")
def finished(world, done, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipt.analysis.report.page.DRAWINGS", ())
        patch.setenv("COLUMNS", "200")
        yield Finished(done, tmp_path_factory.mktemp("damaged") / "runs")


@st.composite
def damages(draw, finished):
    """Draw a file of the runs, what is in its place, and the command that is given then."""
    name = draw(st.sampled_from(finished.files))
    content = (finished.done / name).read_bytes()
    deeds = ["bytes", "bytes", "other", "missing", "empty", "folder"]
    is_json = name.suffix == ".json"
    deed = draw(st.sampled_from(["json", "json", "json", *deeds] if is_json else deeds))
    if deed == "json":
        content = encoded(draw(json_text(draw(changed(json.loads(content), most=1)))))
    elif deed == "bytes":
        content = draw(spliced(content, most=1))
    elif deed == "other":
        same = [p for p in finished.files if p.suffix == name.suffix and p != name] or [name]
        content = (finished.done / draw(st.sampled_from(same))).read_bytes()
    elif deed == "empty":
        content = b""
    command = draw(st.sampled_from(sorted(finished.commands)))
    return SimpleNamespace(
        file=str(name), deed=deed, command=command, content=None if deed == "missing" else content
    )


def check_damage(case, finished):
    finished.restore()
    path = finished.place / case.file
    path.unlink()
    if case.deed == "folder":
        path.mkdir()
    elif case.content is not None:
        path.write_bytes(case.content)
    ended = finished.do(case.command)
    if accepted(ended):
        assert finished.is_right(case.command, ended), (case.file, ended)


def test_damaged_runs(finished):
    explore(damages(finished), lambda case: check_damage(case, finished), 30)


# --- controls: planted faults are found


def test_control_a_reader_that_raises_another_error_is_found(folder, monkeypatch):
    from ipt.tasks.readers import schema

    read = schema.read_json

    def broken(path):
        record = read(path)
        if record["name"] == "a.b":
            raise TypeError("planted")
        return record

    monkeypatch.setattr(schema, "read_json", broken)
    with pytest.raises(TypeError, match="planted"):
        explore(task_files(), check_task_file, 20, find_only=True)


def test_control_a_value_that_is_changed_silently_is_found(folder, monkeypatch):
    from ipt.tasks.readers import contents

    whole = contents.Cell
    monkeypatch.setattr(contents, "Cell", lambda text: whole(text.strip()))
    with pytest.raises(AssertionError):
        explore(csv_tables(), check_csv, 60, find_only=True)


def test_control_a_setting_that_is_not_taken_is_found(folder, monkeypatch):
    from ipt.cli import options

    read = options.settings_file

    def forgetful(path, what):
        return dict(list(read(path, what).items())[1:])

    monkeypatch.setattr(options, "settings_file", forgetful)
    read_lines = parsed_only(monkeypatch)
    with pytest.raises(AssertionError):
        explore(settings_files(), lambda c: check_settings(c, read_lines), 80, find_only=True)


def test_control_an_answer_in_another_place_is_found(echo, monkeypatch):
    from ipt import predict as module

    right = module.answer_rows
    monkeypatch.setattr(module, "answer_rows", lambda *given: right(*given)[::-1])
    with pytest.raises(AssertionError):
        explore(lines_of_input(), check_lines, 60, find_only=True)


def test_control_damage_that_nobody_sees_is_found(finished, monkeypatch):
    def unsealed(path, remedy=""):
        record = json.loads(path.read_text(encoding="utf8"))
        record.pop("sha256 of the rest", None)
        return record

    for module in ("ipt.run", "ipt.bank", "ipt.storage"):
        monkeypatch.setattr(f"{module}.read_json", unsealed)
    (path,) = [name for name in finished.files if name.match("ist-*/result.json")]
    content = re.sub(rb"0\.\d", b"0.9", (finished.done / path).read_bytes())
    case = SimpleNamespace(file=str(path), deed="bytes", command="show ist", content=content)
    with pytest.raises(AssertionError):
        check_damage(case, finished)


def test_control_work_without_an_end_is_found(folder, monkeypatch):
    monkeypatch.setattr("fuzzing.SECONDS", 1)

    def endless(*given):
        while True:
            pass

    monkeypatch.setattr("ipt.tasks.readers.schema.read_json", endless)
    with pytest.raises(AssertionError, match="not ended after 1 seconds"):
        exported("task.json", b"{}")


def test_control_two_lines_are_no_line():
    for said in ("ipt: a\nipt: b\n", "ipt: a\nb\n", "a\n", "", "ipt: " + "x" * LONGEST_LINE):
        with pytest.raises((AssertionError, ValueError)):
            accepted(Ended(2, "", said))
    assert not accepted(Ended(2, "", "note: x\nipt: a\n")) and accepted(Ended(0, "", ""))
