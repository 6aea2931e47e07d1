"""What a command says while it works: on a terminal a list of stages, elsewhere a line a stage.

All of it goes to standard error, so that tables on standard output can be piped.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

Update = Callable[[int, int, float], None]
"""Is told (done, total, loss) after each step; a loss of NaN is not shown."""


def is_main_process() -> bool:
    """Say whether this process prints: of several that share a run, only the first."""
    # What launchers set; asking torch.distributed would import torch for `ipt --help`.
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = os.environ.get("RANK", "0")
    return world_size == 1 or rank == "0"


def say_loading(what: str) -> None:
    """Say on a terminal that a slow start is none of the machine's; before torch is imported."""
    if sys.stderr.isatty() and is_main_process():
        print(f"loading {what} …", file=sys.stderr, flush=True)


FIRST_ESTIMATE = 30.0  # seconds into a stage; before it, speed is not settled


@dataclass(frozen=True)
class PlannedStage:
    """A stage that a command will go through, known before its first step."""

    key: str
    """What the workflow calls it."""
    title: str
    """What it is in words."""
    seconds: float
    """How long it will take, by the measurement before the first step."""


@dataclass
class Plan:
    """The stages of a command: which ran, which runs, and the time that is left of all."""

    stages: Sequence[PlannedStage]
    took: dict[str, float] = field(default_factory=dict)
    current: str = ""
    began: float = 0.0

    def get(self, key: str) -> PlannedStage | None:
        """Return a stage; None where it was not planned."""
        for stage in self.stages:
            if stage.key == key:
                return stage
        return None

    def numbered(self, stage: PlannedStage) -> str:
        """Return its title with its place: 3/5 five numbers a task."""
        return f"{list(self.stages).index(stage) + 1}/{len(self.stages)} {stage.title}"

    def left(self, now: float, of_bar: float = 0.0) -> float:
        """Return the seconds that are left of all stages.

        of_bar: what the bar that moves needs by its own rate.
        """
        # What ran was as much slower or faster than planned as what is to come.
        planned = sum(stage.seconds for stage in self.stages if stage.key in self.took)
        factor = sum(self.took.values()) / planned if planned > 0 else 1.0
        seconds = 0.0
        for stage in self.stages:
            if stage.key == self.current:
                seconds += max(of_bar, factor * stage.seconds - (now - self.began), 0.0)
            elif stage.key not in self.took:
                seconds += factor * stage.seconds
        return seconds


class Reporter:
    """Tells the user what goes on; in every process but the first it is silent."""

    def __init__(self, console: Console | None = None) -> None:
        # Two processes that draw bars on one terminal overwrite each other.
        self.console = console or Console(stderr=True, quiet=not is_main_process())
        self._noted: set[str] = set()
        self._plan = Plan(())
        self._screen: _Screen | None = None

    def info(self, text: str) -> None:
        """Print one line, as it is: names of tasks may hold what rich takes for markup."""
        # On a terminal it is wrapped between words; a log file keeps its lines whole.
        self.console.print(
            text,
            highlight=False,
            markup=False,
            soft_wrap=not self.console.is_terminal,
        )

    def note(self, text: str) -> None:
        """Print a line once, however many stages come upon it."""
        if text not in self._noted:
            self._noted.add(text)
            self.info(text)

    @contextmanager
    def stages(self, planned: Sequence[PlannedStage]) -> Iterator[None]:
        """Show these stages until the block ends: on a terminal a list, which each fills."""
        self._plan = Plan(planned)
        try:
            with self._drawn():
                yield
        finally:
            self._plan = Plan(())

    @contextmanager
    def stage(self, key: str) -> Iterator[None]:
        """Do a stage of the plan; its bars are shown as its own. One not planned is not shown."""
        plan = self._plan
        stage = plan.get(key)
        if stage is None:
            yield
            return
        # A stage may find that another must be done first.
        before = plan.current, plan.began
        plan.current, plan.began = key, time.monotonic()
        with self._drawn() as screen:
            if screen:
                screen.start(key)
            yield
            took = time.monotonic() - plan.began
            plan.took[key] = plan.took.get(key, 0.0) + took
            plan.current, plan.began = before
            if screen:
                screen.end(key)
            else:
                self.info(f"{plan.numbered(stage)}: {took:.0f} s")

    @contextmanager
    def bar(self, title: str) -> Iterator[Update]:
        """Show how far a part of a stage is, until the block ends.

        Yields the function that a loop calls with (done, total, loss). On a terminal the bar has
        the time that it took and the time that is left. The latter is estimated anew at each call,
        from the speed of the last 30 seconds: jobs that end early make later steps faster, and
        `total` may change. Elsewhere a line says after half a minute, a minute, two and so on how
        far it is and how long it still takes; one at its end, where it is no part of a stage that
        has its own, how many seconds it took.
        """
        with self._drawn() as screen:
            if screen:
                with screen.bar(self._plan.current, title) as update:
                    yield update
                return
            stage = self._plan.get(self._plan.current)
            shown = f"{self._plan.numbered(stage)}, {title}" if stage else title
            # In a log file or a pipe each redraw of a bar would be one more line.
            began = time.monotonic()
            yield self._lines_of(shown, began)
            if stage is None:
                self.info(f"{title}: {time.monotonic() - began:.0f} s")

    def _lines_of(self, title: str, began: float) -> Update:
        wait = FIRST_ESTIMATE

        def update(done: int, total: int, loss: float) -> None:
            nonlocal wait
            seconds = time.monotonic() - began
            if seconds < wait or not 0 < done < total:
                return
            # Twice as long until the next: a stage of hours has a dozen lines.
            wait = 2 * seconds
            left = seconds * (total - done) / done
            share = 100 * done / total
            self.info(f"{title}: {share:.0f} %, about {_duration(left)} left")

        return update

    @contextmanager
    def _drawn(self) -> "Iterator[_Screen | None]":
        """Draw on the terminal until the outermost block ends; None: there is no terminal."""
        if self._screen or not self.console.is_terminal:
            yield self._screen
            return
        self._screen = _Screen(self.console, self._plan)
        try:
            with self._screen.progress:
                yield self._screen
        finally:
            self._screen = None


class _Screen:
    """The list of stages on a terminal, a bar each, and the time that is left of all below."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self.plan = plan
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            _Count(),
            _Time(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self.rows: dict[str, TaskID] = {}
        for number, stage in enumerate(plan.stages, 1):
            title = f"{number}. {stage.title}"
            self.rows[stage.key] = self._row(title, start=False)
        self.overall = self._row("all stages", start=False) if len(self.rows) > 1 else None
        self._show_left(0.0)

    def _row(self, title: str, start: bool = True) -> TaskID:
        # Without a total the bar pulses: it is known at the first step only.
        total = None if start else 1
        return self.progress.add_task(
            title,
            start=start,
            total=total,
            note="",
            took=None,
            left=None,
        )

    def start(self, key: str) -> None:
        """Start the clock of a stage."""
        self.progress.start_task(self.rows[key])

    def end(self, key: str) -> None:
        """Tick a stage off."""
        seconds = self.plan.took[key]
        self.progress.update(self.rows[key], total=1, completed=1, took=seconds, note="")
        self._show_left(0.0)

    @contextmanager
    def bar(self, key: str, title: str) -> Iterator[Update]:
        """Move the bar of the stage that runs; without one, a bar of its own."""
        row = self.rows[key] if key else self._row(title)
        is_counted = False

        def update(done: int, total: int, loss: float) -> None:
            nonlocal is_counted
            is_counted = True
            # NaN: a stage that has no loss, such as scoring, or no step yet.
            note = title if key else ""
            if not math.isnan(loss):
                note = f"loss {loss:.3f}"
            self.progress.update(row, completed=done, total=total, note=note)
            self._show_left(self._task(row).time_remaining or 0.0)

        if key:
            self.progress.update(row, completed=0, note=title)
        yield update
        if not key:
            seconds = self._task(row).elapsed
            self.progress.update(row, took=seconds)
            # A stage that counts nothing: else its bar would pulse as if it still went on.
            if not is_counted:
                self.progress.update(row, completed=1, total=1)

    def _task(self, row: TaskID) -> Task:
        return next(task for task in self.progress.tasks if task.id == row)

    def _show_left(self, of_bar: float) -> None:
        if self.overall is None:
            return
        left = self.plan.left(time.monotonic(), of_bar)
        done = sum(self.plan.took.values())
        if self.plan.current:
            done += time.monotonic() - self.plan.began
        share = done / (done + left) if done + left > 0 else 0.0
        self.progress.update(self.overall, completed=share, left=left)


class _Count(MofNCompleteColumn):
    """What is done of how much; nothing where nothing is counted."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        if task.total is None or task.fields["left"] is not None or task.total == 1:
            return Text()
        return super().render(task)


class _Time(ProgressColumn):
    """How long a stage took, or has taken + has left; a dash where it has not begun."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        if task.fields["left"] is not None:
            return Text(f"{_clock(task.fields['left'])} left")
        if task.fields["took"] is not None:
            return Text(f"✓ {_clock(task.fields['took'])}")
        if task.elapsed is None:
            return Text("–")
        text = f"{_clock(task.elapsed)}"
        if task.time_remaining is not None:
            text += f" + {_clock(task.time_remaining)} left"
        return Text(text)


def _clock(seconds: float) -> str:
    """Return a time as a clock shows it: 0:41, 1:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def _duration(seconds: float) -> str:
    """Return a time in words, in minutes from two minutes on."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
