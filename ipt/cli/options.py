"""The options that several verbs share, and settings that come before a command line's own flags.

Order: default < preset < recipe < --config file < flag.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.config import Json, Toml, Yaml

from ipt.config import (
    DEVICE,
    DRY_RUN,
    OUT,
    PARTS,
    PRESETS,
    RECIPE,
    RECIPES,
    ChoiceConfig,
    IstConfig,
    MsfConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
)

Flat = Parameter(name="*")  # a dataclass whose fields are flags without a prefix
Work = Annotated[WorkConfig, Flat]
Source = Annotated[SourceConfig, Flat]
Choice = Annotated[ChoiceConfig, Flat]
Tune = Annotated[TuneConfig, Flat]
Msf = Annotated[MsfConfig, Flat]
Ist = Annotated[IstConfig, Flat]
Out = Annotated[Path, Parameter(help=OUT)]
Device = Annotated[str, Parameter(help=DEVICE)]
DryRun = Annotated[bool, Parameter(help=DRY_RUN)]
Recipe = Annotated[Literal["ours", "paper"], Parameter(help=RECIPE)]
Name = Annotated[
    str,
    Parameter(help="name of the run folder; chosen from the settings where empty"),
]
PartName = Literal["same", "diff", "unseen", "random", "pca", "mixture"]
Parts = Annotated[tuple[PartName, ...], Parameter(name="--part", help=PARTS)]
SummaryFile = Annotated[Path | None, Parameter(help="write the means as a small JSON summary")]


def flags_before(words: Sequence[str]) -> list[str]:
    """Return the flags that preset, recipe and --config file add to a command line which does not have them itself."""
    verb = words[0] if words else ""
    preset = PRESETS[value_of(words, "--preset") or "default"].get(verb, {})
    recipe = RECIPES[value_of(words, "--recipe") or "ours"].get(verb, {})
    return _flags(preset | recipe | config_file(words), words)


def value_of(words: Sequence[str], flag: str) -> str | None:
    """Return a flag's value before the flags are parsed, as presets and files come before them."""
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            return known(flag, words[i + 1])
        if word.startswith(flag + "="):
            return known(flag, word.split("=", 1)[1])
    return None


def known(flag: str, value: str) -> str | None:
    """Return the value, or None where it is no preset or recipe (the parser will say so)."""
    named: dict[str, Any] = {"--preset": PRESETS, "--recipe": RECIPES}
    return value if value in named.get(flag, (value,)) else None


def config_file(words: Sequence[str]) -> dict[str, Any]:
    """Return the settings of the --config file by flag: a group of flags may be an object or a dotted key."""
    name = value_of(words, "--config")
    return {} if name is None else dotted(settings_file(Path(name), "--config"))


def settings_file(path: Path, what: str) -> dict[str, Any]:
    """Return what a JSON, TOML or YAML file holds; raise ValueError where it is none, naming the flag or argument."""
    readers: dict[str, Any] = {".json": Json, ".toml": Toml, ".yaml": Yaml, ".yml": Yaml}
    reader = readers.get(path.suffix)
    if reader is None or not path.is_file():
        raise ValueError(f"{what} must be a .json, .toml or .yaml file, found {str(path)!r}")
    return dict(reader(path.absolute(), must_exist=True).config)


def dotted(settings: dict[str, Any], lead: str = "") -> dict[str, Any]:
    """Return nested settings as one level, with dotted keys as flags have them."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= dotted(value, f"{lead}{key}.") if isinstance(value, dict) else {lead + key.replace("_", "-"): value}
    return found


def _flags(settings: dict[str, Any], words: Sequence[str]) -> list[str]:
    """Return settings as command-line words, those left out that the command line has itself."""
    found: list[str] = []
    for key, value in settings.items():
        if value_of(words, f"--{key}") is None and f"--{key}" not in words:
            for item in value if isinstance(value, list) else [value]:
                found += [f"--{key}={str(item).lower() if isinstance(item, bool) else item}"]
    return found
