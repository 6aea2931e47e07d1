"""A study: the cells of a short file, what each depends on, and which of them are open.

A file holds groups of cells; a list is one cell per value, several lists are all their
combinations:

    [[cells]]
    name = "random"
    tasks = "random-100"
    dim = [5, 10, 100]
    seed = [42, 43, 44]
    recipe = ["paper", "ours"]
    ist.steps = 80

Keys are flags of `ipt msf` (tune.KEY: of its prompt tuning); ist.KEY are flags of `ipt ist`. Cells
that differ in their seed alone are one line of the table. Each cell is the two commands a user
would type; its figures are a small JSON file. A group with verb = "tune" is of cells that only
tune: keys are then flags of `ipt tune`, with or without `tune.` before them.

A key `protocol` beside the groups, the path of a text from the file's folder, compares all methods
by its rules (`ipt.analysis.protocol`).
"""

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from ipt.config import WIDEST, IstConfig, MsfConfig, TuneConfig, WorkConfig
from ipt.provenance import LANGUAGE_MODEL, SOFT_PROMPT, to_argv, to_record, tuner_to_record
from ipt.results import PARTS, Condition, conditions_of_parts, flags_of_parts
from ipt.run import Run
from ipt.storage import read_json

# Flags that both commands have. IST takes tasks, model and seed from the MSF run that it is given
# by name.
SHARED = ("dim", "recipe", "preset", "device", "limit", "test-rows")
# Settings of tasks and model that a cell's figures depend on: where runs lie and which device
# computes them is left out.
WORK = (
    "tasks",
    "as_published",
    "model",
    "dtype",
    "seed",
    "limit",
    "held_out",
    "seen",
    "unseen",
    "prompts",
)
# A cell's name is that of a run folder and of a file.
CELL_NAME = re.compile(r"[\w.+-]+")
DIM_IN_LINE = re.compile(r"dim \d+")
NOT_IN_NAMES = re.compile(r"[^\w.+-]+")
# Far more than anybody has time for; lists of a hundred values make millions in three lines.
MOST_CELLS = 10_000
SHOWN = 40  # names in a message
# The text by whose rules a study's methods are compared.
PROTOCOL = "protocol"
# What a cell may do, by its key `verb`: find a subspace and tune in it, or tune alone.
VERBS = ("msf", "tune")
Settings = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One MSF run and the IST run in its subspace, or tuning alone."""

    name: str
    line: str
    """Its row of the table, which cells share that differ in their seed alone."""
    settings: Settings
    """Values by flag; those of IST alone start with `ist.`."""
    verb: str = "msf"
    """One of `VERBS`."""

    @property
    def method(self) -> str:
        """Its line without d, which the cells of one curve share."""
        parts = [part for part in self.line.split(", ") if not DIM_IN_LINE.fullmatch(part)]
        return ", ".join(parts)

    @property
    def over_tasks(self) -> str:
        """Its line without its tasks, which a group may have a list of."""
        return self.line.replace(f", {self.settings.get('tasks')}", "")

    @property
    def under_protocol(self) -> str:
        """Its line without tasks and d, both of which a protocol's table has of its own."""
        return self.method.replace(f", {self.settings.get('tasks')}", "")

    @property
    def only_tunes(self) -> bool:
        """Whether it finds no subspace."""
        return self.verb == "tune"

    def tune(self, out: Path, file: Path | None = None) -> list[str]:
        """Return the tokens of its `ipt tune`; file: where the scores are written."""
        flags: Settings = {}
        for key, value in self.settings.items():
            # One spelling serves a group, whatever its cells do.
            flags[key.removeprefix("tune.")] = value
        return ["tune", *to_argv(flags), *to_argv({"out": out, "file": file})]

    def msf(self, out: Path) -> list[str]:
        """Return the tokens of its `ipt msf`."""
        flags: Settings = {}
        for key, value in self.settings.items():
            if not key.startswith("ist."):
                flags[key.removeprefix("msf.")] = value

        # Beside the cell's own flags: one that names a run itself says so twice, an error.
        place = {"run": self.name, "out": out}
        return ["msf", *to_argv(flags), *to_argv(place)]

    def ist(self, out: Path) -> list[str]:
        """Return the tokens of its `ipt ist`."""
        flags: Settings = {}
        for key, value in self.settings.items():
            if key.startswith("ist.") or key in SHARED:
                flags[key.removeprefix("ist.")] = value
        # Files of studies name the parts as the digests of their cells do.
        if "part" in flags:
            named = flags.pop("part")
            flags |= flags_of_parts([named] if isinstance(named, str) else named)

        # The run is that of `msf`: the subspace in which IST tunes.
        place = {"run": self.name, "out": out}
        return ["ist", *to_argv(flags), *to_argv(place)]

    @property
    def command(self) -> str:
        """Its commands as a user would type them."""
        # The default of --out, wherever the study put its runs.
        out = Path("runs")
        if self.only_tunes:
            return f"ipt {' '.join(self.tune(out))}"
        return f"ipt {' '.join(self.msf(out))}, then ipt {' '.join(self.ist(out))}"


class CellConfig(NamedTuple):
    """What a cell's commands say, defaults included; a cell that only tunes has no MSF and IST."""

    work: WorkConfig
    tune: TuneConfig
    msf: MsfConfig | None
    ist: IstConfig | None
    parts: Sequence[str]
    """Parts of IST; none: all."""

    def with_every_part(self) -> "CellConfig":
        """Return it with all parts of IST named where none is."""
        if self.ist is None:
            return self
        return self._replace(parts=tuple(self.parts) or tuple(PARTS))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What its IST measures."""
        return () if self.ist is None else conditions_of_parts(self.parts)


def read_cells(record: Mapping[str, Any], path: Path) -> list[Cell]:
    """Return the cells of a study.

    record: what the file holds.
    path: the file, for messages.
    Raises ValueError where it is no list of cells, or where two cells have one name.
    """
    # A key beside these would be read by nobody: most likely a flag of a group that slipped out.
    groups = record.get("cells")
    shared = record.get("shared", {})
    others = record.keys() - {"cells", "shared", PROTOCOL}
    if not isinstance(groups, list) or not groups or not isinstance(shared, dict) or others:
        keys = ", ".join(record) or "nothing"
        raise ValueError(
            f"{path}: a study is a list of `cells`, each with a name and flags; found {keys} "
            "(flags of all cells may stand in a table `shared`, the path of a protocol beside it)"
        )
    common = flatten(shared)
    # Groups are independent: a table often needs cells that no product of lists makes.
    cells = []
    for group in groups:
        cells += _expand(group, common, path)
        if len(cells) > MOST_CELLS:
            raise ValueError(f"{path}: more than {MOST_CELLS} cells; give fewer")

    # Two cells of one name would share a run folder and a file of figures.
    counts: Counter[str] = Counter()
    for cell in cells:
        counts[cell.name] += 1
    for name in sorted(counts):
        if counts[name] > 1:
            raise ValueError(f"{path}: two cells are {name}; give their groups different names")
    return cells


def protocol_digest(record: Mapping[str, Any], path: Path) -> str:
    """Return the SHA-256 of the protocol that a study names; empty where it names none.

    record: what the file holds. path: the file, beside which the protocol's path begins.
    Raises ValueError where there is no such text.
    """
    name = record.get(PROTOCOL, "")
    if not name:
        return ""
    protocol = path.parent / str(name)
    if not protocol.is_file():
        raise ValueError(f"{path}: protocol {name!r:.80} is no file beside it; write it first")
    return hashlib.sha256(protocol.read_bytes()).hexdigest()


def choose_cells(cells: Sequence[Cell], pattern: str) -> list[Cell]:
    """Return the cells whose name matches; raise ValueError where none does."""
    chosen = []
    for cell in cells:
        if fnmatch(cell.name, pattern):
            chosen.append(cell)
    if not chosen:
        names = ", ".join(cell.name for cell in cells[:SHOWN])
        more = ", ..." if len(cells) > SHOWN else ""
        raise ValueError(f"--only {pattern} names none of the cells {names}{more}")
    return chosen


def _expand(group: Any, shared: Settings, path: Path) -> list[Cell]:
    """Return a cell for each combination of the values of a group's lists.

    shared: settings that the group has where it does not say them itself.
    """
    name = group.get("name") if isinstance(group, dict) else None
    if not isinstance(name, str) or not CELL_NAME.fullmatch(name):
        raise ValueError(
            f"{path}: each of `cells` needs a name of letters, digits and . _ + -, "
            f"found {group!r:.80}"
        )
    settings = shared | flatten(group)
    del settings["name"]
    verb = settings.pop("verb", VERBS[0])
    if verb not in VERBS:
        raise ValueError(f"{path}: verb of {name} must be {' or '.join(VERBS)}, found {verb!r:.80}")
    lists = {}
    for key, value in settings.items():
        if isinstance(value, list):
            lists[key] = value
            if not value:
                raise ValueError(f"{path}: {key} of {name} is an empty list: it makes no cell")
    count = math.prod(map(len, lists.values()))
    if count > MOST_CELLS:
        raise ValueError(
            f"{path}: the lists of {name} make {count} cells, {MOST_CELLS} at most; "
            "give fewer values"
        )

    cells = []
    # The last list changes fastest, as in nested loops in the order of the file.
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        names = [name]
        titles = [name]
        for key, value in chosen.items():
            # A list of one value tells no cells apart.
            if len(lists[key]) == 1:
                continue

            # A text says what it is, a number needs the name of its flag.
            is_text = isinstance(value, str)
            short = value if is_text else f"{key.split('.')[-1]}{value}"
            names.append(short)
            # Cells that differ in their seed alone are one line of the table.
            if key != "seed":
                titles.append(short if is_text else f"{key} {value}")

        cell_name = NOT_IN_NAMES.sub("_", "-".join(names))
        cells.append(Cell(cell_name, ", ".join(titles), settings | chosen, verb))
    return cells


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Settings:
    """Return nested settings as one level, with dotted keys as flags have them."""
    # `ist.steps = 80` and a table `[ist]` are one in TOML; JSON has both spellings.
    flat: Settings = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key.replace("_", "-")] = value
    return flat


def settings_record(config: CellConfig) -> Settings:
    """Return what a cell's figures depend on, defaults included, in JSON's types.

    However it is said, the same cell has the same record.
    """
    from ipt.heads import parse_head
    from ipt.tuners import parse_tuner

    tuner = parse_tuner(config.work.tuner)
    head = parse_head(config.work.head)
    tune = config.tune.with_rates(tuner.learning_rates)
    record: Settings = {
        "work": {name: getattr(config.work, name) for name in WORK},
        "tune": tuner_to_record(tuner, to_record(tune)),
    }
    # As banks and runs have it: older ones have a language model's only, and do not name it.
    if head.name != LANGUAGE_MODEL:
        record["tune"]["head"] = head.description
    if config.msf is None or config.ist is None:
        return dict(json.loads(json.dumps(record, default=str)))
    msf = config.msf
    if msf.inner_width is None and tuner.name == SOFT_PROMPT:
        # Deltas of soft prompts are small enough for the released code's width.
        msf = replace(msf, inner_width=WIDEST)
    record |= {"msf": to_record(msf), "ist": to_record(config.ist)}
    if config.parts:
        record["ist_parts"] = [part for part in PARTS if part in config.parts]
    return dict(json.loads(json.dumps(record, default=str)))


def stored_summary(cell: Cell, folder: Path, settings: Settings) -> dict[str, Any] | None:
    """Return the figures of a cell, or None where it is open.

    folder: where the figures are stored, a JSON file a cell.
    settings: what they must depend on; raises ValueError where they are of others.
    """
    path = folder / f"{cell.name}.json"
    if not path.exists():
        return None
    record = read_json(path, "move it away and give the command again")
    # Figures of older runs are known by the names that their settings had.
    if record.get("settings") != settings:
        raise ValueError(
            f"{path} holds the figures of another command or of other defaults: "
            f"{record.get('command')}; move it away"
        )
    return dict(record)


def find_ist_run(out: Path, settings: Settings, source: Mapping[str, str]) -> Run:
    """Return the IST run below `out` with a cell's settings and all of its parts.

    source: what identifies the MSF run that it must stand on.
    Raises ValueError where there is none.
    """
    wanted = {"ist": settings["ist"], "limit": settings["work"]["limit"], **source}
    named = settings.get("ist_parts", PARTS)
    parts = {part: PARTS[part].name for part in named}
    for path in out.glob("ist-*/result.json"):
        # The name of an IST run ends with a digest of its settings: it is found by what it says
        # of itself, and a run of fewer parts is passed over.
        run = Run(path.parent)
        if wanted.items() <= run.config.items() and not run.missing_parts(parts):
            return run
    raise ValueError(
        f"{out} holds no complete IST run in {source['msf_run']} with the cell's settings; "
        "give the command again"
    )
