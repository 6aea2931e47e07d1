"""What a page may ask: JSON objects of few known kinds of values, each with its limits.

Anything else is a ValueError of one line.
"""

import json
from collections.abc import Mapping
from typing import Any

from ipt.predict import record_of, require_text
from ipt.storage import without_repeats

MOST_BYTES = 64 * 1024  # of a request's body
MOST_ROWS = 64  # that are answered at once
MOST_TOKENS = 64  # of an answer
MOST_LETTERS = 8000  # of a text
MOST_STEPS = 200  # of tuning
MOST_SIDE = 48  # places of a plane's side
LARGEST = 1e6  # of a number of a vector, either way

Body = Mapping[str, Any]


def as_json(record: Any) -> bytes:
    """Return a record as JSON without a sign that could end a script."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode()


def read_body(content: bytes) -> dict[str, Any]:
    """Return the JSON object that a request brings."""
    if len(content) > MOST_BYTES:
        raise ValueError(f"a request has {MOST_BYTES:,} bytes at most, found {len(content):,}")
    try:
        body = json.loads(
            content or b"{}",
            object_pairs_hook=without_repeats,
            parse_constant=_refuse_constant,
        )
    except RecursionError as error:
        raise ValueError("the request is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"the request is no valid JSON ({error})") from error
    if not isinstance(body, dict):
        raise ValueError(f"the request must be a JSON object, found {type(body).__name__}")
    return body


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def text_of(body: Body, name: str) -> str:
    """Return a text of the request."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not empty")
    if len(value) > MOST_LETTERS:
        raise ValueError(f"{name} has {MOST_LETTERS:,} letters at most, found {len(value):,}")
    require_text(value, name)
    return value


def row_of(body: Body, name: str) -> str | dict[str, Any]:
    """Return a row of the request: a text, or a JSON object with the fields of a task's kind."""
    try:
        return record_of(text_of(body, name).strip(), 1)
    except ValueError as error:
        # The reader is that of standard input, whose lines have numbers.
        raise ValueError(str(error).replace("standard input, line 1", "the text")) from error


def names_of(body: Body, name: str, count: int) -> list[str]:
    """Return a list of so many names."""
    value = body.get(name)
    found = value if isinstance(value, list) else []
    if len(found) != count or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} must be a list of {count} names")
    return found


def vector_of(body: Body, name: str, dim: int) -> list[float]:
    """Return d finite numbers."""
    value = body.get(name)
    if not isinstance(value, list) or len(value) != dim:
        found = len(value) if isinstance(value, list) else type(value).__name__
        raise ValueError(f"{name} must be a list of {dim} numbers, found {found}")
    numbers = []
    for one in value:
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        # Compared first: whole numbers may be longer than a float holds.
        if not is_number or not abs(one) <= LARGEST:
            raise ValueError(
                f"{name} must be finite numbers of at most {LARGEST:,.0f}, found {one!r:.40}"
            )
        numbers.append(float(one))
    return numbers


def count_of(body: Body, name: str, default: int, most: int) -> int:
    """Return a whole number from 1 to `most`."""
    value = body.get(name, default)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, found {value!r:.40}")
    return int(value)


def choice_of(body: Body, name: str, choices: tuple[str, ...]) -> str:
    """Return one of some words, the first where the request says none."""
    value = body.get(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, found {value!r:.40}")
    return str(value)
