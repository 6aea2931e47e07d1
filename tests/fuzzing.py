"""What tests/test_fuzz.py draws from: valid files and runs, and changes that leave them nearly so.

A command ends well where it says one line and ends with exit code 2, or where what it gives is
right. All else fails: a trace, another exit code, more than `SECONDS`, something else than the file
says. IPT_FUZZ=N draws N examples of each property at random; without it few are drawn, the same
each time. Nothing is kept between runs: what fails prints a line that draws it again.
"""

import copy
import faulthandler
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ipt.cli import app as cli

EXAMPLES = int(os.environ.get("IPT_FUZZ", "0"))
SECONDS = 20  # of one command, far more than any of them takes
LONGEST_LINE = 1500  # characters of an error with a path in it
SHORT = 60  # of bytes that are cut out or come twice


# --- examples


def explore(
    strategy: st.SearchStrategy[Any],
    check: Callable[[Any], None],
    few: int,
    find_only: bool = False,
) -> None:
    """Check drawn cases: few of them, or as many as IPT_FUZZ says.

    find_only: a fault is planted, and need not be made small.
    """

    # What a failure prints after "reproduce this example" goes here, as a decorator.
    @settings(
        max_examples=few if find_only else EXAMPLES or few,
        derandomize=find_only or not EXAMPLES,
        print_blob=EXAMPLES > 0,
        database=None,
        deadline=None,
        report_multiple_bugs=EXAMPLES > 0,
        phases=[Phase.generate] if find_only else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def holds(case: Any) -> None:
        check(case)

    holds()


# --- commands


class TooLong(BaseException):
    """A command that did not end; no `except Exception` takes it for another error."""


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@contextmanager
def limited() -> Iterator[None]:
    """Let what takes more than `SECONDS` fail."""

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    # Where no Python runs, a signal waits: then the process ends with its trace.
    faulthandler.dump_traceback_later(6 * SECONDS, exit=True)
    try:
        yield
    except TooLong:
        raise AssertionError(f"not ended after {SECONDS} seconds") from None
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def ipt(*words: object, standard_input: bytes = b"") -> Ended:
    """Run a command in this process, its streams as a shell gives them."""
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(standard_input), encoding="utf8"),
        "stdout": io.TextIOWrapper(io.BytesIO(), encoding="utf8", write_through=True),
        "stderr": io.TextIOWrapper(
            io.BytesIO(), encoding="utf8", errors="backslashreplace", write_through=True
        ),
    }
    with pytest.MonkeyPatch.context() as patch, limited():
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        code = cli.main([str(word) for word in words])
    printed = []
    for name in ("stdout", "stderr"):
        printed.append(streams[name].buffer.getvalue().decode())
    return Ended(code, *printed)


def accepted(ended: Ended) -> bool:
    """Return whether a command did its work; fail where it neither did nor said one line why."""
    if ended.code == 0:
        assert "ipt: " not in ended.err, ended
        return True
    assert ended.code == 2, ended
    *before, last = ended.err.removesuffix("\n").split("\n")
    assert last.startswith("ipt: ") and len(last) <= LONGEST_LINE, ended
    # Notes and progress may come first.
    assert not any(line.startswith("ipt: ") or "Traceback" in line for line in before), ended
    return False


# --- texts and values

WORDS = (
    "None", "null", "nan", "NA", "true", "no", "0", "01", "1e5", "1.0", "-", "2001-01-01", "~",
    " x ", "a,b", 'a"b', "a\nb", "a\r\nb", "a\tb", "=1", "{{a}}", "{%", "[1, 2]", "[x]", "\u2028",
    "\ufeff", "e\u0301", "\U0001f600", "\0", "\x1b[2J", "ß", "\u202e", "red blue",
)  # fmt: skip
texts = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8"), max_size=12)
numbers = (
    st.integers(-3, 12)
    | st.sampled_from([10**30, -1, 2**31, 2**63])
    | st.floats(allow_nan=False, allow_infinity=False)
)
plain = st.none() | st.booleans() | numbers | texts
ODD = (None, True, False, 0, -1, 1.5, 10**30, "", " ", "\ud800", "x" * 300, [], {}, [[]], [None])
odd_values = (
    st.sampled_from(ODD)
    | plain
    | st.recursive(
        plain,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=5,
    )
)


# --- changes of a value that JSON has


def places(value: Any, at: tuple = ()) -> Iterator[tuple]:
    """Yield where each part of a value stands, the whole not counted."""
    if isinstance(value, dict):
        parts = list(value.items())
    else:
        parts = list(enumerate(value)) if isinstance(value, list) else []
    for key, part in parts:
        yield (*at, key)
        yield from places(part, (*at, key))


def _holder(value: Any, at: tuple) -> Any:
    for key in at[:-1]:
        value = value[key]
    return value


def _other_kind(value: Any) -> Any:
    """Return a value in a form that a person may write it in, too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value[0] if len(value) == 1 else dict(enumerate(value))
    if isinstance(value, dict):
        return list(value.items())
    return str(value)


@st.composite
def changed(draw: Any, value: Any, most: int = 2) -> Any:
    """Draw a value with some of its parts replaced, dropped, of another kind, moved or twice."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, most))):
        known = list(places(value))
        if not known:
            break
        at = draw(st.sampled_from(known))
        holder, key = _holder(value, at), at[-1]
        deed = draw(st.sampled_from(["replace", "drop", "kind", "swap", "twice", "add"]))
        if deed == "replace":
            holder[key] = draw(odd_values)
        elif deed == "drop":
            del holder[key]
        elif deed == "kind":
            holder[key] = _other_kind(holder[key])
        elif deed == "swap":
            other = draw(st.sampled_from(known))
            other_holder, other_key = _holder(value, other), other[-1]
            taken = copy.deepcopy(other_holder[other_key])
            holder[key] = taken
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        else:
            holder[draw(texts)] = draw(odd_values)
    return value


@st.composite
def json_text(draw: Any, value: Any) -> str:
    """Draw a way to write a value as JSON; sometimes one key of it stands twice."""
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1])),
    )
    if draw(st.integers(0, 14)) == 0 and isinstance(value, dict) and value:
        key = json.dumps(draw(st.sampled_from(sorted(value))))
        text = "{" + f"{key}: {json.dumps(draw(odd_values))}, " + text[1:]
    return text


def encoded(text: str) -> bytes:
    """Return a text as bytes; half a sign, which no file can hold, as three that are no UTF-8."""
    return text.encode("utf8", "surrogatepass")


# --- changes of bytes

BYTES = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b",", b'"', b"'", b"{", b"}", b"[",
    b"]", b":", b"NaN", b"-Infinity", b"1e999", b"\\ud800", b"\xed\xa0\x80", b"\xe9", b"\t", b" ",
    b"- ", b"*a", b"&a ", b"!!set", b"#", b"\\", b"%", b"null", b"true", b"0", b"9" * 5000,
    b"\xc2\x85", b"\xe2\x80\xa8", b"\x1c", b"\x0c", b"[" * 3000, b"{{", b"}}",
)  # fmt: skip


@st.composite
def spliced(draw: Any, content: bytes, most: int = 2) -> bytes:
    """Draw bytes with a place cut out, put in, come twice, flipped, or the end lost."""
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.integers(0, len(content)))
        end = place + draw(st.integers(1, SHORT))
        deed = draw(st.sampled_from(["put in", "put in", "cut", "twice", "flip", "end"]))
        if deed == "put in":
            content = content[:place] + draw(st.sampled_from(BYTES)) + content[place:]
        elif deed == "cut":
            content = content[:place] + content[end:]
        elif deed == "twice":
            content = content[:end] + content[place:]
        elif deed == "flip" and place < len(content):
            bit = 1 << draw(st.integers(0, 7))
            content = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
        elif deed == "end":
            content = content[:place]
    return content


# --- what files say, read another way


def text_of(content: bytes) -> str:
    """Return the text of bytes; raise ValueError where they are no UTF-8."""
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf8")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def _refuse(name: str) -> None:
    raise ValueError(name)


DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)


def json_values(text: str) -> list[Any]:
    """Return the JSON values that follow each other in a text; raise ValueError where none do."""
    values = []
    rest = text.strip(" \t\r\n")
    while rest:
        try:
            value, end = DECODER.raw_decode(rest)
        except RecursionError as error:
            raise ValueError("deep") from error
        json.dumps(value, allow_nan=False)
        values.append(value)
        rest = rest[end:].strip(" \t\r\n")
    return values


def csv_cells(text: str, separator: str) -> list[list[str]]:
    """Return the cells of a CSV, sign by sign (RFC 4180); raise ValueError where it is none."""
    rows, row, cell = [], [], ""
    state = "start"
    for place, sign in enumerate(text):
        if state == "quoted":
            state, cell = ("closed", cell) if sign == '"' else (state, cell + sign)
        elif sign == "\n" and text[place - 1 : place] == "\r":
            continue
        elif sign in "\r\n":
            if row or state != "start":
                rows.append([*row, cell])
            row, cell, state = [], "", "start"
        elif sign == separator:
            row, cell, state = [*row, cell], "", "next"
        elif sign == '"' and state in ("start", "next"):
            state = "quoted"
        elif sign == '"' and state == "closed":
            state, cell = "quoted", cell + sign
        elif state == "closed":
            raise ValueError("a sign after a quote")
        else:
            state, cell = "open", cell + sign
    if state == "quoted":
        raise ValueError("no end of a quote")
    if row or state != "start":
        rows.append([*row, cell])
    return rows
