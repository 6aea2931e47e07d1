"""Send the stream of a run to TensorBoard, Trackio or Weights & Biases, through accelerate.

A tracker reads the lines that the stages write to their metrics (`ipt.training.stream`), whether a
run goes on or ended long ago. A thread of its own sends them, so that training never waits. What
was sent is noted in the run's folder: a run that goes on after a kill is the same run of the
tracker, and no step comes twice. Nothing of it acts on a result. A tracker that fails is told once,
and the run goes on without it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipt.checkpoint import stream_of
from ipt.run import Run
from ipt.storage import read_json, write_json

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

# By what --track calls them: the packages of which one is needed.
PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
PROJECT = "ipt"
# Beside the runs: `tensorboard --logdir runs/tensorboard` shows all of them.
LOGS = "tensorboard"
RECORD = "tracked.json"
SECONDS = 2.0  # between two looks at the metrics


@dataclass(frozen=True)
class Tracked:
    """What is sent: a run folder, and what its run of the tracker is called.

    group: runs of one group stand together: IST's, and the MSF run that they stand on.
    job: the verb.
    others: folders whose metrics are sent as far as they are written meanwhile: the bank's.
    """

    folder: Path
    group: str
    job: str
    others: tuple[Path, ...] = ()

    @classmethod
    def of_run(cls, run: Run) -> "Tracked":
        """Return a finished run as it is sent again."""
        settings = run.config
        name = run.folder.name
        return cls(run.folder, str(settings.get("msf_run", name)), str(settings["kind"]))


def require_trackers(names: Sequence[str]) -> None:
    """Raise ValueError where the package of a tracker is not installed."""
    if names and find_spec("accelerate") is None:
        raise ValueError(
            "--track needs accelerate: pip install 'intrinsic-prompt-tuning[track]'"
        )
    for name in names:
        packages = PACKAGES[name]
        if not any(find_spec(package) for package in packages):
            raise ValueError(f"--track {name} needs its package: pip install {packages[0]}")


def make_tracker(name: str, what: Tracked) -> "GeneralTracker":
    """Return a tracker that was started: one run of this name, however often it is opened."""
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker

    # The trackers' messages ask it for the first process, which is the only one that comes here.
    PartialState()
    run = what.folder.name
    settings = flat_settings(what.folder)
    tracker: GeneralTracker
    if name == "tensorboard":
        tracker = TensorBoardTracker(run, what.folder.parent / LOGS)
    elif name == "trackio":
        tracker = TrackioTracker(
            PROJECT, name=run, group=what.group, resume="allow", config=settings
        )
    else:
        tracker = WandBTracker(
            PROJECT,
            name=run,
            id=run,
            group=what.group,
            job_type=what.job,
            resume="allow",
            config=settings,
        )
    tracker.start()
    return tracker


def flat_settings(folder: Path) -> dict[str, Any]:
    """Return a run's settings with dotted names; digests of tasks are left out."""
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                add(f"{prefix}.{name}" if prefix else name, part)
        elif isinstance(value, list):
            flat[prefix] = json.dumps(value, ensure_ascii=False)
        else:
            flat[prefix] = value

    for file in ("config.json", "setting.json"):
        if (folder / file).exists():
            record = read_json(folder / file)
            settings = dict(record.get("config", record))
            settings.pop("digests", None)
            add("", settings)
    return flat


class Feed:
    """One tracker of a run, and how far it has been told."""

    def __init__(
        self,
        name: str,
        what: Tracked,
        warn: Callable[[str], None],
        make: "Callable[[str, Tracked], GeneralTracker] | None" = None,
    ) -> None:
        self.name = name
        self.what = what
        self.warn = warn
        self.sent: dict[str, list[int]] = {}
        self.count = 0
        self.tracker: GeneralTracker | None = None
        path = what.folder / RECORD
        if path.exists():
            # By stage: the step of the run that it began at, and its last one.
            self.sent = read_json(path).get(name, {})
        is_new = not self.sent
        with self._guarded():
            # Looked up late, so that a test can put another in its place.
            self.tracker = (make or make_tracker)(name, what)
            if is_new and name == "tensorboard":
                # It has no settings of a run that do not make a second one.
                about = {"group": what.group, "job": what.job, **flat_settings(what.folder)}
                text = json.dumps(about, ensure_ascii=False)
                self.tracker.log({"settings": text}, step=0)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Go on without the tracker, and say so, where it fails in whatever way."""
        try:
            yield
        except Exception as error:
            self.tracker = None
            reason = " ".join(str(error).split()) or type(error).__name__
            self.warn(f"note: --track {self.name} failed, the run goes on: {reason:.200}")

    @property
    def last(self) -> int:
        """The last step of the run that was sent."""
        return max((begin + step for begin, step in self.sent.values()), default=0)

    def send(self, lines: Sequence[dict[str, Any]]) -> None:
        """Send the lines of a stream that were not sent before, in their order."""
        with self._guarded():
            for line in lines:
                if self.tracker is None:
                    return
                self._send(line, self.tracker)

    def _send(self, line: dict[str, Any], tracker: "GeneralTracker") -> None:
        stage, step = line["stage"], line["step"]
        # A run has one axis: each stage begins where the one before it ended.
        begin, last = self.sent.get(stage, [self.last, 0])
        if step <= last:
            return
        # Which tasks were tuned is no name for a curve.
        title = "tune" if stage.startswith("tune-") else stage
        values = {}
        for key, value in line.items():
            if key not in ("stage", "step") and value is not None:
                values[f"{title}/{key}"] = value
        tracker.log(values, step=begin + step)
        self.sent[stage] = [begin, step]
        self.count += 1

    def close(self, summary: dict[str, float]) -> None:
        """Send what the run has found, note what was sent, and end."""
        with self._guarded():
            if self.tracker is not None:
                if summary:
                    self.tracker.log(summary, step=self.last)
                self.tracker.finish()
        path = self.what.folder / RECORD
        with suppress(OSError):
            record = read_json(path) if path.exists() else {}
            write_json(path, record | {self.name: self.sent})


def streams_of(what: Tracked, since: float = 0.0) -> list[dict[str, Any]]:
    """Return the lines of all streams of a run, stage by stage, the oldest stage first.

    since: the time from which on those of other folders count.
    """
    files = sorted(what.folder.glob("metrics-*.jsonl"), key=lambda path: path.stat().st_mtime)
    for folder in what.others:
        # What another command has tuned is none of this run.
        new = [path for path in folder.glob("metrics-*.jsonl") if path.stat().st_mtime >= since]
        files = sorted(new, key=lambda path: path.stat().st_mtime) + files
    lines = []
    for path in files:
        lines += stream_of(path)
    return lines


def summary_of(folder: Path) -> dict[str, float]:
    """Return what a finished run recovers, by setting; empty where it has no scores."""
    from ipt.analysis.scores import lines, read_pair, read_results
    from ipt.analysis.short_table import title_of

    # A bank, or a run that was stopped, has none.
    if not (folder / "config.json").exists() or Run(folder).result is None:
        return {}
    if Run(folder).config["kind"] == "ist":
        results = read_pair(folder).results
    else:
        results = [run.result for run in read_results([folder])]
    found = {}
    for line in lines(results):
        if line.group == "all":
            title = title_of(line.setting, results[-1])
            figures = line.recovery
            shares = {"of prompt tuning": figures.relative, "above the floor": figures.floored}
            for what, share in shares.items():
                # None of the tasks may count.
                if share == share:
                    found[f"result/{title}, {what}"] = share
    return found


@contextmanager
def tracked(
    names: Sequence[str],
    what: Tracked,
    warn: Callable[[str], None],
) -> Iterator[None]:
    """Send what the run writes until the block ends, and then its result.

    names: of the trackers; without any nothing is done.
    warn: is told once of each tracker that fails.
    """
    if not names:
        yield
        return
    since = time.time()
    feeds = [Feed(name, what, warn) for name in dict.fromkeys(names)]
    ended = threading.Event()

    def send_all() -> None:
        lines = streams_of(what, since)
        for feed in feeds:
            feed.send(lines)

    def follow() -> None:
        while not ended.wait(SECONDS):
            # A file may be cut or taken away while it is read.
            with suppress(OSError):
                send_all()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):
            send_all()
        summary = {}
        # A result that cannot be read is an error of its own elsewhere.
        with suppress(ValueError):
            summary = summary_of(what.folder)
        for feed in feeds:
            feed.close(summary)


def replay(name: str, run: Run, warn: Callable[[str], None]) -> int:
    """Send a finished run; return how many lines were new."""
    what = Tracked.of_run(run)
    feed = Feed(name, what, warn)
    feed.send(streams_of(what))
    feed.close(summary_of(run.folder))
    return feed.count
