"""`ipt study FILE`: many runs from one short file, cell by cell, resumable; a table in which open cells are named open, and a figure.

A file holds groups of cells; a list is one cell per value, several lists are all their combinations:

    [[cells]]
    name = "random"
    tasks = "random-100"
    dim = [5, 10, 100]
    seed = [42, 43, 44]
    recipe = ["paper", "ours"]
    ist.steps = 80

Keys are flags of `ipt msf` (tune.KEY: of its prompt tuning); ist.KEY are flags of `ipt ist`. Cells that differ in their seed alone
are one line of the table. Each cell is the two commands a user would type; its figures are kept as a small JSON file.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ipt.analysis.scores import read_pair
from ipt.analysis.study import study_figure, study_means, study_summary
from ipt.analysis.summaries import summary, table_of
from ipt.cli.options import dotted, settings_file
from ipt.cli.runs import show_table
from ipt.config import IST_PARTS, identity
from ipt.progress import Reporter
from ipt.resolve import check_rows, hours, source_record
from ipt.run import Run
from ipt.storage import read_json, write_atomic, write_json

SHARED = ("dim", "recipe", "preset", "device", "limit")  # flags that both commands have; the subspace itself is given by name
WORK = ("tasks", "as_published", "model", "dtype", "seed", "limit", "held_out", "seen", "unseen", "prompts")  # of its tasks and model
Settings = dict[str, Any]
Verb = Callable[[list[str]], object]


@dataclass(frozen=True)
class Cell:
    """One MSF run and the IST run in its subspace; `line` is its row of the table."""

    name: str
    line: str
    settings: dict[str, Any]

    def msf(self, out: Path) -> list[str]:
        """Return the words of its `ipt msf`."""
        own = {k.removeprefix("msf."): v for k, v in self.settings.items() if not k.startswith("ist.")}
        return ["msf", *words(own), "--run", self.name, "--out", str(out)]

    def ist(self, out: Path) -> list[str]:
        """Return the words of its `ipt ist`."""
        own = {k.removeprefix("ist."): v for k, v in self.settings.items() if k.startswith("ist.") or k in SHARED}
        return ["ist", *words(own), "--run", self.name, "--out", str(out)]

    @property
    def command(self) -> str:
        """The two commands as a user would type them."""
        out = Path("runs")
        return f"ipt {' '.join(self.msf(out))}, then ipt {' '.join(self.ist(out))}"


def words(settings: dict[str, Any]) -> list[str]:
    """Return settings as flags; a list is a flag given several times."""
    return [w for key, value in settings.items() for v in (value if isinstance(value, list) else [value]) for w in (f"--{key}", str(v))]


def read_cells(path: Path, only: str = "*") -> list[Cell]:
    """Return the cells of a study file, those of the groups that match; raise ValueError where it is none."""
    record = settings_file(path, "a study")
    groups = record.get("cells")
    if not isinstance(groups, list) or not groups or record.keys() != {"cells"}:
        raise ValueError(f"{path}: a study is a list of `cells`, each with a name and flags; found {', '.join(record) or 'nothing'}")
    found = [cell for group in groups for cell in _expand(path, group)]
    if twice := sorted({c.name for c in found if [d.name for d in found].count(c.name) > 1}):
        raise ValueError(f"{path}: two cells are {twice[0]}; give their groups different names")
    chosen = [cell for cell in found if fnmatch(cell.name, only)]
    if not chosen:
        raise ValueError(f"--only {only} names none of the cells {', '.join(c.name for c in found)}")
    return chosen


def _expand(path: Path, group: Any) -> list[Cell]:
    if not isinstance(group, dict) or not isinstance(group.get("name"), str) or not re.fullmatch(r"[\w.+-]+", group["name"]):
        raise ValueError(f"{path}: each of `cells` needs a name of letters, digits and . _ + -, found {group!r:.80}")
    flat = dotted({k: v for k, v in group.items() if k != "name"})
    lists = {k: v for k, v in flat.items() if isinstance(v, list)}
    cells = []
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        parts = {k: f"{v}" if isinstance(v, str) else f"{k.split('.')[-1]}{v}" for k, v in chosen.items() if len(lists[k]) > 1}
        name = re.sub(r"[^\w.+-]+", "_", "-".join([group["name"], *parts.values()]))
        shown = [p if isinstance(chosen[k], str) else f"{k} {chosen[k]}" for k, p in parts.items() if k != "seed"]
        line = ", ".join([group["name"], *shown])
        cells.append(Cell(name, line, flat | chosen))
    return cells


def done(cell: Cell, to: Path, settings: Settings) -> dict[str, Any] | None:
    """Return the kept figures of a cell, or None where it is open; raise ValueError where they are of other settings."""
    path = to / f"{cell.name}.json"
    if not path.exists():
        return None
    record = read_json(path)
    if record.get("settings") != settings:
        raise ValueError(f"{path} holds the figures of another command or of other defaults: {record.get('command')}; move it away")
    return dict(record)


def fill(cell: Cell, out: Path, to: Path, settings: Settings, verb: Verb) -> None:
    """Run a cell's two commands and keep its figures."""
    verb(cell.msf(out))
    verb(cell.ist(out))
    runs = [Run(path.parent) for path in out.glob("ist-*/result.json")]
    parts = {part: IST_PARTS[part] for part in settings.get("ist_parts", IST_PARTS)}
    wanted = {"ist": settings["ist"], "limit": settings["work"]["limit"]} | source_record(Run(out / cell.name))
    same = (r for r in runs if wanted.items() <= r.config.items())
    run = next(r for r in same if not r.lacking(parts))
    to.mkdir(parents=True, exist_ok=True)
    write_json(to / f"{cell.name}.json", summary(read_pair(run.folder).results, cell.command, run.config["seed"]) | {"settings": settings})


def settings_record(parsed: dict[str, Any]) -> Settings:
    """Return what a cell's result depends on, defaults included, in JSON's types: however it is said, the same cell has the same."""
    work = {name: getattr(parsed["work"], name) for name in WORK}
    some = {"ist_parts": [part for part in IST_PARTS if part in parsed["part"]]} if parsed["part"] else {}
    whole = {"work": work} | {stage: identity(parsed[stage]) for stage in ("tune", "msf", "ist")} | some
    return dict(json.loads(json.dumps(whole, default=str)))


def run_study(file: Path, out: Path, to: Path, only: str, dry_run: bool, parse: Callable[[list[str]], dict[str, Any]], verb: Verb) -> None:
    """Do the open cells that `only` names (dry_run: say how long they will take), and print and keep the whole table, drawn too.

    parse: reads a command's words into its configurations, so that a wrong flag is found before any work; verb: does them.
    """
    cells, named = read_cells(file), {cell.name for cell in read_cells(file, only)}
    parsed = {cell.name: {**parse(cell.msf(out)), **parse(cell.ist(out))} for cell in cells}
    settings = {name: settings_record(found) for name, found in parsed.items()}
    chosen = [cell for cell in cells if cell.name in named and done(cell, to, settings[cell.name]) is None]
    asked = [(p["work"], p["tune"], p["msf"], p["ist"], p["part"] or tuple(IST_PARTS)) for p in (parsed[cell.name] for cell in chosen)]
    check_rows(asked)
    if dry_run:
        times = hours(asked)
        for cell, time in zip(chosen, times, strict=True):
            print(f"{cell.name}: {time:.2f} h")
        print(f"open: {len(chosen)} of {len(cells)} cells, {sum(times):.1f} h on this machine")
        return
    for number, cell in enumerate(chosen, 1):
        Reporter().info(f"cell {number} of {len(chosen)}: {cell.name}")
        fill(cell, out, to, settings[cell.name], verb)
    lines: dict[str, list[dict[str, Any] | None]] = {}
    for cell in cells:
        lines.setdefault(cell.line, []).append(done(cell, to, settings[cell.name]))
    found = study_summary(lines, f"ipt study {file}")
    show_table(study_means(found))
    write_json(to / f"{file.stem}.json", found)
    write_atomic(to / f"{file.stem}.md", table_of([found]).encode())
    study_figure(lines, to / f"{file.stem}.png")
    print(f"every column, with the least and the largest seed: {to / file.stem}.md")
