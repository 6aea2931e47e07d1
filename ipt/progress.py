"""What a command says while it works: bars with an ETA on a terminal, a line per stage elsewhere."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Update = Callable[[int, int, float], None]


def is_main_process() -> bool:
    """Say whether this process prints: of several that share a run, only the first."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1 or os.environ.get("RANK", "0") == "0"


class Reporter:
    """Says what goes on, on standard error, so that tables on standard output can be piped."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, quiet=not is_main_process())

    def info(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str) -> Iterator[Update]:
        """Give a function (done, total, loss); a loss that is not a number is not shown."""
        began = time.monotonic()
        if not self.console.is_terminal:
            yield lambda done, total, loss: None
            self.info(f"{title}: {time.monotonic() - began:.0f} s")
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=self.console) as progress:
            task = progress.add_task(title, total=None, note="")

            def update(done: int, total: int, loss: float) -> None:
                note = "" if math.isnan(loss) else f"loss {loss:.3f}"
                progress.update(task, completed=done, total=total, note=note)

            yield update
