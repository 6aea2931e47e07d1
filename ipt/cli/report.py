"""`ipt report`: finished runs as one HTML file.

With it come the commands that make the runs again, and those for what is missing: short ones, by
this version's presets and defaults, and those of the runs also with every setting of config.json,
so that they mean the same when a default changes.
"""

import importlib.metadata
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from ipt.cli.options import Out, preset
from ipt.config import FLAGS, IstConfig, MsfConfig, TuneConfig, tuner_text
from ipt.provenance import NOT_IN_IDENTITY, SOFT_PROMPT, from_record, to_argv
from ipt.results import PARTS, flags_of_parts
from ipt.run import chosen_run

if TYPE_CHECKING:
    from ipt.analysis.report.page import Made
    from ipt.analysis.report.views import View

# Vectors of a run at which its decoder is compared with those of other runs: few, as a tangent
# space is made anew at each.
TANGENT_POINTS = 6
RUNS = "runs of ipt ist, by name below --out or by folder; without: the newest complete one"
FILE = "HTML file to write, OUT/report.html where not given"


class TunerSettings(NamedTuple):
    """The record of a run's tuning, apart: tuning's own settings, and the tuner's."""

    tune: dict[str, Any]
    name: str
    settings: dict[str, Any]

    @property
    def text(self) -> str:
        """What --tuner calls it, as `ipt.tuners.parse_tuner` reads it."""
        return tuner_text(self.name, self.settings)


class Missing(NamedTuple):
    """What the runs do not tell, and the commands that would."""

    what: str
    commands: list[str]
    time: str = ""
    """How long they take by the present run's own stages; empty where it does not say."""


def report(
    *runs: Annotated[Path, Parameter(help=RUNS)],
    out: Out = Path("runs"),
    file: Annotated[Path | None, Parameter(help=FILE)] = None,
) -> None:
    """Write one HTML page about runs: figures, tables, settings, and what is missing.

    Several runs stand side by side.
    """
    from ipt.analysis.report.page import write_page
    from ipt.analysis.report.views import read_views

    # Found and read before anything is drawn: a wrong name is one error.
    folders = []
    for run in runs or (None,):
        folders.append(chosen_run(run, out).folder)
    views = with_tangents(read_views(folders))
    path = file or out / "report.html"
    if path.suffix != ".html":
        raise ValueError(f"--file must end with .html, found {path}")

    # Commands and what is missing are words of the command line: the page takes them as texts.
    made = made_of(views)
    # A page has a folder of figures beside it: both must be writable.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = write_page(views, made, missing(views), path)
    except OSError as error:
        raise ValueError(
            f"--file {path} cannot be written ({error.strerror}); choose another"
        ) from error
    print(f"report: {path}\nfigures: {figures}")


def with_tangents(views: "list[View]") -> "list[View]":
    """Return several views with tangent spaces of their decoders, a single view as it is."""
    # A run alone has nothing to compare, and a page of one needs no torch.
    if len(views) == 1:
        return views
    import torch

    from ipt.analysis.geometry import tangent_bases
    from ipt.methods.subspace import Subspace

    views_with = []
    for view in views:
        # Angles between nearly equal spaces are lost in single precision.
        subspace = Subspace.load(view.msf.folder / "subspace").double()

        # [U, d] -> [U, n h]; the subspace is bound now, as the loop goes on to the next.
        def decode(vectors: Any, subspace: Subspace = subspace) -> Any:
            with torch.no_grad():
                return subspace.decode(torch.as_tensor(vectors).double()).flatten(1).numpy()

        # Points of the whole run, evenly spaced in the order of tasks.
        vectors = view.points.vectors
        step = max(1, len(vectors) // TANGENT_POINTS)
        try:
            tangents = tangent_bases(decode, vectors[::step][:TANGENT_POINTS])
        except ValueError:
            # Fewer directions than d: there are no d angles to compare.
            views_with.append(view)
        else:
            views_with.append(replace(view, tangents=tangents))
    return views_with


def stage_settings(kind: type, record: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's settings by flag, those of an older run that it does not name as well."""
    config: Any = from_record(kind, record)
    settings = asdict(config)
    # How much is done at once is the reader's machine, not the run.
    for name in NOT_IN_IDENTITY:
        del settings[name]
    return settings


def tuner_of(record: Mapping[str, Any]) -> TunerSettings:
    """Return what a run's record of tuning says of tuning and of its tuner.

    It stays a record: a tuner is made with torch, which commands do not need.
    """
    tune = dict(record)
    # The head is a flag beside the tuner's.
    tune.pop("head", None)
    settings = dict(tune.pop("tuner", {}))
    name = settings.pop("name", SOFT_PROMPT)
    # The length of a soft prompt stands beside tuning's settings.
    if "prompt_length" in tune:
        settings["prompt_length"] = tune.pop("prompt_length")
    return TunerSettings(tune, name, settings)


def tuner_summary(tune: Mapping[str, Any], numbers: int | None) -> dict[str, Any]:
    """Return the tuner of a record of tuning as a summary has it.

    numbers: P, those that are tuned for a task; None: not known.
    """
    tuner = tuner_of(tune)
    return {
        "name": tuner.name,
        "settings": tuner.settings,
        "text": tuner.text,
        "numbers": numbers,
    }


def command(verb: str, settings: dict[str, Any]) -> str:
    """Return a verb with its flags as a line."""
    # Quoted for a shell: names of splits, folders and models may hold spaces.
    return shlex.join(["ipt", verb, *to_argv(settings)])


def msf_command(view: "View", name: str, **changes: Any) -> str:
    """Return the command of a view's MSF run, as a run of this name, some settings changed."""
    return command("msf", shortened("msf", msf_settings(view, name, **changes)))


def msf_settings(view: "View", name: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a view's MSF run by flag, as a run of this name, some changed."""
    record = view.msf.settings | changes
    settings = {"tasks": record.get("tasks", record["split"])}
    # Otherwise the split was drawn, or listed in a file.
    is_named_split = record.get("tasks") == record["split"]
    if not is_named_split:
        settings["seen"] = len(record["parts"]["seen"])
        settings["unseen"] = len(view.unseen)
    # Older runs do not name all of these; what they do not name has its default.
    for key in ("model", "dtype", "seed", "limit", "held_out", "as_published"):
        if record.get(key):
            settings[key] = record[key]
    if record.get("given"):
        # The digest of these prompts is recorded, their folder is not.
        settings["prompts"] = "FOLDER"

    if "head" in record["tune"]:
        settings["head"] = record["tune"]["head"]
    tuner = tuner_of(record["tune"])
    settings["tuner"] = tuner.text
    settings |= stage_settings(MsfConfig, record["msf"])
    # Prompt tuning's flags have a prefix in `ipt msf`, as steps and rates are MSF's own.
    for key, value in stage_settings(TuneConfig, tuner.tune).items():
        settings[f"tune.{key}"] = value
    return settings | {"out": view.folder.parent, "run": name}


def ist_command(
    view: "View",
    run: str,
    parts: Sequence[str] = (),
    verb: str = "ist",
    **changes: Any,
) -> str:
    """Return the command of a view's IST run in the subspace of an MSF run.

    run: name of the MSF run.
    parts: parts of IST to do; none: all.
    changes: settings that differ from the view's.
    """
    return command(verb, shortened(verb, ist_settings(view, run, parts, **changes)))


def ist_settings(
    view: "View",
    run: str,
    parts: Sequence[str] = (),
    **changes: Any,
) -> dict[str, Any]:
    """Return the settings of `ist_command` by flag."""
    record = view.ist.settings | changes
    settings: dict[str, Any] = {"dim": view.dim}
    if record["limit"]:
        settings["limit"] = record["limit"]
    settings |= stage_settings(IstConfig, record["ist"])
    return settings | {**flags_of_parts(parts), "out": view.folder.parent, "run": run}


def made_of(views: "Sequence[View]") -> "Made":
    """Return the commands that make the runs again, short and in full, and how to name the runs."""
    from ipt.analysis.report.page import Made

    short = []
    full = []
    names = []
    for view in views:
        name = view.ist.settings["msf_run"]
        scores = view.ist.result.scores
        parts = [part for part, condition in PARTS.items() if condition.name in scores]
        if len(parts) == len(PARTS):
            parts = []
        stages = {"msf": msf_settings(view, name), "ist": ist_settings(view, name, parts)}
        for verb, settings in stages.items():
            full.append(command(verb, settings))
            short.append(command(verb, shortened(verb, settings)))
        digest = view.summary["digest"][:12]
        names.append(f"{view.folder.name} ({view.label}; scores {digest})")
    version = importlib.metadata.version("intrinsic-prompt-tuning")
    return Made(short, full, f"intrinsic-prompt-tuning {version}, {'; '.join(names)}")


def shortened(verb: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without what the verb does anyway, with the preset that saves most."""
    best = settings
    for name in ("default", "quick", "paper"):
        defaults = _defaults(verb) | _flat(preset(name).get(verb, {}))
        rest = {} if name == "default" else {"preset": name}
        for key, value in settings.items():
            if key not in defaults or defaults[key] != value:
                rest[key] = value
        if len(rest) < len(best):
            best = rest
    # Which tasks comes first, where the run lies last.
    order = ["tasks", "dim", "preset"]
    return {key: best[key] for key in sorted(best, key=lambda key: (key not in order, 0))}


def _defaults(verb: str) -> dict[str, Any]:
    """Return the flags of a verb at the values that it has without them."""
    if verb != "msf":
        return asdict(IstConfig()) | {"on": [], "against": []}
    found = asdict(MsfConfig()) | {"model": "mini", "dtype": "float32", "seed": 42}
    for key, value in asdict(TuneConfig()).items():
        found[f"tune.{key}"] = value
    # The size is what a reader looks for.
    del found["dim"]
    return found


def _flat(table: Mapping[str, Any], lead: str = "") -> dict[str, Any]:
    """Return a preset's table for a verb by field, as settings are called."""
    fields = {name: field for field, name in FLAGS.items()}
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{key}.")
        else:
            flat[lead + fields.get(key, key.replace("-", "_"))] = value
    return flat


def missing(views: "Sequence[View]") -> list[Missing]:
    """Return what the runs do not tell, each with the commands that would."""
    # In the order in which a reader would miss them: conditions, rows, seeds, then the rest.
    found = []
    for view in views:
        own = [
            *_missing_parts(view),
            *_missing_rows(view),
            *_missing_seeds(view, views),
            *_missing_stability(view),
            *_missing_probe(view),
        ]
        for item in own:
            # Of several runs each line says of which it is.
            what = f"{view.label}: {item.what}" if len(views) > 1 else item.what
            found.append(item._replace(what=what))
    return found


def _missing_parts(view: "View") -> Iterator[Missing]:
    for part, condition in PARTS.items():
        # A split without unseen tasks misses nothing of them.
        has_tasks = condition.tasks == "seen" or bool(view.unseen)
        if has_tasks and condition.name not in view.by_condition:
            command = ist_command(view, view.ist.settings["msf_run"], [part])
            yield Missing(condition.absence, [command])


def _missing_rows(view: "View") -> Iterator[Missing]:
    # A look at few rows, or a choice on dev sets: neither is a result.
    for record in (view.msf.settings, view.ist.settings):
        if record["limit"] or record.get("held_out", "test") != "test":
            break
    else:
        return
    # Under another name, so that the run of few rows stays.
    name = f"{view.ist.settings['msf_run']}-all-rows"
    commands = [
        msf_command(view, name, limit=0, held_out="test"),
        ist_command(view, name, limit=0),
    ]
    yield Missing("Scores on all rows of the test sets", commands)


def _missing_seeds(view: "View", views: "Sequence[View]") -> Iterator[Missing]:
    seed = view.ist.settings["seed"]
    for other in views:
        # Seeds are compared on one split and d: another run with those shows the spread.
        same_split = other.ist.settings["split"] == view.ist.settings["split"]
        same_dim = other.dim == view.dim
        if same_split and same_dim and other.ist.settings["seed"] != seed:
            return
    name = f"{view.ist.settings['msf_run']}-seed{seed + 1}"
    commands = [msf_command(view, name, seed=seed + 1), ist_command(view, name)]
    yield Missing("Further seeds: this page shows one", commands, _time_of(view))


def _time_of(view: "View") -> str:
    """Return how long the stages of both runs took; empty where their metrics do not say."""
    seconds = 0.0
    for lines in view.losses.values():
        last = [line["seconds"] for line in lines if "stage" in line and line.get("seconds")]
        if last:
            seconds += max(last)
    if not seconds:
        return ""
    return f"about {max(1, round(seconds / 60))} min, as this run's stages"


def _missing_stability(view: "View") -> Iterator[Missing]:
    if view.unseen and not view.stability:
        command = ist_command(view, view.ist.settings["msf_run"], verb="stability")
        yield Missing("How much unseen tasks’ scores depend on the seed", [command])


def _missing_probe(view: "View") -> Iterator[Missing]:
    if view.probe is None and view.dim > 1:
        argv = ["ipt", "probe", view.folder.name, "--out", str(view.folder.parent)]
        what = "The loss around a task’s numbers, and what they do for other tasks"
        yield Missing(what, [shlex.join(argv)])
