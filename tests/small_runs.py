"""Runs of the commands in a small world where a score says which prompt was scored, on which rows.

A score is a checksum, and the prompt behind each is kept. So a test can take a score out of
result.json, see that it is this task's, on these rows, and compare the prompt behind it with one
that it made itself.
"""

import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from fitted import checksum, word_task
from torch import Tensor

from ipt.backbones.loading import load_backbone
from ipt.cli import app as cli
from ipt.config import flag
from ipt.data import Task, TaskSplit
from ipt.distributed import Processes
from ipt.encoded import EncodedTask
from ipt.run import Run
from ipt.storage import read_json, read_tensors
from ipt.training.evaluate import Score

SEED = 7


def job_lines(path: Path) -> list[dict]:
    """Return a metrics file's lines of jobs; those of the stage's stream tell the time."""
    lines = map(json.loads, path.read_text(encoding="utf8").splitlines())
    return [line for line in lines if "job" in line]


SPLIT = TaskSplit("small", ("second", "early", "last"), ("late",), ("first",), ("late",))
DEFINITIONS = {
    "second": "Answer the second word.",
    "early": "Say whether its first letter is an early one.",
    "last": "Answer the last word.",
    "late": "Say whether its last letter is a late one.",
    "first": "Answer the first word, as others do the last.",
}
SEEN, REST = list(SPLIT.seen), [*SPLIT.unseen, *SPLIT.out_of_kind]
SHOTS, LIMIT, LENGTH = 6, 6, 3
TUNE = {
    "--tune.steps": 6,
    "--tune.eval-every": 3,
    "--tune.shots": SHOTS,
}
TUNER = {"--tuner": f"soft-prompt:prompt_length={LENGTH}"}
MSF = {"--dim": 2, "--steps": 6, "--eval-every": 3, "--inner-width": 8, "--rows-per-step": 8}


def tasks() -> dict[str, Task]:
    """The tasks of the taught model, each with a subcategory of its own."""
    found = {}
    for i, name in enumerate(SPLIT.all):
        task = replace(word_task(name), subcategory=f"kind of {name}")
        task = replace(task, definition=DEFINITIONS[name])
        found[name] = replace(task, novel=i == 1, knowledge=i == 3)
    return found


class Scores:
    """Stands in for `score_deltas`."""

    def __init__(self) -> None:
        self.prompts: dict[float, Tensor] = {}

    def __call__(self, model, deltas, data, part="test", rank=True, *, progress):
        found = []
        progress(1, 2)
        for prompt, d in zip(deltas, data, strict=True):
            value = checksum(prompt, d, part)
            self.prompts[value] = prompt.detach().clone()
            ranked = 1 - value if rank and d.options else None
            found.append(Score(value, ranked, ()))
        return found

    def behind(self, scores: dict, data: list[EncodedTask]) -> Tensor:
        """Return the deltas [T, P] that got these scores, of these tasks and rows."""
        assert scores.keys() == {d.task.name for d in data}
        prompts = []
        for d in data:
            score = scores[d.task.name]
            prompts.append(self.one(score["generated"], d))
            ranked = pytest.approx(1 - score["generated"], abs=1e-9) if d.options else None
            assert score["ranked"] == ranked
        return torch.stack(prompts)

    def one(self, generated: float, d: EncodedTask) -> Tensor:
        """Return the delta [P] that got this score; it must be of these rows."""
        prompt = self.prompts[generated]
        assert generated == checksum(prompt, d)
        return prompt


@dataclass(frozen=True)
class Shuffled(Processes):
    """Gives a process alone its work in the opposite order: what is not gathered is misplaced."""

    def shard(self, items):
        return list(items)[::-1]

    def gather(self, own):
        return list(own)[::-1]

    def gather_rows(self, own):
        return own.flip(0)


@dataclass
class Told:
    """Stands in for `Reporter`: keeps what was said, and how often each bar moved."""

    said: list[str] = field(default_factory=list)
    bars: dict[str, int] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def info(self, text: str) -> None:
        self.said.append(text)

    def note(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def stages(self, planned):
        self.planned = [stage.key for stage in planned]
        yield

    @contextmanager
    def stage(self, key: str):
        self.done.append(key)
        yield

    @contextmanager
    def bar(self, title: str):
        self.bars[title] = 0

        def update(done: int, total: int, loss: float) -> None:
            assert 0 < done <= total and isinstance(loss, float)
            self.bars[title] += 1

        yield update


@contextmanager
def checked(scores: Scores, processes: Processes | None, told: Told):
    """Let the commands score by checksum, on the split above."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipt.resolve.Reporter", lambda: told)
        patch.setattr("ipt.workflows.evaluation.score_deltas", scores)
        patch.setattr("ipt.estimate.announce", lambda *given: None)
        patch.setattr("ipt.resolve.select_tasks", lambda *given: (SPLIT, tasks(), ()))
        if processes:
            patch.setattr("ipt.resolve.join_processes", lambda device: processes)
        yield patch


def named(more: dict) -> dict:
    """Return flags of these names: tune__steps is --tune.steps."""
    found = {}
    for name, value in more.items():
        found["--" + ".".join(map(flag, name.split("__")))] = value
    return found


def flags(settings: dict) -> list[str]:
    return [str(word) for pair in settings.items() for word in pair]


@dataclass
class World:
    """The taught model, the five tasks, their runs, and what stands behind the scores."""

    root: Path
    out: Path
    scores: Scores
    processes: Processes | None = None
    told: Told = field(default_factory=Told)  # by the last command

    def ipt(self, verb: str, *words: str, ends: int = 0) -> None:
        """Run a command that ends with this code."""
        self.told = Told()
        with checked(self.scores, self.processes, self.told):
            assert cli.main([verb, *words, "--out", str(self.out)]) == ends

    @property
    def source(self) -> dict:
        return {
            "--tasks": self.root / "tasks",
            "--model": self.root / "model",
            "--seed": SEED,
            "--test-rows": LIMIT,
        }

    def msf(self, name: str = "base", ends: int = 0, **more) -> Run:
        """Run `ipt msf` under this name, `more` being flags, and return its run."""
        given = self.source | TUNER | TUNE | MSF | named(more)
        self.ipt("msf", *flags(given | {"--run": name}), ends=ends)
        return Run(self.out / name)

    def ist(self, *words: str, run: str = "base", dim: int = 2, ends: int = 0) -> Run:
        """Run `ipt ist` in the subspace of this run, and return its run."""
        self.ipt(
            "ist",
            *flags({"--dim": dim, "--run": run, "--steps": 4, "--eval-every": 2}),
            *words,
            ends=ends,
        )
        return Run(max(self.out.glob("ist-*"), key=lambda path: path.stat().st_mtime_ns))

    def tune(self, *words: str, ends: int = 0, **more) -> None:
        """Run `ipt tune`, `more` being flags of the source."""
        tuning = {flag.replace("--tune.", "--"): value for flag, value in TUNE.items()}
        given = self.source | TUNER | tuning | named(more)
        self.ipt("tune", *flags(given), *words, ends=ends)

    @property
    def backbone(self):
        return load_backbone(str(self.root / "model"), device="cpu")

    def copy(self, folder: Path) -> "World":
        """Return a world with a copy of these runs."""
        shutil.copytree(self.out, folder / "runs")
        return replace(self, out=folder / "runs")

    def data(self, names, data_seed: int = 100, limit: int = LIMIT, held_out: str = "test"):
        known, backbone, found = tasks(), self.backbone, []
        for name in names:
            drawn = EncodedTask.draw(backbone, known[name], data_seed, SHOTS, limit, held_out)
            found.append(drawn)
        return found

    def bank(self, data_seed: int = 100, seed: int = SEED) -> Path:
        """Return the folder of the prompts of these seeds, which no PEFT folder gave."""
        found = []
        for path in self.out.glob("bank/*/setting.json"):
            setting = read_json(path)
            if (setting["data_seed"], setting["seed"]) == (
                data_seed,
                seed,
            ) and "given" not in setting:
                found.append(path.parent)
        (folder,) = found
        return folder

    def prompts(self, names: list[str], data_seed: int = 100, seed: int = SEED) -> Tensor:
        """Return the bank's deltas [T, P]."""
        folder = self.bank(data_seed, seed)
        paths = [folder / f"{name}.safetensors" for name in names]
        return torch.stack([read_tensors(path)[0]["prompt"] for path in paths])


def save_small_tasks(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, task in tasks().items():
        (folder / f"{name}.json").write_text(json.dumps(task.to_dict()), encoding="utf8")


def new_world(root: Path, taught: Path, processes: Processes | None = None) -> World:
    """Make the world in an empty folder."""
    save_small_tasks(root / "tasks")
    (root / "model").symlink_to(taught)
    return World(root, root / "runs", Scores(), processes)


@pytest.fixture(scope="module")
def base(tmp_path_factory, taught_folder):
    """The world with a run of each command, for all tests of a module."""
    found = new_world(tmp_path_factory.mktemp("small"), taught_folder)
    found.msf()
    assert not any("do not compress" in text for text in found.told.said)
    found.whole = found.ist()
    return found


@pytest.fixture
def copied(base, tmp_path):
    """A copy of it for one test."""
    return base.copy(tmp_path)


@pytest.fixture
def empty(base, tmp_path):
    """The world without runs."""
    return replace(base, out=tmp_path / "runs")
