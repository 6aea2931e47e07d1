"""The options that several verbs share, and settings that come before a command line's own flags.

Order: default < preset < recipe < --config file < flag. The parser calls `apply_files` after it has
read the flags; each file then fills what is not set yet.
"""

import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import (
    App,
    ArgumentCollection,
    CycloptsError,
    Parameter,
    Token,
    UnknownOptionError,
)
from cyclopts.config import Dict

from ipt.cli.settings import settings_file
from ipt.config import (
    AGAINST,
    DEVICE,
    DRY_RUN,
    FLAGS,
    ON,
    OUT,
    RECIPE,
    ChoiceConfig,
    IstConfig,
    MsfConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
)
from ipt.progress import is_main_process

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
    Parameter(help="name of the run folder; made from the settings where not given"),
]
# Spelled out, as the parser takes choices from a type: the parts of `ipt.results.PARTS`.
OnName = Literal["seen", "seen-other-data", "unseen"]
AgainstName = Literal["random-start", "random", "pca", "mixture"]
PartName = Literal["same", "diff", "unseen", "random-start", "random", "pca", "mixture"]


def split_names(kind: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    """Return the names that a flag lists, with commas or given several times.

    Raises ValueError for one that is no choice of the flag.
    """
    (choices, _) = get_args(kind)
    names: list[str] = []
    for token in tokens:
        for name in token.value.split(","):
            if name.strip() not in get_args(choices):
                raise ValueError(
                    f"{token.keyword or token.source} must be one or more of "
                    f"{', '.join(get_args(choices))}, found {name.strip()!r:.40}"
                )
            names.append(name.strip())
    return tuple(names)


On = Annotated[tuple[OnName, ...], Parameter(help=ON, converter=split_names)]
Against = Annotated[tuple[AgainstName, ...], Parameter(help=AGAINST, converter=split_names)]
# The name that both had together.
Parts = Annotated[tuple[PartName, ...], Parameter(name="--part", show=False)]
TRACK = "also send the stages' curves to this tracker, once for each; docs/tracking.md"
TrackerName = Literal["tensorboard", "trackio", "wandb"]
Track = Annotated[
    tuple[TrackerName, ...],
    Parameter(name="--track", help=TRACK),
]


@dataclass(frozen=True)
class PartFlags:
    """Which tasks are tuned, and against which rivals."""

    on: On = ()
    against: Against = ()
    part: Parts = ()


@dataclass(frozen=True)
class RunFlags:
    """What a run is called, and where its curves are sent."""

    run: Name = ""
    track: Track = ()


BY = "groups of tasks below each setting of the table; all: every setting"
By = Annotated[Literal["settings", "kind", "subcategory", "all"], Parameter(help=BY)]
SummaryFile = Annotated[Path | None, Parameter(help="write the means as a small JSON summary")]

MOST_SAID = 1000  # characters of a message, more than any needs
FOLDER_FLAGS = ("--out", "--to")
# Verbs whose --to is a file.
TO_FILE = (("plane",), ("explore",))
# Files of ipt/presets; `default` and `ours` have none.
PRESETS = ("quick", "paper", "paper-adapter")
# Flags that are errors under their old name.
RENAMED_FLAGS = {
    "rivals": "pruning",
    "race": "search-cost",
    "race-tasks": "search-cost-tasks",
}
# Verbs that had another name, by the verb before them: old, new.
RENAMED_VERBS = {"tasks": ("export", "write"), "runs": ("export", "summary")}
LAST_RELEASE = "0.3"  # the first without the old names


# Once for a command line, however often an old name is there.
@cache
def say_renamed(old: str, new: str) -> None:
    """Print, on standard error, that a name has a new one."""
    if is_main_process():
        print(f"{old} is now {new}; it goes on to work until {LAST_RELEASE}", file=sys.stderr)


def renewed(tokens: Iterable[str]) -> list[str]:
    """Return a command line with the present names of verbs and flags."""
    words = list(tokens)
    end = words.index("--") if "--" in words else len(words)
    for place, word in enumerate(words[:end]):
        # A prefix, as of --tune.steps, is kept.
        found = re.fullmatch(r"(--(?:[\w-]+\.)?)([\w-]+)(=.*)?", word, re.DOTALL)
        if found is not None and found[2] in FLAGS:
            prefix, name, value = found.groups()
            say_renamed(prefix + name, prefix + FLAGS[name])
            words[place] = prefix + FLAGS[name] + (value or "")

    if len(words) > 1 and words[0] in RENAMED_VERBS:
        old, new = RENAMED_VERBS[words[0]]
        if words[1] == old:
            say_renamed(f"ipt {words[0]} {old}", f"ipt {words[0]} {new}")
            words[1] = new
    return words


def renewed_keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a file under the present names of flags."""
    named = {}
    for key, value in settings.items():
        *prefix, name = key.split(".")
        new = ".".join([*prefix, FLAGS.get(name, name)])
        if new != key:
            say_renamed(key, new)
        named[new] = renewed_keys(value) if isinstance(value, dict) else value
    return named


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
        settings = renewed_keys(settings_file(Path(config), "--config"))
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
    require_places(arguments, ("--out",) if commands[-1:] in TO_FILE else FOLDER_FLAGS)


def require_places(
    arguments: ArgumentCollection,
    folder_flags: Sequence[str] = FOLDER_FLAGS,
) -> None:
    """Raise ValueError where a folder or file to write cannot be one, before any work.

    folder_flags: those of the verb that name a folder.
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
        is_folder = argument.name in folder_flags
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
