"""Settings files: JSON, TOML or YAML with flags as keys, read strictly and with bounds.

A small file asks for little: no aliases (a few lines of them are gigabytes), few levels, no kinds
of values but those that a flag has.
"""

import json
import tomllib
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

# Far above any file of settings or study, far below what makes a reader slow.
MOST_BYTES = 1_000_000
# Levels of a value: `ist.steps` in a group of a study's cells is the third.
MOST_LEVELS = 8


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
    _require_plain(settings, where, "", MOST_LEVELS)
    return settings


def _require_plain(value: Any, where: str, key: str, levels: int) -> None:
    """Raise ValueError for a value that no flag can have; levels: that it may still have."""
    about = f" at {key}" if key else ""
    if levels == 0:
        raise ValueError(f"{where}{about}: more than {MOST_LEVELS} levels; no flag has so many")
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise ValueError(
                    f"{where}{about}: keys are names of flags, found {name!r:.40}; quote it if "
                    "it is one"
                )
            _require_plain(inner, where, f"{key}.{name}" if key else name, levels - 1)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, where, key, levels - 1)
    elif not isinstance(value, (str, int, float)):
        # Null, a date, bytes: none of them is what a flag would be given.
        kind = "nothing" if value is None else f"a {type(value).__name__}"
        raise ValueError(
            f"{where}{about}: expected a text, a number, true or false, found {kind}; "
            "quote it, or leave the key out"
        )


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a mapping; JSON's own reader would take the last of equal keys."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.40} is there twice")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases and without repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Read the next node; raise where it is an alias."""
        # Checked before a node is built: what an alias repeats may itself be aliases.
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(
                problem="aliases (*name) are not read, write the value out",
                problem_mark=mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Read a mapping; raise where a key is there twice."""
        keys = set()
        for key_node, _ in node.value:
            key = (key_node.tag, str(key_node.value))
            if key in keys:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key_node.value!r:.40} is there twice",
                    problem_mark=key_node.start_mark,
                )
            keys.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506, a safe loader


READERS: dict[str, Callable[[str], Any]] = {
    ".json": _read_json,
    ".toml": tomllib.loads,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
