"""The options that several verbs share, and settings that come before a command line's own flags.

Order: default < preset < recipe < --config file < flag. The parser calls `apply_files` after it has
read the flags; each file then fills what is not set yet.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import (
    App,
    ArgumentCollection,
    CycloptsError,
    Parameter,
    UnknownOptionError,
)
from cyclopts.config import Dict

from ipt.cli.settings import settings_file
from ipt.config import (
    DEVICE,
    DRY_RUN,
    OUT,
    PARTS,
    RECIPE,
    ChoiceConfig,
    IstConfig,
    MsfConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
)

# A dataclass with this is spread over the verb: its fields are flags without a prefix. Without it
# they have the parameter's name before them, as in --tune.steps.
Flat = Parameter(name="*")
# What the verbs work on, and how each stage does it; `ipt.config` has the fields and their help.
Work = Annotated[WorkConfig, Flat]
Source = Annotated[SourceConfig, Flat]
Choice = Annotated[ChoiceConfig, Flat]
Tune = Annotated[TuneConfig, Flat]
Msf = Annotated[MsfConfig, Flat]
Ist = Annotated[IstConfig, Flat]
# Flags that several verbs share: one text of help each.
RUN = (
    "run folder, its name below --out, or a beginning or end of the name; the newest complete "
    "run where not given, and where there is none the one that comes with ipt (example)"
)
Out = Annotated[Path, Parameter(help=OUT)]
Device = Annotated[str, Parameter(help=DEVICE)]
RunName = Annotated[Path | None, Parameter(help=RUN)]
DryRun = Annotated[bool, Parameter(help=DRY_RUN)]
Recipe = Annotated[Literal["ours", "paper", "paper-adapter"], Parameter(help=RECIPE)]
Name = Annotated[
    str,
    Parameter(help="name of the run folder; chosen from the settings where empty"),
]
# Spelled out, as the parser takes choices from a type: the parts of `ipt.results.PARTS`.
PartName = Literal["same", "diff", "unseen", "random-start", "random", "pca", "mixture"]
Parts = Annotated[tuple[PartName, ...], Parameter(name="--part", help=PARTS)]
SummaryFile = Annotated[Path | None, Parameter(help="write the means as a small JSON summary")]

MOST_SAID = 1000  # characters of a message, more than any needs
FOLDER_FLAGS = ("--out", "--to")
# Files of ipt/presets; `default` and `ours` have none.
PRESETS = ("quick", "paper", "paper-adapter")
RENAMED_FLAGS = {
    "rivals": "pruning",
    "race": "search-cost",
    "race-tasks": "search-cost-tasks",
}


# Read once: a study parses two commands for each of its cells.
@cache
def preset(name: str) -> dict[str, Any]:
    """Return what a file of ipt/presets holds: settings by verb, deviations as texts.

    A name without a file, such as `default`, sets nothing.
    """
    # Known names alone, so that no other file is read whatever --preset says. The parser refuses
    # an unknown one, with the choices.
    if name not in PRESETS:
        return {}
    path = files("ipt") / "presets" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf8"))


def apply_files(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill the arguments that the command line leaves out, from --config, --recipe and --preset.

    Called by the parser with the arguments of one verb. The first file that sets an argument wins;
    a file may itself name the recipe and the preset.
    """
    config = _text_of(arguments, "--config")
    if config is not None:
        settings = settings_file(Path(config), "--config")
        # Below the verb, where cyclopts looks for its settings: at the top it would take a key
        # such as `tasks` or `tune` for the command of this name.
        fill = Dict({commands[0]: settings}, source=config)
        fill(app, commands, arguments)

    # A recipe comes before a preset: its choices are the method, those of a preset the budget.
    for flag in ("--recipe", "--preset"):
        name = _text_of(arguments, flag)
        if name is not None:
            fill = Dict(preset(name), source=f"{flag} {name}")
            fill(app, commands, arguments)
    require_whole_numbers(arguments)
    require_places(arguments)


def require_places(arguments: ArgumentCollection) -> None:
    """Raise ValueError where a folder or file to write cannot be one, before any work.

    Neither needs to exist. A folder without rights is an error where it is written, as runs that
    are complete can be read there.
    """
    for argument in arguments:
        if argument.name not in (*FOLDER_FLAGS, "--file"):
            continue
        value = argument.tokens[0].value if argument.tokens else argument.field_info.default
        if not isinstance(value, (str, Path)):
            continue
        path = Path(value)
        about = f"{argument.name} {str(path)!r}"
        # `ipt explore --to` writes a page, the others' --to a folder.
        is_folder = argument.name in FOLDER_FLAGS and path.suffix != ".html"
        if not is_folder and path.is_dir():
            raise ValueError(f"{about} is a folder; name a file in it")
        # The nearest that exists: what is missing below it is made when it is written.
        existing = path if is_folder else path.parent
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise ValueError(f"{about}: {existing} is a file and no folder; choose another")
        if not is_folder and not os.access(existing, os.W_OK):
            raise ValueError(f"{about}: {existing} cannot be written; choose another")


def require_whole_numbers(arguments: ArgumentCollection) -> None:
    """Raise ValueError where a count is given with a fraction, which the parser would round."""
    for argument in arguments:
        # Of `int | None` and `tuple[int, ...]` as of `int`.
        kinds = get_args(argument.hint) or (argument.hint,)
        if int not in kinds or float in kinds:
            continue
        for token in argument.tokens:
            whole, point, fraction = token.value.partition(".")
            if point and fraction.strip("0"):
                raise ValueError(
                    f"{argument.name} must be a whole number, found {token.value!r:.40}"
                )


def _text_of(arguments: ArgumentCollection, flag: str) -> str | None:
    """Return what the command line, or a file before, says for a flag; None where nothing."""
    for argument in arguments:
        if flag in argument.names and argument.tokens:
            return argument.tokens[0].value
    # The default of the verb is no token: nothing was said.
    return None


def renamed(error: Exception) -> str:
    """Return a sentence that names the new flag where an error is about an old one; else nothing.

    An old flag is an option of the command line, or a key of a --config file: `--tune.rivals`,
    `[tune][rivals]`.
    """
    if not isinstance(error, UnknownOptionError):
        return ""
    # The parser has an option's name as the keyword; where there is none, as the value.
    said = error.token.keyword or error.token.value
    *groups, name = re.findall(r"[a-z][a-z-]*", said.split("=")[0].replace("_", "-")) or [""]
    if name not in RENAMED_FLAGS:
        return ""
    flag = ".".join([*groups, RENAMED_FLAGS[name]])
    return f"{said.split('=')[0]} is called --{flag} now"


def sentence(error: Exception) -> str:
    """Return an error as one line; an impossible value in the configuration's own words."""
    # Dataclasses check their values in __post_init__; the parser wraps that error in its own.
    cause: BaseException = error
    if isinstance(error, CycloptsError) and isinstance(error.__cause__, ValueError):
        cause = error.__cause__
    # A message of several lines (the parser's frames, YAML's positions) becomes one.
    return renamed(error) or " ".join(str(cause).split())


def shortened(text: str) -> str:
    """Return a message without its middle where it quotes far too much of what was found."""
    if len(text) <= MOST_SAID:
        return text
    # The place stands at the start, the remedy at the end.
    half = MOST_SAID // 2
    return f"{text[:half]} ... {text[-half:]}"


def located(text: str, tokens: Sequence[str]) -> str:
    """Return a message about a flag with the flag as it was given, and the file that gave it.

    tokens: the command line.
    """
    # A setting of tuning is `--steps` for `ipt tune` and `--tune.steps` for `ipt msf`: the
    # configuration, which is the same, knows its name alone.
    named = re.match(r"--([\w-]+) ", text)
    if named is None:
        return text
    name = named[1]
    flags = [token.partition("=")[0] for token in tokens]
    if f"--{name}" in flags:
        return text
    if f"--tune.{name}" in flags:
        return f"--tune.{name}{text[named.end() - 1 :]}"
    # Not said, so a file says it; presets are ours and hold nothing that is impossible.
    for place, token in enumerate(tokens):
        option, equals, value = token.partition("=")
        if option == "--config":
            path = value if equals else " ".join(tokens[place + 1 : place + 2])
            return f"--config {path}: {text}"
    return text
