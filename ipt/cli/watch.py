"""`ipt runs watch` and `ipt runs track`: what stages write while they run, seen and sent again."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table

from ipt.checkpoint import stream_of
from ipt.cli.options import Out, TrackerName
from ipt.cli.output import new_table, print_list
from ipt.run import BANK, Run

RUNS = "names or folders; those that wrote within the last hour, else the newest, where empty"
RECENT = 3600.0  # seconds
REFRESH = 1.0
FIGURES = ("step", "loss", "p10", "p90", "dev loss", "active", "rows/s", "MB", "rate", "took")


def watch_runs(
    *run: Annotated[Path, Parameter(help=RUNS)],
    out: Out = Path("runs"),
) -> None:
    """Show how the stages of runs go: loss, jobs, speed. Without a terminal: as they are now."""
    console = Console()
    folders = [Run.find(path, out).folder for path in run]
    if not console.is_terminal:
        print_list(progress_table(folders or recent(out)))
        return
    with Live(console=console, auto_refresh=False) as live:
        # Until Ctrl-C, which every command answers with one line.
        while True:
            live.update(progress_table(folders or recent(out)), refresh=True)
            time.sleep(REFRESH)


def track_run(
    run: Path,
    *,
    to: Annotated[tuple[TrackerName, ...], Parameter(help="where to", negative=())],
    out: Out = Path("runs"),
) -> None:
    """Send a finished run to a tracker, as --track does while it runs; docs/tracking.md."""
    from ipt.tracking import replay, require_trackers

    found = Run.find(run, out)
    require_trackers(to)
    said: list[str] = []
    for name in dict.fromkeys(to):
        count = replay(name, found, said.append)
        if said:
            raise ValueError(said[0].removeprefix("note: ").replace(", the run goes on", ""))
        print(f"{found.folder.name}: {count} lines sent to {name}")


def recent(out: Path) -> list[Path]:
    """Return the folders of runs and of the bank that were written to within the last hour.

    The newest alone where none was.
    """
    written: dict[Path, float] = {}
    for pattern in ("*", f"{BANK}/*"):
        for path in out.glob(f"{pattern}/metrics-*.jsonl"):
            written[path.parent] = max(written.get(path.parent, 0.0), path.stat().st_mtime)
    # The newest last: it stands at the bottom of a terminal.
    ordered = sorted(written, key=lambda folder: written[folder])
    return [path for path in ordered if time.time() - written[path] < RECENT] or ordered[-1:]


def progress_table(folders: Sequence[Path]) -> Table:
    """Return a table of the last line of each stage of these runs."""
    columns = [Column(name, justify="right") for name in FIGURES]
    table = new_table("run", "stage", *columns)
    for folder in folders:
        files = sorted(folder.glob("metrics-*.jsonl"), key=lambda path: path.stat().st_mtime)
        for path in files:
            lines = stream_of(path)
            if lines:
                table.add_row(*map(escape, [folder.name, *cells(lines[-1])]))
    return table


def cells(line: dict[str, Any]) -> list[str]:
    """Return a line of a stream as texts, of `FIGURES` after the stage; what is null is a dash."""

    def text(key: str, form: str) -> str:
        value = line.get(key)
        return "–" if value is None else format(value, form)

    stage = str(line["stage"])
    took = timedelta(seconds=round(line.get("seconds") or 0))
    return [
        # Which tasks were tuned together is a digest.
        "tune" if stage.startswith("tune-") else stage,
        text("step", ","),
        text("loss", ".3f"),
        text("loss_p10", ".3f"),
        text("loss_p90", ".3f"),
        text("dev_loss", ".3f"),
        text("active", ","),
        text("rows_per_second", ",.0f"),
        text("memory_mb", ",.0f"),
        text("learning_rate", ".2g"),
        str(took),
    ]
