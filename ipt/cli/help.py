"""What `--help` shows: a few flags, `--help-all` all of them, both in groups; verbs as a pipeline.

One table says which flags are a verb's most used, another which group each of the others is in. A
verb without an entry shows all of its flags.
"""

from typing import Any, cast

from cyclopts import App, Argument, ArgumentCollection, Group, Parameter
from cyclopts.help import DefaultFormatter, HelpPanel

from ipt.config import flag

HELP_ALL = "--help-all"
TUNER = "Tuner"
# Verbs in the order of work; what is not named here is in the last group.
PIPELINE = {
    "1 Find a subspace": ("tune", "msf"),
    "2 Tune in it": ("ist", "stability"),
    "3 Look and use": ("runs", "explore", "report", "probe", "predict", "export"),
    "Tasks and models": ("tasks", "score", "convert", "pretrain"),
    "Many runs, speed": ("study", "bench"),
}
OTHER = "Others"

CHOICE = ("--run", "--dim", "--seed")
PLACE = ("--preset", "--recipe", "--test-rows", "--device", "--out", "--dry-run")
MOST_USED = {
    "tune": (
        *("--tasks", "--model", "--tuner", "--steps", "--learning-rates", "--shots"),
        *("--seed", "--more-seeds", "--preset", "--test-rows", "--device", "--out"),
        *("--file", "--dry-run"),
    ),
    "msf": (
        *("--tasks", "--model", "--tuner", "--dim", "--steps", "--tune.steps", "--tune.shots"),
        *("--seed", *PLACE, "--run"),
    ),
    "ist": ("--on", "--against", "--restarts", "--steps", *CHOICE, *PLACE),
    "stability": ("--runs", "--restarts", "--steps", *CHOICE, *PLACE, "--file"),
    "bench": (
        *("--tuner", "--search-cost", "--jobs", "--jobs-grown", "--model", "--device"),
        *("--out", "--file"),
    ),
    "pretrain": ("--out", "--text", "--config", "--minutes", "--seed"),
}
# The others, by what they are about; in `ipt msf` tuning's own begin with --tune.
GROUPS = {
    "Tasks": ("--tasks", "--as-published", "--seen", "--unseen", "--held-out", "--prompts"),
    "Model": ("--model", "--dtype", "--head"),
    "Subspace": ("--alpha", "--inner-width", "--sampling", "--codes"),
    "Execution": (
        *("--config", "--run", "--out", "--file", "--recipe", "--by", "--track", "--track-tasks"),
        *("--stacked-jobs", "--token-budget", "--checkpoint-seconds"),
        *("--tune.stacked-jobs", "--tune.token-budget", "--tune.checkpoint-seconds"),
    ),
}
TUNING = "Tuning of the deltas (msf)"
SEARCH = "Search"
ORDER = ("Most used", "Tasks", "Model", TUNER, "Subspace", SEARCH, TUNING, "Execution")
# By name; numbers put them in this order.
FLAG_GROUPS = {name: Group(name, sort_key=place) for place, name in enumerate(ORDER)}
MOST_USED_GROUP = FLAG_GROUPS["Most used"]
VERB_GROUPS = {name: Group(name, sort_key=place) for place, name in enumerate((*PIPELINE, OTHER))}


def verb_group(verb: str) -> Group:
    """Return the group that a verb stands in on the page of `ipt --help`."""
    for name, verbs in PIPELINE.items():
        if verb in verbs:
            return VERB_GROUPS[name]
    return VERB_GROUPS[OTHER]


def verb_place(verb: str) -> int:
    """Return the place of a verb within its group."""
    for verbs in PIPELINE.values():
        if verb in verbs:
            return verbs.index(verb)
    return 0


def flag_group(verb: str, name: str) -> Group | None:
    """Return the group of a verb's flag; None where the verb shows all flags in one."""
    if verb not in MOST_USED:
        return None
    if name in MOST_USED[verb]:
        return MOST_USED_GROUP
    for group, flags in GROUPS.items():
        if name in flags:
            return FLAG_GROUPS[group]
    return FLAG_GROUPS[TUNING if name.startswith("--tune.") else SEARCH]


NAMED = Parameter(name_transform=flag)


class VerbApp(App):
    """A verb, or the whole command: flags have their names, their groups and no negatives."""

    def assemble_argument_collection(self, **options: Any) -> ArgumentCollection:
        """Return the arguments of the verb; options: as of the base class."""
        # Some flags have another name than the field that they set.
        given = Parameter.combine(options.pop("default_parameter", None), NAMED)
        arguments = super().assemble_argument_collection(default_parameter=given, **options)
        for argument in arguments:
            argument.parameter = Parameter.combine(
                argument.parameter,
                _plain(argument),
                self._in_group(argument),
            )
        return arguments

    def _in_group(self, argument: Argument) -> Parameter | None:
        # Those of tuners come with their group.
        group = flag_group(self.name[0], argument.name)
        if any(present == FLAG_GROUPS[TUNER] for present in cast(Any, argument.parameter.group)):
            return None
        return None if group is None else Parameter(group=group)


def _plain(argument: Argument) -> Parameter:
    """Return what leaves out --no-FLAG, --empty-FLAG and a default that says nothing."""
    default = argument.field_info.default
    # What is on can be switched off.
    if default is True:
        return Parameter(negative_iterable=())
    if default is False or default in ("", ()):
        return Parameter(negative=(), show_default=False)
    return Parameter(negative=())


class HelpFormatter(DefaultFormatter):
    """Draws the panels of a help page: only the most used flags, unless all are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.shows_all = False
        self.left_out = 0

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Draw a panel, or count the flags that it would show."""
        is_short = panel.title in (MOST_USED_GROUP.name, *PIPELINE, OTHER)
        if self.shows_all or is_short or panel.title not in ORDER:
            super().__call__(console, options, panel)
        else:
            self.left_out += len(panel.entries)


HELP = HelpFormatter()
