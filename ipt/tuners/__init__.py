"""What is tuned for one job, and where it acts: one file a tuner, one line here."""

from dataclasses import Field, fields
from typing import Any, cast

from ipt.tuners.base import Tuner
from ipt.tuners.soft_prompt import SoftPrompt

TUNERS: dict[str, type[Tuner]] = {
    SoftPrompt.name: SoftPrompt,
}


def parse_tuner(text: str) -> Tuner:
    """Return the tuner that `--tuner` describes: NAME, or NAME:setting=value,setting=value.

    Settings are the fields of the tuner's dataclass; several values of one have a + between them.
    Raises ValueError for an unknown name or setting, and for a value of another kind.
    """
    name, _, described = text.partition(":")
    if name not in TUNERS:
        raise ValueError(f"--tuner must be one of {', '.join(TUNERS)}, found {name!r}")
    tuner = TUNERS[name]
    known = {field.name: field for field in fields(cast(Any, tuner))}
    settings = {}
    for item in filter(None, described.split(",")):
        key, equals, value = item.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or key not in known:
            raise ValueError(
                f"--tuner {name}: expected setting=value with one of {', '.join(known)}, "
                f"found {item!r}"
            )
        settings[key] = _value_of(known[key], value.strip(), name)
    return tuner(**settings)


def _value_of(field: Field[Any], text: str, name: str) -> Any:
    """Return a setting's value, of the kind that its default has."""
    default: Any = field.default
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(default, tuple):
            of_part = type(default[0]) if default else str
            return tuple(of_part(part) for part in text.split("+"))
        return type(default)(text)
    except (ValueError, KeyError) as error:
        kind = type(default).__name__
        raise ValueError(
            f"--tuner {name}: {field.name} must be of the kind {kind}, found {text!r}"
        ) from error
