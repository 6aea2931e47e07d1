"""What a command says while it works: on a terminal bars with an ETA, elsewhere a line a stage.

All of it goes to standard error, so that tables on standard output can be piped.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
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


FIRST_ESTIMATE = 30.0  # seconds into a stage; before it, speed is not settled


class Reporter:
    """Tells the user what goes on; in every process but the first it is silent."""

    def __init__(self, console: Console | None = None) -> None:
        # Two processes that draw bars on one terminal overwrite each other.
        self.console = console or Console(stderr=True, quiet=not is_main_process())
        self._noted: set[str] = set()

    def info(self, text: str) -> None:
        """Print one line, as it is: names of tasks may hold what rich takes for markup."""
        self.console.print(
            text,
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def note(self, text: str) -> None:
        """Print a line once, however many stages come upon it."""
        if text not in self._noted:
            self._noted.add(text)
            self.info(text)

    @contextmanager
    def bar(self, title: str) -> Iterator[Update]:
        """Show how far a stage is, until the block ends.

        Yields the function that a loop calls with (done, total, loss). On a terminal the bar has
        the time elapsed and the time that is left. The latter is estimated anew at each call, from
        the speed of the last 30 seconds: jobs that end early make later steps faster, and `total`
        may change. Elsewhere a line says after half a minute, a minute, two and so on how far the
        stage is and how long it still takes, and one at its end how many seconds it took.
        """
        if self.console.is_terminal:
            with self._live_bar(title) as live:
                yield live
            return
        # In a log file or a pipe each redraw of a bar would be one more line.
        began = time.monotonic()
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

        yield update
        seconds = time.monotonic() - began
        self.info(f"{title}: {seconds:.0f} s")

    @contextmanager
    def _live_bar(self, title: str) -> Iterator[Update]:
        # The estimate is rich's: the steps that are left, at the speed of the last ones. It knows
        # nothing of the stages after this one: their time is estimated before the first step.
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            _Count(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            # Without a total the bar pulses: it is known at the first step only.
            task = progress.add_task(title, total=None, note="")
            is_counted = False

            def update(done: int, total: int, loss: float) -> None:
                nonlocal is_counted
                is_counted = True
                # NaN: a stage that has no loss, such as scoring, or no step yet.
                note = "" if math.isnan(loss) else f"loss {loss:.3f}"
                progress.update(
                    task,
                    completed=done,
                    total=total,
                    note=note,
                )

            yield update
            # A stage that counts nothing: else its bar would pulse as if it still went on.
            if not is_counted:
                progress.update(task, completed=1, total=1)


class _Count(MofNCompleteColumn):
    """What is done of how much; nothing as long as the total is not known."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        return Text() if task.total is None else super().render(task)


def _duration(seconds: float) -> str:
    """Return a time in words, in minutes from two minutes on."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
