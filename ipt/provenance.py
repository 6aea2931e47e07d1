"""What identifies a run and a tuned delta: the settings that a result depends on, as JSON.

A run folder is opened again only with equal settings; a bank's folder is named after a hash of its
settings. Both are written as older versions wrote them, so that old runs and banks are found.
"""

import json
import os.path
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ipt.config import TuneConfig, WorkConfig, flag
from ipt.data import SAME_DATA_SEED, TaskSplit, digest_of
from ipt.run import Run, digest_of_settings

if TYPE_CHECKING:
    # Not imported otherwise: a page about runs needs no torch.
    from ipt.experiment import Experiment
    from ipt.tuners.base import Tuner

Config = TypeVar("Config")
Record = dict[str, Any]

# Settings that say only how much is done at once: they change the rounding of sums, and no run is
# named after them (docs/scaling.md says how far results move).
NOT_IN_IDENTITY = ("stacked_jobs", "token_budget", "checkpoint_seconds")
# Settings that older runs do not name, and the value that they had. A record leaves them out at
# that value, so that it equals an older one.
LEGACY_DEFAULTS: Record = {
    "loss": "mean",
    "label_smoothing": 0.0,
    "codes": "standard",
    "pruning": "none",
    "starts": 1,
    "rates_tried": 0,
    "delta_start": "own",
}
# Values under a name that a setting once had.
LEGACY_PRUNING = {"halve": "halving", "all": "none"}
# The one tuner that older versions had; they name its length beside tuning's settings.
SOFT_PROMPT = "soft-prompt"
LANGUAGE_MODEL = "language-model"
# What a run's settings must name, so that it can be opened again.
REQUIRED = {
    "split",
    "parts",
    "tasks",
    "digests",
    "model",
    "dtype",
    "tune",
    "backbone",
    "seed",
    "limit",
}


def to_record(config: Any) -> Record:
    """Return the fields of a configuration that a result depends on."""
    record = {}
    for name, value in asdict(config).items():
        # A setting that older versions did not have changes no name of an older run or bank.
        is_legacy_default = name in LEGACY_DEFAULTS and value == LEGACY_DEFAULTS[name]
        if name not in NOT_IN_IDENTITY and not is_legacy_default:
            record[name] = value
    if "pruning" in record:
        record["rivals"] = _legacy_pruning(record.pop("pruning"))
    return record


def from_record(kind: type[Config], record: Mapping[str, Any]) -> Config:
    """Return the configuration of a record that `to_record` made, also in an older version."""
    # The values that a record leaves out may differ from today's defaults, so they go first.
    values = {}
    for config_field in fields(cast(Any, kind)):
        name = config_field.name
        if name in LEGACY_DEFAULTS:
            values[name] = LEGACY_DEFAULTS[name]
    for name, value in record.items():
        # JSON has no tuples, and the configurations no lists.
        values[name] = tuple(value) if isinstance(value, list) else value
    if "rivals" in values:
        values["pruning"] = LEGACY_PRUNING[values.pop("rivals")]
    return kind(**values)


def _legacy_pruning(value: str) -> str:
    """Return the older name of a value of `pruning`, which records keep."""
    for older, present in LEGACY_PRUNING.items():
        if present == value:
            return older
    raise KeyError(value)


def tuner_to_record(tuner: "Tuner", record: Record) -> Record:
    """Return a record of `TuneConfig` with the tuner beside it."""
    settings = asdict(cast(Any, tuner))
    # Beside tuning's own settings, as older runs have it: their banks keep their names.
    if tuner.name == SOFT_PROMPT:
        return record | settings
    named = {"name": tuner.name} | settings
    return record | {"tuner": named}


def tune_from_record(record: Mapping[str, Any]) -> "tuple[TuneConfig, Tuner]":
    """Return the tuning's configuration and the tuner of a record that `tuner_to_record` made."""
    # A record without a tuner has the one that older versions had.
    values = dict(record)
    values.pop("head", None)
    settings = values.pop("tuner", {"name": SOFT_PROMPT})
    if "prompt_length" in values:
        settings["prompt_length"] = values.pop("prompt_length")
    tuner = dict(settings)
    return from_record(TuneConfig, values), tuner_from_record(tuner)


def tuner_from_record(record: Mapping[str, Any]) -> "Tuner":
    """Return the tuner with this name and these settings; raise ValueError where there is none."""
    from ipt.tuners import TUNERS  # late: it imports torch

    name = record["name"]
    if name not in TUNERS:
        raise ValueError(f"there is no tuner {name!r}; there are {', '.join(TUNERS)}")
    settings = {}
    for key, value in record.items():
        if key != "name":
            settings[key] = tuple(value) if isinstance(value, list) else value
    return TUNERS[name](**settings)


def tune_record(experiment: "Experiment") -> Record:
    """Return what a tuned delta depends on beside model and data: tuning's settings, the tuner."""
    record = tuner_to_record(experiment.model.tuner, to_record(experiment.tune))
    # Older runs have a language model's only, and do not name it.
    head = experiment.model.head
    if head.name != LANGUAGE_MODEL:
        record["head"] = head.description
    return record


def bank_record(experiment: "Experiment", data_seed: int) -> Record:
    """Return what identifies the deltas of a data seed."""
    record = {
        "backbone": experiment.backbone.fingerprint,
        "tune": tune_record(experiment),
        "seed": experiment.seed,
        "data_seed": data_seed,
    }
    # A shared start is made of all tasks of the split.
    if experiment.tune.delta_start == "shared":
        record["shared"] = digest_of(experiment.tasks_named(experiment.split.all))
    # Deltas that were tuned elsewhere are of the first data seed; the other's bank is shared with
    # runs that were given none.
    if experiment.given.digest and data_seed == SAME_DATA_SEED:
        record["given"] = experiment.given.digest
    return record


def settings_record(kind: str, experiment: "Experiment", more: Record) -> Record:
    """Return what identifies a run, in JSON's types; more: of its own stage."""
    work = experiment.work
    given = experiment.given
    # Names say what to load again; fingerprint and digests say whether it is still the same.
    digests = {name: task.digest for name, task in sorted(experiment.tasks.items())}
    record: Record = {
        "kind": kind,
        "split": experiment.split.name,
        "tasks": work.tasks,
        "parts": split_parts(experiment.split),
        "model": experiment.backbone.name,
        "dtype": experiment.backbone.dtype,
        "seed": work.seed,
        "limit": work.limit,
        "backbone": experiment.backbone.fingerprint,
        "tune": tune_record(experiment),
        "digests": digests,
    }
    # Older runs do not name these.
    if work.as_published:
        record["as_published"] = True
    if work.held_out != "test":
        record["held_out"] = work.held_out
    # As typed above, as older runs have it; a later command may be given elsewhere.
    if experiment.paths:
        record["paths"] = dict(experiment.paths)
    if given.names:
        record["given"] = {"names": given.names, "digest": given.digest}
    # Through JSON: what is compared with a folder's config.json must have its types.
    text = json.dumps(record | more)
    return dict(json.loads(text))


def split_parts(split: TaskSplit) -> dict[str, list[str]]:
    """Return the tasks of a split by part."""
    parts = {}
    for part in ("seen", "unseen", "out_of_kind", "new_subcategories"):
        names = getattr(split, part)
        parts[part] = list(names)
    return parts


def require_settings(settings: Record) -> None:
    """Raise ValueError where a run's settings do not say what opening it again needs."""
    missing = sorted(REQUIRED - settings.keys())
    if missing:
        raise ValueError(
            "the run was made by another version of ipt: its settings do not name "
            f"{', '.join(missing)}; run `ipt msf` again"
        )


def work_from_record(settings: Record) -> WorkConfig:
    """Return what a run worked on, from its settings."""
    # Without device and folder, which are this command's own; older runs do not name all.
    return WorkConfig(
        tasks=settings["tasks"],
        as_published=settings.get("as_published", False),
        model=settings["model"],
        dtype=settings["dtype"],
        seed=settings["seed"],
        limit=settings["limit"],
        held_out=settings.get("held_out", "test"),
        head=settings["tune"].get("head", LANGUAGE_MODEL),
    )


def digest(settings: Record) -> str:
    """Return the short hash that ends a run's name."""
    return digest_of_settings(settings)[:8]


def located(settings: Record, setting: str) -> str:
    """Return tasks or model of a run as they can be opened from any folder."""
    path = settings.get("paths", {}).get(setting, "")
    # Where all was moved together, the name as it was typed may still do.
    return path if os.path.exists(path) else settings[setting]


def source_record(source: Run) -> dict[str, str]:
    """Return what identifies the MSF run that a run was made from.

    Its name, and for a name given with --run also its settings: a folder with a given name can be
    made again with other settings; a name chosen from the settings ends with their digest.
    """
    name = source.folder.name
    settings = digest(source.config)
    if name.endswith(settings):
        return {"msf_run": name}
    return {"msf_run": name, "msf_settings": settings}


def subspace_record(source: Run) -> dict[str, str]:
    """Return the sha256 of the subspace that a run is made in, where the MSF run has one."""
    found = source.subspace_digest
    return {} if found is None else {"subspace": found}


def to_argv(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as flags, in their order.

    settings: values by field or by flag without its dashes, such as `tune.steps`. A list is a flag
    given once for each item, a truth value a flag alone; None is left out.
    """
    argv = []
    for name, value in settings.items():
        said = "--" + ".".join(map(flag, name.split(".")))
        # A flag that is not said keeps its default.
        if value is None:
            continue
        if isinstance(value, bool):
            # A value of its own would be the next argument.
            argv.append(said if value else f"{said}=false")
            continue

        items = value if isinstance(value, (list, tuple)) else [value]
        for item in items:
            argv += [said, str(item)]
    return argv
