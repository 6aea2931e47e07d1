"""Bad input for `make torture`: flags, task files, settings, models, prompts, runs and lines.

Each `Attempt` is one command in a folder of its own, with what it may end in: "refused" is one line
and exit code 2; "right" is what the same command gave before a file was damaged, or one line;
"either" is one line or exit code 0, where both would do.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from conftest import ist_words, msf_words
from fitted import word_task

from ipt.config import IstConfig, MsfConfig, ProbeConfig, TuneConfig

REFUSED, RIGHT, EITHER = "refused", "right", "either"
BAD_NUMBERS = ("nan", "inf", "-inf", "-7", "x", "", "1" + "0" * 30)
BAD_JSON = (None, 3, -1, True, "", [], {}, [3], [None], [[]], {"a": 1}, 1e999, "\ud800")


@dataclass(frozen=True)
class Attempt:
    """One command, and what it may end in.

    prepare: writes files into the folder of this attempt and returns the command's words.
    """

    part: str
    name: str
    prepare: Callable[[Path], list[str]]
    expected: str = EITHER
    standard_input: bytes = b""


def attempts(world: Path, done: Path) -> Iterator[Attempt]:
    """Yield every attempt. world: of `conftest`; done: a folder with its complete runs."""
    yield from flags(world)
    yield from names(world, done)
    yield from task_files(world)
    yield from settings_files(world)
    yield from models(world)
    yield from lines(done)
    yield from damaged(world, done)


# --- flags


def flags(world: Path) -> Iterator[Attempt]:
    """Yield each number of each stage's settings with values that are none."""
    stages = (("tune", TuneConfig), ("msf", MsfConfig), ("ist", IstConfig), ("probe", ProbeConfig))
    for verb, config in stages:
        for declared in fields(config):
            kinds = get_args(declared.type) or (declared.type,)
            if int not in kinds and float not in kinds:
                continue
            for value in BAD_NUMBERS:
                words = _words(world, verb, f"--{declared.name.replace('_', '-')}", value)
                # A count may be as large as it likes where nothing is made of it.
                expected = EITHER if value.startswith("1") else REFUSED
                yield Attempt("flags", f"{verb} {declared.name} {value[:8]}", words, expected)
    for flag in ("--seed", "--test-rows", "--seen", "--unseen", "--checkpoint-seconds"):
        for value in ("nan", "-3", "1.5", "", "0x"):
            yield Attempt(
                "flags", f"tune {flag} {value}", _words(world, "tune", flag, value), EITHER
            )


def _words(world: Path, verb: str, flag: str, value: str) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        out = folder / "runs"
        if verb == "tune":
            return with_flag([*tune_words(world, out), "--dry-run"], flag, value)
        if verb == "msf":
            return with_flag([*msf_words(world, out), "--dry-run"], flag, value)
        named = ["--run", "one"] if verb == "probe" else []
        return [verb, "--out", str(out), *named, f"{flag}={value}"]

    return prepare


def with_flag(words: list[str], flag: str, value: str) -> list[str]:
    """Return the words of a command with a flag of this value, in the place of its own."""
    kept = list(words)
    while flag in kept:
        place = kept.index(flag)
        del kept[place : place + 2]
    return [*kept, f"{flag}={value}"]


def tune_words(world: Path, out: Path) -> list[str]:
    """Return `ipt tune` on two tasks, of few steps."""
    words = ["tune", "--tasks", world / "tasks", "--seen", 2, "--model", world / "model"]
    words += ["--test-rows", 4, "--steps", 2, "--eval-every", 2, "--shots", 4, "--learning-rates", 0.3]
    words += ["--tuner", "soft-prompt:prompt_length=2", "--out", out]
    return [str(word) for word in words]


def names(world: Path, done: Path) -> Iterator[Attempt]:
    """Yield names of runs, tasks, tuners, models and paths that are none."""
    wrong = ("", " ", "../x", "/dev/zero", "/", "a\0b", "x" * 300, "*", "[/x]", "\u202e", "-", ".")
    for flag in ("--tasks", "--model", "--tuner", "--prompts", "--config", "--device", "--dtype"):
        for value in wrong:
            yield Attempt("names", f"tune {flag} {value[:9]!r}", _words(world, "tune", flag, value))
    for verb in ("ist", "stability", "probe", "predict", "export", "report"):
        for value in wrong:
            if value == "-" and verb in ("export", "report"):
                continue  # no name but the sign of an option
            words = [verb, "--out", str(done), f"--run={value}"]
            if verb == "export":
                words = [verb, value, "first", "--out", str(done), "--to", str(done.parent / "to")]
            elif verb == "report":
                words = [verb, value, "--out", str(done)]
            elif verb == "predict":
                words += ["--task", "first", "red blue"]
            yield Attempt("names", f"{verb} --run {value[:9]!r}", _fixed(words), EITHER)


def _fixed(words: list[str]) -> Callable[[Path], list[str]]:
    return lambda folder: words


# --- task files


def task_files(world: Path) -> Iterator[Attempt]:
    """Yield a task file with each field replaced, in each format, and files that are none."""
    record = word_task("first", 40).to_dict()
    record.pop("digest", None)
    for name in record:
        for value in BAD_JSON:
            text = json.dumps(record | {name: value})
            title = f"{name}={value!r}"[:40]
            yield Attempt("task files", title, _checked("task.json", text.encode()))
    for place in ("input", "output"):
        for value in BAD_JSON:
            rows = list(record["examples"])
            rows[3] = dict(rows[3]) | {place: value}
            text = json.dumps(record | {"examples": rows})
            title = f"examples.{place}={value!r}"[:40]
            yield Attempt("task files", title, _checked("task.json", text.encode()))
    whole = json.dumps(record).encode()
    for suffix in (".json", ".jsonl", ".csv", ".tsv", ".yaml", ".parquet", ".txt", ""):
        for title, content in raw_contents(whole).items():
            yield Attempt("task files", f"{suffix} {title}", _checked(f"task{suffix}", content))
    template = "dataset_path: rows.jsonl\ntask: t\ndoc_to_text: '%s'\ndoc_to_target: '{{b}}'\n"
    for text in TEMPLATES:
        quoted = text.replace("'", "''")
        yield Attempt("templates", text[:40], _templated(template % quoted), REFUSED)


def raw_contents(whole: bytes) -> dict[str, bytes]:
    """Return contents that are no file of any format, some only in part."""
    return {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "zeros": b"\0" * 100,
        "not utf8": b"\xff\xfe\xfa" * 30,
        "deep": b"[" * 100_000,
        "null": b"null",
        "number": b"3",
        "list": b"[1, 2]",
        "aliases": b"a: &a [x, x]\n" + b"".join(
            b"%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c, *%c, *%c]\n" % (c, c, *[c - 1] * 8)
            for c in range(ord("b"), ord("n"))
        ),
    }  # fmt: skip


TEMPLATES = (
    "{{ 1/0 }}",
    "{{ a + 1 }}",
    "{{ a.zfill('x') }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ 'a' * 10**10 }}",
    "{{ lipsum(n=1000000) }}",
    "{% include 'x' %}",
    "{% import 'os' as o %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ a.__class__.__mro__ }}",
    "{{ nothing.at.all }}",
    "{{ a",
    "{{ [a] | map('nothing') | list }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ a | indent(10 ** 10) }}",
    "{{ a.center(10 ** 11) }}",
)


def _checked(name: str, content: bytes) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["tasks", "check", str(folder / name)]

    return prepare


def _templated(text: str) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        rows = [json.dumps({"a": f"red {i}", "b": f"blue {i}"}) for i in range(40)]
        (folder / "rows.jsonl").write_text("\n".join(rows))
        (folder / "t.yaml").write_text(text)
        return ["tasks", "check", str(folder / "t.yaml")]

    return prepare


# --- settings, models, prompts


def settings_files(world: Path) -> Iterator[Attempt]:
    """Yield --config files and studies that are none, or ask for what cannot be."""
    texts = {
        ".json": ("[1]", "3", "null", "{", '{"steps": "x"}', '{"steps": NaN}', '{"nothing": 1}'),
        ".yaml": ("- 1", "1: 2", "tune: &a {b: *a}", "steps: !!python/object/apply:os.system [x]",
                  "steps: [", "steps: -3", "clip: .nan", "learning-rates: [0.1, .inf]", "\0"),
        ".toml": ("steps", "steps = nan", "clip = inf", "steps = 'x'", "[a]\nb=1", "steps = 1\n" * 2),
        ".txt": ("steps: 3",),
    }  # fmt: skip
    for suffix, contents in texts.items():
        for content in contents:
            made = _configured(world, f"c{suffix}", content.encode())
            yield Attempt("settings", f"--config {suffix} {content[:20]!r}", made, REFUSED)
    for suffix in (".json", ".yaml", ".toml"):
        for title, content in raw_contents(b'{"steps": 3}').items():
            if (suffix, title) == (".yaml", "empty"):
                continue
            made = _configured(world, f"c{suffix}", content)
            # An empty file of settings sets nothing.
            yield Attempt("settings", f"--config {suffix} {title}", made, EITHER)
    studies = ("", "cells = 3", "[[cells]]", "[[cells]]\nname='a'\ndim=-1", "[[cells]]\nname='../a'",
               "[lists]\na=1", "x")  # fmt: skip
    for text in studies:
        yield Attempt("settings", f"study {text[:25]!r}", _study(text), REFUSED)


def _configured(world: Path, name: str, content: bytes) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        # Without flags of its own: what they set would not be read from the file.
        words = ["tune", "--tasks", world / "tasks", "--seen", 2, "--model", world / "model"]
        words += ["--out", folder / "runs", "--dry-run", "--config", folder / name]
        return [str(word) for word in words]

    return prepare


def _study(text: str) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        (folder / "study.toml").write_text(text)
        return ["study", str(folder / "study.toml"), "--out", str(folder / "runs")]

    return prepare


def models(world: Path) -> Iterator[Attempt]:
    """Yield the taught model's folder with a field of its files replaced, or a file damaged."""
    fields_of_config = ("d_model", "vocab_size", "num_layers", "num_heads", "d_kv", "model_type")
    for name in fields_of_config:
        for value in (None, "x", 0, -1, 64, 10**12, [], True):
            made = _edited(world, "config.json", name, value)
            yield Attempt("models", f"config {name}={value!r}", made)
    for name in ("decoder_start_token_id", "eos_token_id", "torch_dtype", "architectures"):
        for value in ("x", -5, 10**12, []):
            made = _edited(world, "config.json", name, value)
            yield Attempt("models", f"config {name}={value!r}", made)
    for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        for title, content in raw_contents(b"{}").items():
            yield Attempt("models", f"{file} {title}", _replaced(world, file, content))
        yield Attempt("models", f"{file} missing", _replaced(world, file, None))
    for title, content in raw_contents(b"GGUF" + b"\0" * 60).items():
        yield Attempt("models", f"convert {title}", _converted(b"GGUF" + content), REFUSED)


def _edited(world: Path, file: str, name: str, value: Any) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        shutil.copytree(world / "model", folder / "model")
        path = folder / "model" / file
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
        return with_flag(tune_words(world, folder / "runs"), "--model", str(folder / "model"))

    return prepare


def _replaced(world: Path, file: str, content: bytes | None) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        shutil.copytree(world / "model", folder / "model")
        (folder / "model" / file).unlink(missing_ok=True)
        if content is not None:
            (folder / "model" / file).write_bytes(content)
        return with_flag(tune_words(world, folder / "runs"), "--model", str(folder / "model"))

    return prepare


def _converted(content: bytes) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        (folder / "m.gguf").write_bytes(content)
        return ["convert", str(folder / "m.gguf"), str(folder / "model")]

    return prepare


# --- lines of standard input


def lines(done: Path) -> Iterator[Attempt]:
    """Yield lines for `ipt predict` that are none."""
    (run,) = done.glob("msf-*")
    words = ["predict", "--run", str(run), "--task", _a_seen_task(run), "--out", str(done)]
    contents = {
        "lone surrogate": b'{"input": "\\ud800"}\n',
        "deep": b'{"input": ' + b"[" * 100_000,
        "not utf8": b"red\n\xff\xfe\n",
        "a list": b"[1]\n",
        "a number": b'{"input": 3}\n',
        "no input": b'{"x": "red"}\n',
        "null": b'{"input": null}\n',
        "empty": b"",
        "blank": b"\n\n",
        "long": b"red " * 100_000 + b"\n",
        "zeros": b"\0" * 50 + b"\n",
        "byte order mark": b'\xef\xbb\xbf{"input": "red blue tall"}\n',
        "nan": b'{"input": "red", "x": NaN}\n',
        "output": b'{"input": "red", "output": "mine"}\n',
        "crlf": b"red blue tall\r\nblue red tall\r\n",
    }
    for title, content in contents.items():
        yield Attempt("lines", title, _fixed(words), EITHER, content)


def _a_seen_task(run: Path) -> str:
    return str(json.loads((run / "result.json").read_text())["split"]["seen"][0])


# --- damaged runs


def damaged(world: Path, done: Path) -> Iterator[Attempt]:
    """Yield every kind of file of complete runs, damaged in each way; then both commands again."""
    (msf,) = done.glob("msf-*")
    (ist,) = done.glob("ist-*")
    (bank, *_) = sorted(done.glob("bank/*"))
    files = [*sorted(msf.glob("*.json*")), *sorted(msf.glob("*.safetensors"))]
    files += [*sorted((msf / "subspace").iterdir()), *sorted(ist.glob("*.json*"))]
    files += [*sorted(ist.glob("*.safetensors")), *sorted(bank.glob("*.json"))]
    files += sorted(bank.glob("*.safetensors"))[:2]
    for path in files:
        for title, change in DAMAGES.items():
            again = _again(world, done, path.relative_to(done), change)
            title = f"{path.parent.name[:3]}/{path.name} {title}"
            yield Attempt("damaged files", title, again, RIGHT)


def _flip(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0x40
    return bytes(changed)


def _other_digit(content: bytes) -> bytes:
    # The last digit of the file that stands in a number: of a score, a dimension or a digest.
    for place in range(len(content) - 1, -1, -1):
        if content[place : place + 1].isdigit():
            digit = b"1" if content[place : place + 1] != b"1" else b"2"
            return content[:place] + digit + content[place + 1 :]
    return content


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "list": lambda content: b"[]",
    "null": lambda content: b"null",
    "last bit": lambda content: _flip(content, -2),
    "middle bit": lambda content: _flip(content, len(content) // 2),
    "a digit": _other_digit,
    "missing": lambda content: None,
}


def _again(
    world: Path,
    done: Path,
    name: Path,
    change: Callable[[bytes], bytes | None],
) -> Callable[[Path], list[str]]:
    def prepare(folder: Path) -> list[str]:
        shutil.copytree(done, folder / "runs")
        content = change((done / name).read_bytes())
        (folder / "runs" / name).unlink()
        if content is not None:
            (folder / "runs" / name).write_bytes(content)
        return ist_words(folder / "runs")

    return prepare
