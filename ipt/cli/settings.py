"""Settings files: JSON, TOML or YAML with flags as keys, read strictly and with bounds.

A small file asks for little: few levels, so many values (YAML's aliases make gigabytes out of a few
lines), no kinds of values but those that a flag has.
"""

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ipt.storage import without_repeats

# Far above any file of settings or study, far below what makes a reader slow.
MOST_BYTES = 1_000_000
# Levels of a value: `ist.steps` in a group of a study's cells is the third.
MOST_LEVELS = 8
MOST_VALUES = 100_000


def settings_file(path: Path, what: str) -> dict[str, Any]:
    """Return what a JSON, TOML or YAML file holds: texts, numbers, truth values, lists, mappings.

    what: the flag or argument that names the file, for the message.
    Raises ValueError where it is no such file.
    """
    # By suffix, as the first bytes of a file do not tell TOML from YAML. A pipe or a device has no
    # end, so that only regular files are read.
    reader = READERS.get(path.suffix)
    if reader is None or not path.is_file():
        raise ValueError(f"{what} must be a .json, .toml or .yaml file, found {str(path)!r}")
    where = f"{what} {path}"
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{where} has more than {MOST_BYTES} bytes: no settings; choose another")
    try:
        # UTF-8 whatever the system's own encoding is, and with the mark that some editors write.
        settings = reader(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError(f"{where} cannot be read (nested too deeply); mend the file") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{where} cannot be read ({reason}); mend the file") from error
    if not isinstance(settings, dict):
        kind = type(settings).__name__
        raise ValueError(f"{where} must hold settings by name, found a {kind}")
    for count, (key, value, levels) in enumerate(_values(settings, "", 1), 1):
        about = f"{where} at {key}" if key else where
        if count > MOST_VALUES:
            raise ValueError(f"{where} holds more than {MOST_VALUES} values; mend the file")
        if levels > MOST_LEVELS:
            raise ValueError(f"{about}: more than {MOST_LEVELS} levels; no flag has so many")
        _require_plain(value, about)
    return settings


def _values(value: Any, key: str, levels: int) -> Iterator[tuple[str, Any, int]]:
    """Yield a value and all within it, each with its key and how many levels it stands down."""
    # One after another, so that the caller can stop: aliases may stand for more than has an end.
    yield key, value, levels
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, f"{key}.{name}" if key else str(name), levels + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, key, levels + 1)


def _require_plain(value: Any, about: str) -> None:
    """Raise ValueError for a value that no flag can have."""
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(
                    f"{about}: keys are names of flags, found {name!r:.40}; quote it if it is one"
                )
    elif not isinstance(value, (list, str, int, float)):
        # Null, a date, bytes: none of them is what a flag would be given.
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise ValueError(
            f"{about}: expected a text, a number, true or false, found {kind}; "
            "quote it, or leave the key out"
        )


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=without_repeats)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without repeated keys and without merges that grow for ever."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping; raise where a key is there twice."""
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            # `<<` may come again: each merges another mapping.
            if key.value in keys and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r:.40} is there twice",
                    problem_mark=key.start_mark,
                )
            if isinstance(key.value, str):
                keys.add(key.value)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names; raise where merges of merges have no end."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                problem="too many values by `<<`",
                problem_mark=node.start_mark,
            )


def _read_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506, a safe loader


READERS: dict[str, Callable[[str], Any]] = {
    ".json": _read_json,
    ".toml": tomllib.loads,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
